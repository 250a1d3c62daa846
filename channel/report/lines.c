#include "channel/report/lines.h"

#include <string.h>

#include "lib/text.h"

#define FIELD_WIDTH 76
/* A word of more than that is cut. */
#define WORD_LONGEST 950

static void end_line(struct lines *l, struct buf *out)
{
	buf_addc(out, '\n');
	l->column = 0;
}

static void add_byte(struct lines *l, struct buf *out, char c)
{
	if (l->column >= LINES_LONGEST - 4 && (!text_is_within_character(c) || l->column >= LINES_LONGEST)) {
		buf_adds(out, l->continuation);
		l->column = strlen(l->continuation) - 1;
	}
	buf_addc(out, c);
	l->column++;
}

static void end_cr(struct lines *l, struct buf *out)
{
	if (l->cr_ends_line)
		end_line(l, out);
	else
		add_byte(l, out, ' ');
	l->after_cr = false;
}

void lines_add(struct lines *l, struct buf *out, const char *p, size_t n)
{
	for (const char *end = p + n; p < end; p++) {
		if (l->after_cr && *p != '\n')
			end_cr(l, out);
		l->after_cr = false;
		if (*p == '\r')
			l->after_cr = true;
		else if (*p == '\n')
			end_line(l, out);
		else if (*p != '\0')
			add_byte(l, out, *p);
	}
}

void lines_end(struct lines *l, struct buf *out)
{
	if (l->after_cr)
		end_cr(l, out);
	if (l->column > 0)
		end_line(l, out);
}

/* How much of the text fits into `width`: up to a blank, else the whole word, cut only where it must be. */
static size_t fitting(const char *p, size_t n, size_t width)
{
	size_t at;

	if (n <= width)
		return n;
	for (at = width; at > 0 && p[at] != ' '; at--)
		;
	if (at > 0)
		return at;
	for (at = width; at < n && p[at] != ' ' && at < WORD_LONGEST; at++)
		;
	while (at < n && at > 1 && text_is_within_character(p[at]))
		at--;
	return at;
}

void lines_add_wrapped(struct buf *out, const char *indent, size_t width, const char *p, size_t n)
{
	while (n > 0) {
		size_t take = fitting(p, n, width - strlen(indent));

		buf_adds(out, indent);
		buf_add(out, p, take);
		buf_addc(out, '\n');
		while (take < n && p[take] == ' ')
			take++;
		p += take;
		n -= take;
	}
}

void lines_add_field(struct buf *out, const char *name, const char *p, size_t n)
{
	size_t room = FIELD_WIDTH - strlen(name) - 2;

	buf_addf(out, "%s: ", name);
	while (n > 0) {
		size_t take = fitting(p, n, room);

		buf_add(out, p, take);
		p += take;
		n -= take;
		/* the blank in front of a continuation is the one that was there; a word that is cut gets one */
		while (n > 1 && p[0] == ' ' && p[1] == ' ')
			p++, n--;
		if (n == 1 && p[0] == ' ')
			n = 0;
		if (n > 0) {
			buf_adds(out, p[0] == ' ' ? "\n" : "\n ");
			room = FIELD_WIDTH - (p[0] == ' ' ? 0 : 1);
			if (p[0] == ' ') {
				buf_addc(out, ' ');
				p++, n--, room--;
			}
		}
	}
	buf_addc(out, '\n');
}
