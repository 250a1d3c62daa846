/*
 * How long to wait before the next attempt: longer after each failure, up to a limit.
 */
#ifndef ZL_LIB_BACKOFF_H
#define ZL_LIB_BACKOFF_H

#include <stdint.h>

/* The delay after `last` (0: there was none): `first`, then twice the last, at most `longest`. */
static inline int64_t backoff_next(int64_t last, int64_t first, int64_t longest)
{
	const int64_t next = last > 0 ? 2 * last : first;

	return next < longest ? next : longest;
}

#endif
