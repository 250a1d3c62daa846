/*
 * The lock table of an environment: which process holds what, and which locks can be taken away because their process is dead.
 *
 * Processes that are killed leave their locks behind.  A reader has changed nothing, nor has a writer that was
 * still waiting: their locks can be given back, and all goes on.  A writer that was killed while it held the lock
 * may have left half a change, and only recovery helps.  (DB_ENV->failchk does less: it needs a thread table which
 * an environment made by ZMailer does not have, gives up on processes that died inside libdb, and was measured to hang.)
 */
#ifndef ZL_DB_LIVE_CDB_LOCKS_H
#define ZL_DB_LIVE_CDB_LOCKS_H

#include <stdbool.h>

#include <db.h>

#include "lib/buf.h"

enum locks_state {
	LOCKS_CLEAN,             /* no dead process holds a lock */
	LOCKS_FREED,             /* dead readers or waiters did, and do no more */
	LOCKS_DEAD_READER,       /* they do, and were left alone */
	LOCKS_DEAD_WRITER,       /* a dead writer does: recover */
	LOCKS_UNKNOWN,           /* the table could not be read */
};

/*
 * Looks through the lock table of the environment at `home`; with `give` gives back the locks of dead readers and waiters.
 * `text` says which processes are meant, or, if none is dead, which processes hold locks now.  May hang in a wedged
 * environment.
 */
enum locks_state locks_look(DB_ENV *env, const char *home, bool give, struct buf *text);

#endif
