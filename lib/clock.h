/*
 * Time.  All deadlines are in milliseconds of a clock that never jumps.
 */
#ifndef ZL_LIB_CLOCK_H
#define ZL_LIB_CLOCK_H

#include <stdint.h>
#include <time.h>

/* Milliseconds since some fixed moment. */
int64_t clock_ms(void);

/* What time it is: by the clock of deadlines, and by that of people. */
struct moment {
	int64_t ms;               /* clock_ms() */
	int64_t wall;             /* seconds since 1970 */
};

struct moment clock_now(void);

/*
 * A moment of CLOCK_REALTIME that a file tells; long ago if it is more than an hour in the future: the clock was wrong then,
 * and every process of today would have begun before it.
 */
struct timespec clock_past(const struct timespec *moment);

/* Means "no deadline" wherever a deadline is asked for; later than any other. */
#define CLOCK_NEVER INT64_MAX

/* Sleeps for so many nanoseconds, or until a signal comes: between two looks at what cannot be waited for. */
void clock_pause(int64_t ns);

/* The timeout for poll(2) that ends at `deadline`: -1 for CLOCK_NEVER, 0 if it is past. */
int clock_poll_timeout(int64_t deadline);

#endif
