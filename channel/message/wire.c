#include "channel/message/wire.h"

#include <stdint.h>
#include <string.h>

static bool has_eightbit(const char *bytes, size_t n)
{
	uint64_t all = 0, word;

	for (; n >= sizeof word; bytes += sizeof word, n -= sizeof word) {
		memcpy(&word, bytes, sizeof word);
		all |= word;
	}
	for (; n > 0; n--)
		all |= (unsigned char)*bytes++;
	return (all & UINT64_C(0x8080808080808080)) != 0;
}

/* No CR and no NUL in it, as in nearly every block: only LF matters. */
static void add_plain(struct wire *w, struct buf *out, const char *p, const char *end)
{
	while (p < end) {
		const char *lf = memchr(p, '\n', (size_t)(end - p));
		size_t n = (size_t)((lf != NULL ? lf : end) - p);
		char *to = buf_reserve(out, n + 2);

		memcpy(to, p, n);
		w->in_line = lf == NULL;
		if (lf != NULL) {
			memcpy(to + n, "\r\n", 2);
			n += 2;
		}
		to[n] = '\0';
		out->len += n;
		p = lf != NULL ? lf + 1 : end;
	}
}

static void add_any(struct wire *w, struct buf *out, const char *p, const char *end)
{
	for (; p < end; p++) {
		if (*p == '\n' && w->after_cr) {
			w->after_cr = false;
			continue;
		}
		w->after_cr = *p == '\r';
		if (*p == '\r' || *p == '\n') {
			buf_add(out, "\r\n", 2);
			w->in_line = false;
		} else if (*p != '\0') {
			buf_addc(out, *p);
			w->in_line = true;
		}
	}
}

void wire_add(struct wire *w, struct buf *out, const char *bytes, size_t n)
{
	if (n == 0)
		return;
	if (!w->eightbit)
		w->eightbit = has_eightbit(bytes, n);
	/* at most one byte more for each line: room for all of it at once */
	buf_reserve(out, n + n / 32);
	if (w->after_cr || memchr(bytes, '\r', n) != NULL || memchr(bytes, '\0', n) != NULL)
		add_any(w, out, bytes, bytes + n);
	else
		add_plain(w, out, bytes, bytes + n);
}

void wire_end(struct wire *w, struct buf *out)
{
	if (w->in_line)
		buf_add(out, "\r\n", 2);
	w->in_line = false;
	w->after_cr = false;
}

void wire_stuff(bool *line_start, struct buf *out, const char *p, size_t n)
{
	const char *end = p + n, *line = p;

	if (n == 0)
		return;
	buf_reserve(out, n + 16);
	if (*line_start && *p == '.')
		buf_addc(out, '.');
	*line_start = end[-1] == '\n';
	while ((line = memchr(line, '\n', (size_t)(end - line))) != NULL && ++line < end) {
		if (*line != '.')
			continue;
		buf_add(out, p, (size_t)(line - p));
		buf_addc(out, '.');
		p = line;
	}
	buf_add(out, p, (size_t)(end - p));
}
