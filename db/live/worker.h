/*
 * A child that does what could hang or be ended by a damaged file, and a parent that waits no longer than it wants.
 *
 * All work inside a shared environment is done in such a child.  It takes no signals but SIGKILL and stands in a process
 * group of its own, so that neither ^C nor the death of its parent ends it within a change: it finishes what it does, sees
 * the end of the pipe, and leaves properly.  Nor does the parent kill it: a process that is killed inside a Berkeley DB
 * environment may block all others, and it may only be slow.  A parent that has waited long enough leaves it alone.
 */
#ifndef ZL_DB_LIVE_WORKER_H
#define ZL_DB_LIVE_WORKER_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "lib/buf.h"

struct worker {
	pid_t pid;       /* 0: there is none */
	int fd;
	bool crashed;    /* the last one ended by a fault of its own, as SIGSEGV: what it worked on led it astray */
};

/* Seconds without progress that are left to a child whose starter has gone. */
#define WORKER_ORPHAN_S 5

/* Exit status of a child whose library crashed while it could not be left to the signal (db/store/env.h). */
#define WORKER_CRASH 65

/*
 * Starts a child that runs serve(context, fd) and exits; they talk by the frames of lib/child.h.  False with errno.  In the
 * child standard input, output and error are /dev/null and all else but `keep` (-1: nothing) is closed, so that no process
 * waits for the end of something that it holds.
 */
bool worker_start(struct worker *worker, void (*serve)(void *context, int fd), void *context, int keep);

/*
 * In the child: its parent may be gone by the time that it hangs.  If `seconds` pass without another call the kernel ends
 * it; once its starter has gone, WORKER_ORPHAN_S do.  0: no limit in either case, as within an environment, where its end would
 * harm the others.
 */
void worker_limit(unsigned seconds);

/* True if there is one. */
bool worker_runs(const struct worker *worker);

/*
 * Ends the conversation: closes the pipe and waits until `deadline` for the child.  True if it ended well (exit
 * status 0); else `how` says what happened: "was killed by signal 9", "hangs".
 */
bool worker_end(struct worker *worker, int64_t deadline, struct buf *how);

/* Leaves it alone: it hangs, or is slow. */
void worker_leave(struct worker *worker);

#endif
