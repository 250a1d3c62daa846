#include "lib/loglimit.h"

#define MINUTE (60 * 1000)

bool loglimit_may(struct loglimit *l, int64_t now)
{
	if (now >= l->end) {
		l->end = now + MINUTE;
		l->written = 0;
	}
	if (l->written < l->most) {
		l->written++;
		return true;
	}
	l->left_out++;
	return false;
}

unsigned long loglimit_left_out(struct loglimit *l, int64_t now, bool last)
{
	unsigned long n = last || now >= l->end ? l->left_out : 0;

	if (n > 0)
		l->left_out = 0;
	return n;
}
