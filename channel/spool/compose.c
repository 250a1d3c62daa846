#include "channel/spool/compose.h"

#include <ctype.h>
#include <stdint.h>
#include <string.h>
#include <strings.h>

#include "lib/text.h"

enum { LARGEST_HEADER = 16 * 1024 * 1024, POSTMARK_MAX = 4096 };

void incoming_add(struct incoming *in, const char *bytes, size_t n)
{
	buf_add(&in->bytes, bytes, n);
}

size_t incoming_field_name(const char *line, size_t n)
{
	size_t name = 0, colon;

	while (name < n && line[name] > ' ' && line[name] < 127 && line[name] != ':')
		name++;
	colon = name;
	while (colon < n && (line[colon] == ' ' || line[colon] == '\t'))
		colon++;
	return colon < n && line[colon] == ':' ? name : 0;
}

static bool is_continuation(const char *line, size_t n)
{
	return n > 0 && (line[0] == ' ' || line[0] == '\t');
}

/* Moves a header line to where the header ends; false if it has bytes no header may have. */
static bool keep_line(struct incoming *in, const char *line, size_t n)
{
	char *to = in->bytes.data + in->header;

	if (memchr(line, '\r', n) != NULL || memchr(line, '\0', n) != NULL)
		return false;
	memmove(to, line, n);
	to[n] = '\n';
	in->header += n + 1;
	return true;
}

/* The LF of the next line; NULL if it is not there yet. */
static const char *line_end(struct incoming *in)
{
	size_t from = in->searched > in->at ? in->searched : in->at;
	const char *lf = in->bytes.len > from ? memchr(in->bytes.data + from, '\n', in->bytes.len - from) : NULL;

	in->searched = in->bytes.len;
	if (lf != NULL)
		in->searched = in->at;
	return lf;
}

/* A time of day, "9:41" or "09:41:11". */
static bool has_time(const char *line, size_t n)
{
	for (size_t i = 1; i + 2 < n; i++)
		if (line[i] == ':' && isdigit((unsigned char)line[i - 1]) && isdigit((unsigned char)line[i + 1]) &&
		    isdigit((unsigned char)line[i + 2]))
			return true;
	return false;
}

static bool is_postmark(const char *line, size_t n)
{
	size_t from = n > 0 && line[0] == '>';

	return n > from + 5 && memcmp(line + from, "From ", 5) == 0 && (from == 1 || incoming_field_name(line, n) == 0);
}

/* The length of the line at `at`, as far as that matters; false if more must come to tell. */
static bool line_length(const struct incoming *in, size_t at, size_t *n)
{
	size_t left = in->bytes.len - at, looked = left < POSTMARK_MAX ? left : POSTMARK_MAX;
	const char *lf = looked > 0 ? memchr(in->bytes.data + at, '\n', looked) : NULL;

	*n = lf != NULL ? (size_t)(lf - in->bytes.data) - at : looked;
	return lf != NULL || looked == POSTMARK_MAX || in->eof;
}

/*
 * The length of what may stand in front of a message: a byte order mark, and what a mailbox file has there, "From ADDRESS
 * DATE", and the ">From " that others have made of it.  A text without a header may begin with either, too: it is kept where
 * neither a date nor a field says that it is not the text.  False if more must come to tell.
 */
static bool find_front(struct incoming *in, size_t *front)
{
	const char *text = in->bytes.data;
	size_t at, n, next, left;
	bool crlf = false;

	*front = 0;
	if (!line_length(in, 0, &n))
		return false;
	at = text_mark(buf_str(&in->bytes), n);
	for (n -= at; n > 0 && n < POSTMARK_MAX - 3 && is_postmark(text + at, n); at = next, n = left) {
		next = at + n + (at + n < in->bytes.len);
		if (!line_length(in, next, &left))
			return false;
		if (!has_time(text + at, n) && incoming_field_name(text + next, left) == 0 && !is_postmark(text + next, left))
			break;
		crlf |= text[at + n - 1] == '\r';
		*front = next;
	}
	if (*front == 0 && at > 0 && incoming_field_name(text + at, n) > 0)
		*front = at;
	in->crlf |= crlf;
	return true;
}

size_t incoming_front(const char *text, size_t n)
{
	struct incoming in = { .bytes = { .data = (char *)(uintptr_t)text, .len = n }, .eof = true };
	size_t front;

	return find_front(&in, &front) ? front : 0;
}

