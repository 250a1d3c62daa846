#include "channel/protocol/received.h"

#include <string.h>

void received_begin(struct received *r)
{
	*r = (struct received){ .after_crlf = true };
}

/*
 * The dot at the beginning of a line: 3 if the message ends here, 1 if the dot is to be dropped, 0 if that cannot be told
 * yet.
 */
static size_t dot(const char *bytes, size_t n)
{
	if (n >= 2 && bytes[1] != '\r')
		return 1;
	if (n >= 3)
		return bytes[2] == '\n' ? 3 : 1;
	return 0;
}

size_t received_dotted(struct received *r, const char *bytes, size_t n, struct buf *out, bool *end)
{
	size_t at = 0;

	*end = false;
	while (at < n) {
		const char *line = bytes + at, *lf;
		size_t left = n - at, length;

		if (r->after_crlf && *line == '.') {
			size_t used = dot(line, left);

			if (used == 0)
				break;
			*end = used == 3;
			r->after_crlf = false;
			at += used;
			if (*end)
				break;
			continue;
		}
		lf = memchr(line, '\n', left);
		length = lf != NULL ? (size_t)(lf - line) : left;
		/* a CR at the end may be half of a line end */
		if (lf == NULL && line[length - 1] == '\r')
			length--;
		r->nul |= memchr(line, '\0', length) != NULL;
		if (lf == NULL) {
			r->after_crlf &= length == 0;
			buf_add(out, line, length);
			r->size += length;
			at += length;
			break;
		}
		r->after_crlf = length > 0 && line[length - 1] == '\r';
		buf_add(out, line, length - r->after_crlf);
		buf_addc(out, '\n');
		r->size += length + 1;
		at += length + 1;
	}
	return at;
}

void received_chunk(struct received *r, const char *bytes, size_t n, bool last, struct buf *out)
{
	r->nul |= n > 0 && memchr(bytes, '\0', n) != NULL;
	r->size += n;
	for (size_t at = 0; at < n;) {
		const char *cr;
		size_t plain;

		if (r->cr && bytes[at] != '\n')
			buf_addc(out, '\r');
		r->cr = false;
		cr = memchr(bytes + at, '\r', n - at);
		plain = cr != NULL ? (size_t)(cr - bytes) - at : n - at;
		buf_add(out, bytes + at, plain);
		at += plain;
		if (cr != NULL) {
			r->cr = true;
			at++;
		}
	}
	if (last && r->cr) {
		buf_addc(out, '\r');
		r->cr = false;
	}
}
