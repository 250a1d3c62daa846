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
			high = end - p > 2 ? ascii_hex(p[1]) : -1;
			low = end - p > 2 ? ascii_hex(p[2]) : -1;
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
