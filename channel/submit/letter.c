#include "channel/submit/letter.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/types.h>

#include "channel/spool/compose.h"
#include "lib/alloc.h"
#include "lib/text.h"

/* ---- reading ---- */

/* "name:" with printable bytes (RFC 5322 section 2.2).  "Note : this" may also be how a text begins. */
static bool is_field(const char *line, size_t n, bool is_first)
{
	size_t name = incoming_field_name(line, n);

	return name > 0 && (!is_first || line[name] == ':');
}

/* Where the header ends, and whether a blank line stands there. */
static size_t header_end(const struct buf *text, bool *blank)
{
	size_t at = 0;

	*blank = false;
	while (at < text->len) {
		const char *line = text->data + at;
		size_t n = (size_t)((const char *)memchr(line, '\n', text->len - at) - line);

		*blank = n == 0;
		if (!is_field(line, n, at == 0) && (at == 0 || (line[0] != ' ' && line[0] != '\t')))
			break;
		at += n + 1;
	}
	return at;
}

bool letter_read(FILE *in, bool dot, struct buf *text)
{
	struct buf body = { 0 };
	size_t end, size = 0;
	bool blank;
	char *line = NULL;
	ssize_t got;

	errno = 0;
	while ((got = getline(&line, &size, in)) > 0) {
		size_t n = (size_t)got, kept = 0;
		bool ended = line[n - 1] == '\n';

		n -= ended;
		n -= ended && n > 0 && line[n - 1] == '\r';
		for (size_t i = 0; i < n; i++)
			if (line[i] != '\0')
				line[kept++] = line[i];
		n = kept;
		if (dot && ended && n == 1 && line[0] == '.')
			break;
		if (text->limit != 0 && text->len + n + 2 > text->limit) {
			errno = EFBIG;
			break;
		}
		buf_add(text, line, n);
		buf_addc(text, '\n');
	}
	free(line);
	if (errno != 0 || ferror(in))
		return false;
	buf_consume(text, incoming_front(buf_str(text), text->len));
	end = header_end(text, &blank);
	/* on its way it would become a line end */
	for (char *cr = text->data; end > 0 && (cr = memchr(cr, '\r', end - (size_t)(cr - text->data))) != NULL;)
		*cr = ' ';
	if (blank)
		return true;
	buf_add(&body, buf_str(text) + end, text->len - end);
	text->len = end;
	buf_addc(text, '\n');
	buf_add(text, buf_str(&body), body.len);
	buf_free(&body);
	return true;
}

/* ---- the header ---- */

/* The length of the header, without the blank line behind it. */
static size_t header_length(const struct buf *text)
{
	const char *blank = text->len > 0 && text->data[0] == '\n' ? text->data : memmem(buf_str(text), text->len, "\n\n", 2);

	if (blank == NULL)
		return text->len;
	return blank == text->data ? 0 : (size_t)(blank - text->data) + 1;
}

/* The value of the next field of that name from *at on, with its folds; NULL without. */
static const char *next_field(const struct buf *text, const char *name, size_t *at, size_t *length)
{
	size_t end = header_length(text), n = strlen(name);

	while (*at < end) {
		const char *line = text->data + *at, *stop = line;
		const char *colon;

		do {
			const char *lf = memchr(stop, '\n', (size_t)(text->data + end - stop));

			stop = lf != NULL ? lf + 1 : text->data + end;
		} while (stop < text->data + end && (*stop == ' ' || *stop == '\t'));
		*at = (size_t)(stop - text->data);
		if (incoming_field_name(line, (size_t)(stop - line)) != n || strncasecmp(line, name, n) != 0)
			continue;
		colon = ascii_skip_blanks(line + n);
		*length = (size_t)(stop - colon) - 1;
		return colon + 1;
	}
	return NULL;
}

bool letter_has_field(const struct buf *text, const char *name)
{
	size_t at = 0, length;

	return next_field(text, name, &at, &length) != NULL;
}

void letter_recipients(const struct buf *text, struct address_list *list)
{
	static const char *const fields[] = { "Resent-To", "Resent-Cc", "Resent-Bcc", "To", "Cc", "Bcc" };
	bool resent = letter_has_field(text, fields[0]) || letter_has_field(text, fields[1]) ||
	              letter_has_field(text, fields[2]);

	for (size_t i = resent ? 0 : 3; i < (resent ? 3 : 6); i++) {
		const char *value;
		size_t at = 0, length;

		while ((value = next_field(text, fields[i], &at, &length)) != NULL)
			address_list_parse(value, length, list);
	}
}

