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
	CHILD_CRASHED,      /* by a signal of its own making, as SIGSEGV: what it looked at led it astray; *status is the signal */
	CHILD_HUNG,         /* killed at the deadline */
	CHILD_KILLED,       /* by somebody, or by the kernel for want of memory; *status is the signal */
	CHILD_FAILED,       /* could not be started; errno */
};

/* True for the signals that come from what a process does itself: SIGSEGV, SIGBUS, SIGABRT, SIGFPE, SIGILL. */
bool child_is_crash(int sig);

/*
 * Runs ask(context, out) in a child and waits for it until `deadline` (clock_ms).  `ask` returns 0 to 255; what it
 * adds to `out` arrives in the caller's `out`.  The child writes nothing else, runs no exit handlers, and does not outlive
 * its parent.
 */
enum child_end child_ask(int (*ask)(void *context, struct buf *out), void *context, int64_t deadline, int *status,
                         struct buf *out);

#endif
