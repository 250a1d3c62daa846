/*
 * Lines about one thing, of which there may be very many: so many a minute are written, the others are counted.
 */
#ifndef ZL_LIB_LOGLIMIT_H
#define ZL_LIB_LOGLIMIT_H

#include <stdbool.h>
#include <stdint.h>

/* A zeroed one with `most` set is a fit beginning. */
struct loglimit {
	unsigned most;            /* a minute */
	unsigned written;         /* in this minute */
	unsigned long left_out;
	int64_t end;              /* of it: clock_ms() */
};

/* May one more be written?  If not, it is counted.  At the end of a minute loglimit_left_out() is to be asked first. */
bool loglimit_may(struct loglimit *l, int64_t now);

/* How many were left out, and forgets them; 0 while the minute is not over, unless `last`. */
unsigned long loglimit_left_out(struct loglimit *l, int64_t now, bool last);

#endif