/* ---- lists of addresses ---- */

struct mailbox {
	const char *text;      /* where it begins */
	struct buf plain;      /* outside of brackets and comments */
	struct buf path;       /* within brackets */
	bool has_path;
	bool is_odd;           /* something stands behind the brackets, one of them alone, or ':' behind an address: a comma is missing */
};

/* The mailbox ends in front of `behind`.  What is left out of an odd one could be another mailbox. */
static void finish(struct mailbox *m, const char *behind, struct address_list *list)
{
	const struct buf *from = m->has_path ? &m->path : &m->plain;
	const char *start = m->is_odd ? m->text : buf_str(from), *end = m->is_odd ? behind : start + from->len;

	while (start < end && *start == ' ')
		start++;
	while (end > start && end[-1] == ' ')
		end--;
	if (end > start) {
		list->list = xgrow(list->list, list->count, &list->capacity, sizeof(char *));
		list->list[list->count++] = xstrndup(start, (size_t)(end - start));
	}
	buf_clear(&m->plain);
	buf_clear(&m->path);
	m->has_path = m->is_odd = false;
}

/* Where the quoted string or the comment at s ends: behind it. */
static const char *skip_quoted(const char *s, const char *end)
{
	char open = *s, close = open == '(' ? ')' : '"';
	size_t depth = 1;

	for (s++; s < end && depth > 0; s++) {
		if (*s == '\\' && s + 1 < end)
			s++;
		else if (*s == close)
			depth--;
		else if (open == '(' && *s == '(')
			depth++;
	}
	return s;
}

/* A blank beside "@" or "." is none of the address. */
static void add_byte(struct buf *out, char c)
{
	bool joins = c == '@' || c == '.';

	if (c == '\n' || c == '\r' || c == '\t' || c == '\0')
		c = ' ';
	while (joins && out->len > 0 && out->data[out->len - 1] == ' ')
		out->len--;
	if (c == ' ' && out->len > 0 && (out->data[out->len - 1] == '@' || out->data[out->len - 1] == '.'))
		return;
	if (c == ' ' && (out->len == 0 || out->data[out->len - 1] == ' '))
		return;
	buf_addc(out, c);
}

void address_list_parse(const char *text, size_t n, struct address_list *list)
{
	struct mailbox m = { .text = text };
	const char *end = text + n;
	bool inside = false;

	for (const char *s = text; s < end;) {
		struct buf *out = inside ? &m.path : &m.plain;

		if (*s == '(') {
			s = skip_quoted(s, end);
			continue;
		}
		if (*s == '"') {
			const char *behind = skip_quoted(s, end);

			m.is_odd = m.is_odd || (m.has_path && !inside);
			buf_add(out, s, (size_t)(behind - s));
			s = behind;
			continue;
		}
		if (*s == '<' && !inside && !m.has_path) {
			inside = m.has_path = true;
		} else if (*s == '>' && inside) {
			inside = false;
		} else if (!inside && (*s == ',' || *s == ';')) {
			finish(&m, s, list);
			m.text = s + 1;
		} else if (*s == '<' || *s == '>' || (m.has_path && !inside && strchr(" \t\r\n", *s) == NULL)) {
			m.is_odd = true;
		} else if (!inside && *s == ':' && memchr(buf_str(&m.plain), '[', m.plain.len) == NULL) {
			/* the name of a group; unless it is an address, and a comma is missing */
			m.is_odd = m.is_odd ||
			           (buf_str(&m.plain)[0] != '"' && memchr(buf_str(&m.plain), '@', m.plain.len) != NULL);
			buf_clear(&m.plain);
		} else {
			add_byte(out, *s);
		}
		s++;
	}
	finish(&m, end, list);
	buf_free(&m.plain);
	buf_free(&m.path);
}

void address_list_free(struct address_list *list)
{
	for (size_t i = 0; i < list->count; i++)
		free(list->list[i]);
	free(list->list);
	*list = (struct address_list){ 0 };
}
