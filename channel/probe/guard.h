/*
 * Work that may take longer than a caller waits: resolvers and maps can be slow, and a process that hangs in a lock must not
 * be killed.
 */
#ifndef ZL_CHANNEL_PROBE_GUARD_H
#define ZL_CHANNEL_PROBE_GUARD_H

#include <stdbool.h>
#include <stdint.h>

#include "lib/buf.h"

/* The work; it calls guard_answer() once with `fd` and may go on for a while after it. */
typedef void guard_work(void *context, int fd);

enum guard_end {
	GUARD_ANSWERED,        /* *status and `out` are what guard_answer() was given */
	GUARD_ENDED,           /* it ended without an answer: *status is its exit status, or 70 if it was killed */
	GUARD_LATE,            /* no answer until the deadline */
};

/*
 * Does the work in a child and waits for its end until `deadline` (clock_ms()).  A child that is late is left
 * alone: it ends by itself.
 */
enum guard_end guard_run(guard_work *work, void *context, int64_t deadline, int *status, struct buf *out);

/* The answer of the work: an exit status and what is to be printed. */
void guard_answer(int fd, int status, const struct buf *out);

#endif
