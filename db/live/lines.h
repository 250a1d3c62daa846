/*
 * Lines as they come, from a file or from a program that writes now and then.
 */
#ifndef ZL_DB_LIVE_LINES_H
#define ZL_DB_LIVE_LINES_H

#include <stdbool.h>
#include <stddef.h>

#include "lib/buf.h"

struct lines {
	int fd;
	size_t number;           /* of the line that came last, from 1 */
	struct buf in;
	size_t at;               /* where the next line begins in `in` */
	size_t looked;           /* how far behind it was looked for a newline */
	bool ended;
};

enum lines_news {
	LINES_ONE,               /* a line; it stands until the next call, and may be written to */
	LINES_CUT,               /* the last line, without a newline: maybe not all of it */
	LINES_PAUSE,             /* nothing has come for a while */
	LINES_END,
	LINES_TOO_LONG,          /* more than LINES_LONGEST bytes; the rest cannot be read */
	LINES_ERROR,             /* errno */
};

#define LINES_LONGEST ((size_t)16 << 20)

/*
 * The next line, with a NUL for its newline, the first without byte order mark; or LINES_PAUSE after `patience` ms; negative:
 * no pause is reported.
 */
enum lines_news lines_next(struct lines *lines, int patience, char **line, size_t *length);

/*
 * The exit status for LINES_ERROR: EX_NOINPUT where `error` means that there was nothing to read, as a directory, else
 * EX_IOERR.
 */
int lines_error_status(int error);

void lines_free(struct lines *lines);

#endif
