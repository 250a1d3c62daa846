/*
 * What programs that keep a map equal to a source have in common (ldapsync, sqlsync): how the map is used, one process for a
 * map.
 */
#ifndef ZL_DB_KEEPER_H
#define ZL_DB_KEEPER_H

#include <signal.h>

#include "db/grammar/value.h"
#include "db/live/livemap.h"
#include "db/route/beside.h"
#include "lib/buf.h"

struct keeper {
	struct livemap_settings livemap;     /* what the configuration says; type NULL: nothing */
	struct beside beside;
	struct value_check values;
	struct value_check *check;         /* of values; NULL: no relation is known */
};

/*
 * Takes what dbases.conf says about the map: the one beside it, which ends the program where the two contradict each other, or
 * else the one that all programs use, which is worth a warning.  So is one without a line for the map, now or with `verbose`.
 */
void keeper_ask_dbases(struct keeper *keeper, bool verbose);
void keeper_free(struct keeper *keeper);

/*
 * Takes the lock MAP.SUFFIX, waits a moment for it, and ends the program without it.  It belongs to this process alone, and
 * ends with it however it ends.  The name of the file `config` is noted in it (db/store/kept.h).
 */
void keeper_lock(const char *map, const char *suffix, const char *config);

/*
 * True while the lock is there and ours.  A program that stays asks before it writes: if the file was deleted or replaced it is
 * made again, which is said; false, which is said once, while a process that came meanwhile keeps the map, which is left to it.
 */
bool keeper_is_alone(void);

/* For a program by which a map is changed by hand: a line if it is one that a program keeps, which will undo the change. */
void keeper_warn(const char *map);

/*
 * wait_catch() for SIGTERM, SIGINT and SIGHUP.  When one has come keeper_is_stopped(), and no worker that says nothing is
 * waited for (child_heed()).  While keeper_may_leave(true), as the source alone is asked, the process ends at once, with
 * `status`.
 */
void keeper_catch_signals(int status, sigset_t *unblocked);
void keeper_may_leave(bool may);
bool keeper_is_stopped(void);

/* complain() of what servers and libraries may have put anything into; empties `why`. */
void keeper_complain(struct buf *why);

#endif
