#include "lib/clock.h"

#include <limits.h>
#include <time.h>

/* Seconds that the clocks of two machines may differ by. */
#define FUTURE 3600

struct timespec clock_past(const struct timespec *moment)
{
	return moment->tv_sec - time(NULL) > FUTURE ? (struct timespec){ 0 } : *moment;
}

int64_t clock_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

struct moment clock_now(void)
{
	return (struct moment){ .ms = clock_ms(), .wall = (int64_t)time(NULL) };
}

int clock_poll_timeout(int64_t deadline)
{
	int64_t left;

	if (deadline == CLOCK_NEVER)
		return -1;
	left = deadline - clock_ms();
	if (left <= 0)
		return 0;
	return left > INT_MAX ? INT_MAX : (int)left;
}

void clock_pause(int64_t ns)
{
	const struct timespec pause = { .tv_sec = (time_t)(ns / 1000000000), .tv_nsec = (long)(ns % 1000000000) };

	nanosleep(&pause, NULL);
}
