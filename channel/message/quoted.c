#include "channel/message/quoted.h"

#include <string.h>

#include "lib/text.h"

#define LINE_LENGTH 76
/* An encoded word has at most 75 bytes (RFC 2047 section 2). */
#define WORD_LENGTH 75

static const char hex[] = "0123456789ABCDEF";

static bool is_literal(const char *p, const char *end, bool line_start)
{
	unsigned char c = (unsigned char)*p;

	if (c == ' ' || c == '\t')
		return p + 1 < end;
	/* "From " and a lone dot are safe from any relay behind this one */
	if (line_start && (c == 'F' || c == '.'))
		return false;
	return c > ' ' && c < 127 && c != '=';
}

void quoted_encode_line(struct buf *out, const char *p, size_t n, bool ended)
{
	const char *end = p + n;
	size_t start = out->len;

	if (n > 0 && end[-1] == '\r')
		end--;
	for (; p < end; p++) {
		size_t used = out->len - start;
		bool literal = is_literal(p, end, used == 0);

		/* room for this one and the "=" of a soft break */
		if (used + (literal ? 1 : 3) > LINE_LENGTH - 1) {
			buf_adds(out, "=\n");
			start = out->len;
			literal = is_literal(p, end, true);
		}
		if (literal) {
			buf_addc(out, *p);
		} else {
			buf_addc(out, '=');
			buf_addc(out, hex[(unsigned char)*p >> 4]);
			buf_addc(out, hex[(unsigned char)*p & 15]);
		}
	}
	buf_adds(out, ended ? "\n" : "=\n");
}

static int hex_value(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'A' && c <= 'F')
		return c - 'A' + 10;
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	return -1;
}

bool quoted_decode_line(struct buf *out, const char *p, size_t n, bool ended)
{
	const char *end = p + n;
	size_t start = out->len;
	bool soft;

	/* blanks at the end of an encoded line were added on the way (RFC 2045 section 6.7 rule 3) */
	while (end > p && (end[-1] == ' ' || end[-1] == '\t' || end[-1] == '\r'))
		end--;
	soft = end > p && end[-1] == '=';
	for (end -= soft; p < end; p++) {
		int high, low, c = (unsigned char)*p;

		if (c == '=') {
			high = end - p > 2 ? hex_value(p[1]) : -1;
			low = end - p > 2 ? hex_value(p[2]) : -1;
			c = high < 0 || low < 0 ? -1 : high * 16 + low;
			p += 2;
		}
		if (c <= 0 || c == '\r' || c == '\n') {
			out->len = start;
			return false;
		}
		buf_addc(out, (char)c);
	}
	if (!soft && ended)
		buf_addc(out, '\n');
	return true;
}

/* ---- headers ---- */

static bool is_eightbit(const char *p, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if ((unsigned char)p[i] > 127)
			return true;
	return false;
}

static bool is_utf8(const char *p, size_t n)
{
	for (size_t i = 0, length; i < n; i += length)
		if ((length = text_utf8_length(p + i, n - i)) == 0)
			return false;
	return true;
}

/* What may stand unencoded in an encoded word wherever it is used (RFC 2047 section 5 rule 3). */
static bool is_word_safe(unsigned char c)
{
	return (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || strchr("!*+-/", c) != NULL;
}

static void add_word_byte(struct buf *out, unsigned char c)
{
	if (c == ' ')
		buf_addc(out, '_');
	else if (c != 0 && is_word_safe(c))
		buf_addc(out, (char)c);
	else
		buf_addf(out, "=%c%c", hex[c >> 4], hex[c & 15]);
}

/* One or more encoded words for `n` bytes; never cut inside a UTF-8 character. */
static void add_encoded_words(struct buf *out, const char *p, size_t n, const char *charset)
{
	bool utf8 = is_utf8(p, n);
	size_t start = out->len;

	buf_addf(out, "=?%s?Q?", utf8 ? "utf-8" : charset);
	for (size_t i = 0; i < n;) {
		size_t length = utf8 ? text_utf8_length(p + i, n - i) : 1;

		if (out->len - start + 3 * length + 2 > WORD_LENGTH) {
			buf_adds(out, "?=\n ");
			start = out->len;
			buf_addf(out, "=?%s?Q?", utf8 ? "utf-8" : charset);
		}
		for (size_t k = 0; k < length; k++)
			add_word_byte(out, (unsigned char)p[i + k]);
		i += length;
	}
	buf_adds(out, "?=");
}

/* The end of the word at p: of a quoted string as a whole, else before the next blank or special. */
static const char *end_of_word(const char *p, const char *end)
{
	if (*p == '"') {
		for (p++; p < end && *p != '"'; p++)
			if (*p == '\\' && p + 1 < end)
				p++;
		return p < end ? p + 1 : end;
	}
	while (p < end && strchr(" \t\n\"()<>,;:@", *p) == NULL)
		p++;
	return p;
}

static void add_word(struct buf *out, const char *p, const char *end, const char *charset)
{
	struct buf plain = { 0 };

	if (*p != '"') {
		add_encoded_words(out, p, (size_t)(end - p), charset);
		return;
	}
	for (p++; p < end && *p != '"'; p++) {
		if (*p == '\\' && p + 1 < end)
			p++;
		if (*p != '\n')
			buf_addc(&plain, *p);
	}
	add_encoded_words(out, buf_str(&plain), plain.len, charset);
	buf_free(&plain);
}

void quoted_encode_header(struct buf *out, const char *p, size_t n, const char *charset)
{
	const char *end = p + n;

	while (p < end) {
		const char *stop = end_of_word(p, end);

		if (stop == p)
			stop++;
		if (!is_eightbit(p, (size_t)(stop - p))) {
			buf_add(out, p, (size_t)(stop - p));
		} else {
			const char *next = stop;

			/* blanks between two encoded words vanish for the reader: take neighbours together */
			for (;;) {
				const char *blank = next;

				while (blank < end && *blank == ' ')
					blank++;
				if (*p == '"' || blank == next || blank == end || *blank == '"' ||
				    (next = end_of_word(blank, end)) == blank || !is_eightbit(blank, (size_t)(next - blank)))
					break;
				stop = next;
			}
			add_word(out, p, stop, charset);
		}
		p = stop;
	}
}
