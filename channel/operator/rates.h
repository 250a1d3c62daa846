/*
 * How fast counters grow: what zlmtp-queue watch makes of the sums that runqueue tells once a second.
 */
#ifndef ZL_CHANNEL_OPERATOR_RATES_H
#define ZL_CHANNEL_OPERATOR_RATES_H

#include <stddef.h>
#include <stdint.h>

enum rate { RATE_ARRIVED, RATE_DELIVERED, RATE_FAILED, RATE_DEFERRED, RATES };

/* A minute, if there is one in each second. */
#define RATES_KEPT 61

struct rates {
	struct sample {
		int64_t ms;
		uint64_t sums[RATES];
	} samples[RATES_KEPT];    /* a ring */
	size_t count, newest;
};

/* Forgets everything: another process counts from 0. */
void rates_clear(struct rates *r);

/* What the sums are at `ms` (clock_ms()). */
void rates_add(struct rates *r, int64_t ms, const uint64_t sums[RATES]);

/* Per second, between the last two samples; over the last minute or what there is of it.  0 before there are two. */
double rates_now(const struct rates *r, enum rate which);
double rates_minute(const struct rates *r, enum rate which);

#endif
