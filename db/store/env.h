/*
 * Berkeley DB environments: the file that describes one (sleepyenv.conf, maps.md section 8) and the way in.
 *
 * What is safe beside an unmodified ZMailer router was measured, and three things are not:
 *  - Lock timeouts.  DB_ENV->set_timeout changes the region, so it holds for every process in it; with an expiry
 *    run the router's own waits end in DB_LOCK_NOTGRANTED, which it takes for "not found".
 *  - A liveness callback or thread count where the creator had none: the open is refused.
 *  - Leaving without closing: every process that ends with a map open leaks a mutex of the region, and after about 740 of
 *    them no process can open a map any more.
 * So no program of ours waits inside the lock manager if it can be known before: env_lock_is_free() asks without queueing, and
 * what hangs nevertheless (a process died inside libdb with a mutex held) is ended by a watchdog thread.
 */
#ifndef ZL_DB_STORE_ENV_H
#define ZL_DB_STORE_ENV_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include <db.h>

#include "lib/buf.h"

struct env_config {
	char *file;          /* where this was read from */
	char *home;          /* envhome, absolute */
	char *tmpdir;        /* tmpdir or tempdir, or NULL */
	mode_t mode;         /* envmode; 0 if not given: libdb then takes 0660 less the umask */
	bool create;         /* CREATE: the first process makes the regions */
};

/*
 * Reads `path`.  0, or EX_NOINPUT (unreadable) or EX_CONFIG with `why` naming file and line: unlike
 * in ZMailer an unknown setting, a missing envhome or a missing CDB is an error.  The caller calls env_config_free().
 */
int env_config_read(struct env_config *config, const char *path, struct buf *why);

/* The same from `n` bytes of text; `path` is only named. */
int env_config_parse(struct env_config *config, const char *path, const char *text, size_t n, struct buf *why);

void env_config_free(struct env_config *config);

/* True if the regions have been made.  Without them no process is in the environment, and files are all there is. */
bool env_has_regions(const struct env_config *config);

struct env;

/*
 * Opens the environment, or joins the handle that this process has already.  Bounded by the watchdog.  NULL with
 * `why` set.  Give it back by env_close(); exit() does it for the forgotten ones.
 */
struct env *env_open(const struct env_config *config, struct buf *why);
void env_close(struct env **env);

DB_ENV *env_handle(struct env *env);

/* Adds a message of libdb without the addresses in memory that it likes to name. */
void env_add_words(struct buf *out, const char *message);

/* What libdb itself said last about this environment; "" if nothing. */
const char *env_said(const struct env *env);

/* After an error that condemns the handle (DB_RUNRECOVERY): the next env_open() makes a new one. */
void env_broken(struct env *env);

/*
 * True if a reader (DB_LOCK_READ) or a writer (DB_LOCK_WRITE) of `db` would get its lock at once.  Polls until
 * `deadline` (clock_ms) without ever standing in the lock manager's queue, where it would block all others if it
 * were killed.  False: the lock is still held: its process is very slow or was killed.
 */
bool env_lock_is_free(struct env *env, DB *db, db_lockmode_t mode, int64_t deadline);

/* The same before the map is opened, as DB->open waits for a read lock too; `fd` is its file. */
bool env_file_is_free(struct env *env, int fd, db_lockmode_t mode, int64_t deadline);

/* With what a process ends whose libdb crashed in an environment; EX_TEMPFAIL unless it is set. */
void env_set_crash_status(int status);

/*
 * Seconds any wait in an environment may take; 10 unless changed before the first env_open().
 */
void env_set_patience(unsigned seconds);
unsigned env_patience(void);

/*
 * Around every call into libdb that touches an environment; not nested.  Signals wait meanwhile.  If env_leave()
 * does not come within the patience plus 5 s, the watchdog says that `home` is wedged and what to run, and ends
 * the process with EX_TEMPFAIL: could not tell.  So it does when a damaged page makes libdb crash there.
 */
void env_enter(const char *home);
void env_leave(void);

#endif
