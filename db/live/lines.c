#include "db/live/lines.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sysexits.h>
#include <unistd.h>

#include "lib/text.h"

#define PIECE (256u << 10)

/* Makes room where taken lines were, and reads once.  LINES_ONE: something has come. */
static enum lines_news fill(struct lines *l, int patience)
{
	struct pollfd p = { .fd = l->fd, .events = POLLIN };
	ssize_t n;

	if (l->at > 0)
		buf_consume(&l->in, l->at);
	l->at = 0;
	if (l->in.len > LINES_LONGEST)
		return LINES_TOO_LONG;
	do {
		if (patience >= 0 && poll(&p, 1, patience) == 0)
			return LINES_PAUSE;
		n = read(l->fd, buf_reserve(&l->in, PIECE), PIECE);
	} while (n < 0 && errno == EINTR);
	if (n < 0)
		return LINES_ERROR;
	if (n == 0)
		return LINES_END;
	l->in.len += (size_t)n;
	l->in.data[l->in.len] = '\0';
	return LINES_ONE;
}

static enum lines_news take(struct lines *l, char *newline, char **line, size_t *length)
{
	*line = l->in.data + l->at;
	if (newline != NULL)
		*newline = '\0';
	*length = newline != NULL ? (size_t)(newline - *line) : l->in.len - l->at;
	l->at += *length + (newline != NULL);
	l->looked = 0;
	if (l->number++ == 0) {
		size_t mark = text_mark(*line, *length);

		*line += mark;
		*length -= mark;
	}
	return newline != NULL ? LINES_ONE : LINES_CUT;
}

enum lines_news lines_next(struct lines *l, int patience, char **line, size_t *length)
{
	for (;;) {
		size_t left = l->in.len - l->at;
		char *newline = left > l->looked ? memchr(l->in.data + l->at + l->looked, '\n', left - l->looked) : NULL;
		enum lines_news news;

		if (newline != NULL)
			return take(l, newline, line, length);
		l->looked = left;
		if (l->ended)
			return left > 0 ? take(l, NULL, line, length) : LINES_END;
		news = fill(l, patience);
		if (news == LINES_END)
			l->ended = true;
		else if (news != LINES_ONE)
			return news;
	}
}

int lines_error_status(int error)
{
	return error == EISDIR || error == EBADF ? EX_NOINPUT : EX_IOERR;
}

void lines_free(struct lines *l)
{
	buf_free(&l->in);
}
