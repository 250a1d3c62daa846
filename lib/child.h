/*
 * Questions asked in a child process, because the answer may be a crash or no answer at all.
 */
#ifndef ZL_LIB_CHILD_H
#define ZL_LIB_CHILD_H

#include <stdbool.h>
#include <stdint.h>

#include "lib/buf.h"

enum child_end {
	CHILD_SAID,         /* it came to an end: *status is what `ask` returned */
	CHILD_CRASHED,      /* *status is the signal */
	CHILD_HUNG,         /* killed at the deadline */
	CHILD_FAILED,       /* could not be started; errno */
};

/*
 * Runs ask(context, out) in a child and waits for it until `deadline` (clock_ms).  `ask` returns 0 to 255; what it
 * adds to `out` arrives in the caller's `out`.  The child writes nothing else and runs no exit handlers.
 */
enum child_end child_ask(int (*ask)(void *context, struct buf *out), void *context, int64_t deadline, int *status,
                         struct buf *out);

#endif