enum incoming_result incoming_header(struct incoming *in, struct buf *why)
{
	if (!in->begun) {
		size_t front;

		if (!find_front(in, &front))
			return INCOMING_MORE;
		buf_consume(&in->bytes, front);
		in->begun = true;
	}
	for (;; in->line++) {
		const char *lf = line_end(in), *line;
		size_t n, next;

		if (lf == NULL && !in->eof) {
			if (in->bytes.len <= LARGEST_HEADER)
				return INCOMING_MORE;
			buf_addf(why, "header line %zu: expected an end of the header within 16 MB", in->line + 1);
			return INCOMING_REFUSED;
		}
		line = in->bytes.data + in->at;
		n = lf != NULL ? (size_t)(lf - line) : in->bytes.len - in->at;
		next = in->at + n + 1;
		if (lf != NULL && n > 0 && line[n - 1] == '\r') {
			n--;
			in->crlf |= in->line == 0;
		}
		in->blank = lf != NULL && n == 0;
		if (in->blank || (incoming_field_name(line, n) == 0 && (in->line == 0 || !is_continuation(line, n)))) {
			size_t rest = in->blank ? next : in->at;

			/* it is whole; the gap that shortened lines have left in front of the text is closed */
			if (rest != in->header)
				memmove(in->bytes.data + in->header, in->bytes.data + rest, in->bytes.len - rest);
			in->bytes.len -= rest - in->header;
			in->complete = true;
			return INCOMING_COMPLETE;
		}
		if (lf == NULL) {
			/* the last line of all has no end: it gets one, and the buffer may move */
			buf_addc(&in->bytes, '\n');
			line = in->bytes.data + in->at;
		}
		if (!keep_line(in, line, n)) {
			buf_addf(why, "header line %zu: expected no NUL and no bare CR", in->line + 1);
			return INCOMING_REFUSED;
		}
		in->at = next;
	}
}

void incoming_body(struct incoming *in, struct buf *out)
{
	size_t used;

	if (in->header > 0) {
		buf_consume(&in->bytes, in->header);
		in->header = 0;
	}
	used = in->bytes.len;
	if (in->crlf) {
		const char *from = in->bytes.data;
		size_t n = in->bytes.len, at = 0;

		/* removes the CR of each CRLF; a CR at the very end stays back, as its LF may follow */
		while (at < n) {
			const char *cr = memchr(from + at, '\r', n - at);
			size_t plain = cr ? (size_t)(cr - from) - at : n - at;

			buf_add(out, from + at, plain);
			at += plain;
			if (cr == NULL)
				break;
			if (at + 1 == n && !in->eof)
				break;
			if (at + 1 == n || from[at + 1] != '\n')
				buf_addc(out, '\r');
			at++;
		}
		used = at;
	} else
		buf_add(out, in->bytes.data, used);
	buf_consume(&in->bytes, used);
}

void incoming_free(struct incoming *in)
{
	buf_free(&in->bytes);
}

static bool is_named(const char *field, size_t name, const char *wanted)
{
	return strlen(wanted) == name && strncasecmp(field, wanted, name) == 0;
}

/* What belongs to the envelope does not travel in the header. */
static bool is_envelope_field(const char *field, size_t name)
{
	static const char *const names[] = {
		"Bcc", "Resent-Bcc", "Return-Path", "Envelope-Id", "X-Envid", "X-Orcpt", "Original-Recipient", "X-Envelope-To",
	};

	for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
		if (is_named(field, name, names[i]))
			return true;
	return false;
}

/* The length of the field at `text` with its continuation lines. */
static size_t field_length(const char *text, size_t n)
{
	size_t at = 0;

	do {
		const char *lf = memchr(text + at, '\n', n - at);

		at = lf ? (size_t)(lf - text) + 1 : n;
	} while (at < n && is_continuation(text + at, n - at));
	return at;
}

/* The value without its name and the blanks round it. */
static void value_add(struct buf *out, const char *field, size_t n)
{
	const char *colon = memchr(field, ':', n);
	size_t skip = colon ? (size_t)(colon - field) + 1 : n;

	while (skip < n && strchr(" \t\n", field[skip]) != NULL)
		skip++;
	while (n > skip && strchr(" \t\n", field[n - 1]) != NULL)
		n--;
	text_add_clean(out, field + skip, n - skip, 900);
}

void header_complete(struct buf *out, const char *header, size_t length, const struct completion *c,
                     struct buf *message_id)
{
	bool from = false, date = false;

	buf_adds(out, "Received: ");
	if (c->client != NULL)
		buf_addf(out, "from %s\n\t", c->client);
	buf_addf(out, "by %s%s%s id %s;\n\t", c->host, c->with != NULL ? " with " : "", c->with != NULL ? c->with : "", c->id);
	text_add_date(out, c->now);
	buf_addc(out, '\n');
	for (size_t at = 0, n; at < length; at += n) {
		const char *field = header + at;
		size_t name = incoming_field_name(field, length - at);

		n = field_length(field, length - at);
		if (is_envelope_field(field, name))
			continue;
		from |= is_named(field, name, "From");
		date |= is_named(field, name, "Date");
		if (is_named(field, name, "Message-ID") && message_id->len == 0)
			value_add(message_id, field, n);
		buf_add(out, field, n);
	}
	if (!from) {
		if (strcmp(c->sender, "<>") == 0)
			buf_addf(out, "From:\tMAILER-DAEMON@%s\n", c->host);
		else {
			buf_adds(out, "From:\t");
			text_add_address(out, c->sender);
			buf_addc(out, '\n');
		}
	}
	if (!date) {
		buf_adds(out, "Date:\t");
		text_add_date(out, c->now);
		buf_addc(out, '\n');
	}
	if (message_id->len == 0) {
		buf_addf(message_id, "<%s@%s>", c->id, c->host);
		buf_addf(out, "Message-ID: %s\n", buf_str(message_id));
	}
}

size_t header_count(const char *header, size_t length, const char *name)
{
	size_t count = 0;

	for (size_t at = 0; at < length; at += field_length(header + at, length - at))
		count += is_named(header + at, incoming_field_name(header + at, length - at), name);
	return count;
}
