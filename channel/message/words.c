#include "channel/message/words.h"

#include <stdbool.h>
#include <string.h>

#include "lib/text.h"

/* Lines with encoded words, and the words themselves (RFC 2047 section 2). */
#define LINE_LENGTH 76
#define WORD_LENGTH 75

static const char hex[] = "0123456789ABCDEF";

/* What was written last. */
enum last { LAST_NOTHING, LAST_PLAIN, LAST_ENCODED };

struct encoder {
	struct buf *out;
	const char *end;        /* of the field */
	const char *charset;
	struct buf pending;     /* 8-bit text that was not written yet: neighbours go together */
	bool pending_utf8;
	struct buf space;       /* blanks and line breaks behind what was written or is pending */
	enum last last;
	bool structured;
	bool folds;             /* there is an encoded word of ours in the field */
};

/* strchr() finds the NUL at the end of the set, too, and a field may hold one. */
static bool is_one_of(char c, const char *set)
{
	return c != '\0' && strchr(set, c) != NULL;
}

/* ---- encoded words ---- */

/* What may stand unencoded in an encoded word wherever it is used (RFC 2047 section 5 rule 3). */
static bool is_word_safe(unsigned char c)
{
	return (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') ||
	       is_one_of((char)c, "!*+-/");
}

static void add_byte(struct buf *out, unsigned char c)
{
	if (c == ' ')
		buf_addc(out, '_');
	else if (is_word_safe(c))
		buf_addc(out, (char)c);
	else
		buf_addf(out, "=%c%c", hex[c >> 4], hex[c & 15]);
}

static size_t column(const struct buf *out)
{
	const char *lf = out->len > 0 ? memrchr(out->data, '\n', out->len) : NULL;

	return lf != NULL ? (size_t)(out->data + out->len - lf) - 1 : out->len;
}

/* A line break in front of the blanks at the end; none where there are none, or nothing else is on the line. */
static void fold(struct buf *out)
{
	size_t blanks = 0, columns = column(out);

	while (blanks < columns && is_one_of(out->data[out->len - 1 - blanks], " \t"))
		blanks++;
	if (blanks == 0 || blanks == columns)
		return;
	buf_addc(out, '\n');
	memmove(out->data + out->len - blanks, out->data + out->len - 1 - blanks, blanks);
	out->data[out->len - 1 - blanks] = '\n';
}

/* "=?charset?B?text?=" at p: its length, or 0. */
static size_t encoded_word(const char *p, const char *end)
{
	const char *q = p + 2;

	if (end - p < 8 || p[0] != '=' || p[1] != '?')
		return 0;
	while (q < end && *q != '?' && (unsigned char)*q > ' ' && (unsigned char)*q < 127)
		q++;
	if (end - q < 5 || q == p + 2 || !is_one_of(q[1], "BbQq") || q[2] != '?')
		return 0;
	for (q += 3; q + 1 < end && (unsigned char)*q > ' ' && (unsigned char)*q < 127; q++)
		if (q[0] == '?')
			return q[1] == '=' ? (size_t)(q + 2 - p) : 0;
	return 0;
}

/* ---- the words of a field, one after the other ---- */

/* Folded blanks as the reader sees them. */
static void add_unfolded(struct buf *out, const struct buf *space)
{
	for (size_t i = 0; i < space->len; i++)
		if (space->data[i] != '\n')
			buf_addc(out, ' ');
}

/* `next` is what follows, NULL if that folds itself: a line with encoded words is folded in time. */
static void write_space(struct encoder *e, const char *next)
{
	size_t n = 0;

	while (next != NULL && next + n < e->end && !ascii_is_space(next[n]))
		n++;
	if (e->folds && e->space.len > 0 && n > 0 && memchr(e->space.data, '\n', e->space.len) == NULL &&
	    column(e->out) + e->space.len + n > LINE_LENGTH)
		buf_addc(e->out, '\n');
	buf_add(e->out, buf_str(&e->space), e->space.len);
	buf_clear(&e->space);
}

static void write_pending(struct encoder *e)
{
	const char *p, *charset;
	size_t n, start, overhead;

	if (e->pending.len == 0)
		return;
	/* one or more encoded words for the pending text; never cut inside a UTF-8 character */
	p = e->pending.data;
	charset = e->pending_utf8 ? "utf-8" : e->charset;
	n = e->pending.len;
	overhead = strlen(charset) + 7;
	/* at least one character must have room */
	if (column(e->out) + overhead + 12 > LINE_LENGTH)
		fold(e->out);
	start = e->out->len;
	buf_addf(e->out, "=?%s?Q?", charset);
	for (size_t i = 0; i < n;) {
		size_t length = e->pending_utf8 ? text_utf8_length(p + i, n - i) : 1, need = 0;

		for (size_t k = 0; k < length; k++) {
			unsigned char c = (unsigned char)p[i + k];

			need += c == ' ' || is_word_safe(c) ? 1 : 3;
		}
		if (e->out->len - start > overhead - 2 &&
		    (e->out->len - start + need + 2 > WORD_LENGTH || column(e->out) + need + 2 > LINE_LENGTH)) {
			buf_adds(e->out, "?=\n ");
			start = e->out->len;
			buf_addf(e->out, "=?%s?Q?", charset);
		}
		for (size_t k = 0; k < length; k++)
			add_byte(e->out, (unsigned char)p[i + k]);
		i += length;
	}
	buf_adds(e->out, "?=");
	buf_clear(&e->pending);
	e->last = LAST_ENCODED;
	e->folds = true;
}

static void take_space(struct encoder *e, char c)
{
	/* a CR that ends no line is a blank, as header_init() has it */
	buf_addc(&e->space, c == '\r' ? ' ' : c);
}

/* Blanks between two encoded words vanish for the reader: they belong inside (RFC 2047 section 6.2). */
static void take_eightbit(struct encoder *e, const char *p, size_t n)
{
	bool utf8 = text_is_utf8(p, n);

	if (e->pending.len > 0 && e->pending_utf8 == utf8) {
		add_unfolded(&e->pending, &e->space);
		buf_clear(&e->space);
	} else {
		write_pending(e);
		if (e->last == LAST_ENCODED) {
			add_unfolded(&e->pending, &e->space);
			buf_clear(&e->space);
			buf_addc(&e->space, ' ');
		} else if (e->structured && e->last == LAST_PLAIN && e->space.len == 0 &&
		           !is_one_of(e->out->data[e->out->len - 1], "(<@.[")) {
			buf_addc(&e->space, ' ');
		}
		write_space(e, NULL);
	}
	e->pending_utf8 = utf8;
	buf_add(&e->pending, p, n);
}

static void take_encoded(struct encoder *e, const char *p, size_t n)
{
	if (e->pending.len > 0) {
		add_unfolded(&e->pending, &e->space);
		buf_clear(&e->space);
		write_pending(e);
		buf_addc(&e->space, ' ');
	}
	write_space(e, p);
	buf_add(e->out, p, n);
	e->last = LAST_ENCODED;
}

static void take_plain(struct encoder *e, const char *p, size_t n)
{
	bool ours = e->pending.len > 0;

	write_pending(e);
	if (e->structured && ours && e->space.len == 0 && !is_one_of(*p, ".@)>]"))
		buf_addc(&e->space, ' ');
	write_space(e, p);
	buf_add(e->out, p, n);
	e->last = LAST_PLAIN;
}

static void take_word(struct encoder *e, const char *p, size_t n)
{
	if (text_is_eightbit(p, n))
		take_eightbit(e, p, n);
	else if (encoded_word(p, p + n) == n)
		take_encoded(e, p, n);
	else
		take_plain(e, p, n);
}

static void finish(struct encoder *e)
{
	write_pending(e);
	write_space(e, NULL);
	buf_free(&e->pending);
	buf_free(&e->space);
}

void words_unstructured(struct buf *out, const char *p, size_t n, const char *charset)
{
	struct encoder e = { .out = out, .end = p + n, .charset = charset };
	const char *end = p + n;

	while (p < end) {
		const char *word = p;

		while (p < end && !ascii_is_space(*p))
			p++;
		if (p > word)
			take_word(&e, word, (size_t)(p - word));
		else
			take_space(&e, *p++);
	}
	finish(&e);
}

static const char *end_of_quoted(const char *p, const char *end)
{
	for (p++; p < end && *p != '"'; p++)
		if (*p == '\\' && p + 1 < end)
			p++;
	return p < end ? p + 1 : end;
}

/* A quoted string: its content becomes an encoded word if it is 8-bit, as nothing is encoded inside of quotes. */
static void take_quoted(struct encoder *e, const char *p, const char *end)
{
	struct buf content = { 0 };

	if (!text_is_eightbit(p, (size_t)(end - p))) {
		take_plain(e, p, (size_t)(end - p));
		return;
	}
	for (p++; p < end && *p != '"'; p++) {
		if (*p == '\\' && p + 1 < end)
			p++;
		if (*p != '\n' && *p != '\r')
			buf_addc(&content, *p);
	}
	take_eightbit(e, buf_str(&content), content.len);
	buf_free(&content);
}

/* The end of an atom, or of a word in a comment. */
static const char *end_of_atom(const char *p, const char *end, bool comment)
{
	size_t n = encoded_word(p, end);

	if (n > 0 && (p + n == end || ascii_is_space(p[n]) || is_one_of(p[n], "()<>,;:@\"")))
		return p + n;
	while (p < end && !ascii_is_space(*p) && !is_one_of(*p, comment ? "()" : "\"()<>[],;:@")) {
		if (comment && *p == '\\' && p + 1 < end)
			p++;
		p++;
	}
	return p;
}

void words_structured(struct buf *out, const char *p, size_t n, const char *charset)
{
	struct encoder e = { .out = out, .end = p + n, .charset = charset, .structured = true };
	const char *end = p + n, *stop;
	int depth = 0;

	for (; p < end; p = stop) {
		stop = p + 1;
		if (ascii_is_space(*p)) {
			take_space(&e, *p);
		} else if (*p == '"' && depth == 0) {
			stop = end_of_quoted(p, end);
			take_quoted(&e, p, stop);
		} else if ((stop = end_of_atom(p, end, depth > 0)) > p) {
			take_word(&e, p, (size_t)(stop - p));
		} else {
			stop = p + 1;
			depth += *p == '(' ? 1 : *p == ')' && depth > 0 ? -1 : 0;
			take_plain(&e, p, 1);
		}
	}
	finish(&e);
}
