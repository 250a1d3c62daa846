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

/* The same by a count: `first` after no failure before this one, twice as much after each more, at most `longest`. */
static inline int64_t backoff_after(unsigned long failures, int64_t first, int64_t longest)
{
	int64_t delay = first < longest ? first : longest;

	for (; failures > 0 && delay < longest; failures--)
		delay = backoff_next(delay, first, longest);
	return delay;
}

#endif
