/*
 * What the transport agent counts (-O metrics).
 *
 * Counting is adding to a number in memory.  The numbers go to the file at most every few seconds and at the end of
 * the process (lib/metrics.h).
 */
#ifndef ZL_CHANNEL_TALLY_H
#define ZL_CHANNEL_TALLY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "channel/protocol/policy.h"

/* Upper limits of the buckets that durations are sorted into, in milliseconds; one more for what is above. */
#define TALLY_LIMITS { 5, 10, 25, 50, 100, 250, 500, 1000, 2500, 5000, 10000, 30000, 60000, 300000 }
enum { TALLY_BUCKETS = 14 };

struct tally_spread {
	uint64_t counts[TALLY_BUCKETS + 1];
	uint64_t sum;             /* milliseconds */
};

/* What was waited for when the time was up, beside the stages of a dialogue. */
enum tally_wait { WAIT_STAGES = STAGE_FINAL + 1, WAIT_TLS = WAIT_STAGES, WAIT_WRITE, WAIT_WHOLE, WAIT_COUNT };

enum tally_step { STEP_CONNECT, STEP_OPENING, STEP_SENDING, STEP_ANSWER, STEP_COUNT };

struct metrics;

struct tally {
	uint64_t outcomes[OUTCOME_FAILED + 1];
	uint64_t stages[OUTCOME_FAILED + 1][STAGE_FINAL + 1];    /* of what was not delivered */
	uint64_t duplicates;
	uint64_t timeouts[WAIT_COUNT];
	uint64_t begun;                       /* connections, of all sessions; also their numbers */
	uint64_t ready, refused;              /* connections that could be used, and attempts that came to nothing */
	uint64_t connections_new, connections_reused;               /* transactions: the first of a connection, and further ones */
	uint64_t sent, received;              /* bytes */
	uint64_t tls_full, tls_resumed, tls_failed;       /* TLS handshakes */
	struct tally_spread steps[STEP_COUNT];
	/* not counted but needed for it */
	const char *path;                     /* NULL: none is written */
	struct metrics *metrics;
	int64_t next;                         /* clock_ms(): not written again before */
	bool changed;                         /* something was counted since it was written */
	bool complained;
};

/* A recipient has its outcome. */
void tally_outcome(struct tally *tally, const struct result *result);

/* A step took that long. */
void tally_step(struct tally *tally, enum tally_step step, int64_t ms);

/* When tally_write() wants to be called (clock_ms()). */
int64_t tally_deadline(const struct tally *tally);

/* Adds everything to the file, if it is time for that or this is the `last` chance.  `channel` becomes a label. */
void tally_write(struct tally *tally, const char *channel, bool last);

void tally_free(struct tally *tally);

#endif
