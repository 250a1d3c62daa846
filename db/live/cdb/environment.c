/*
 * Maps in a Berkeley DB environment (CDB), changed in place beside routers that know nothing of us.
 *
 * What makes that safe (each point was measured):
 *  - The write lock is asked for without queueing.  A writer that is killed while it waits in the lock manager's queue blocks
 *    all others for ever; one that only asks again leaves no trace.
 *  - The lock is held for a few changes at a time, by a group (DB_ENV->cdsgroup_begin) that has the lock before its first
 *    change; then it rests.  That is what keeps the readers going, too.
 *  - A batch is in the journal, synced, before the map is touched, and acknowledged when the map is synced as well.
 *  - The number of the last batch is a record of the map, so that it is known what a map lacks.  All batches before that one
 *    are on disk; the cache may have written the number sooner than the changes, so recovery makes the last batch again.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>
#include <unistd.h>

#include "db/live/cdb/environment.h"
#include "db/live/cdb/locks.h"
#include "db/store/bdb.h"
#include "db/live/worker.h"
#include "lib/alloc.h"
#include "lib/file.h"

/* ---- trouble -------------------------------------------------------------------------- */

int environment_fail(const struct live *live, const char *what, int code, struct buf *why)
{
	const struct environment *e = live->state;
	const char *said = e->env != NULL ? env_said(e->env) : "";

	live_fail(live, EX_OK, why, "%s: %s%s%s", what, db_strerror(code), said[0] != '\0' ? "; " : "", said);
	if (bdb_is_damage(code)) {
		buf_adds(why, "; run ");
		live_add_recovery(live, "", why);
	}
	return code == EIO || code == ENOSPC || code == EFBIG ? EX_IOERR : EX_TEMPFAIL;
}

/* ---- open and close -------------------------------------------------------------------------------- */

static int open_db(const struct live *live, struct buf *why)
{
	struct environment *e = live->state;
	char *path = realpath(live->path, NULL);
	int code;

	if (path == NULL)
		return live_fail(live, errno == ENOENT ? EX_NOINPUT : EX_NOPERM, why, "%s", strerror(errno));
	code = db_create(&e->db, env_handle(e->env), 0);
	if (code == 0)
		code = e->db->open(e->db, NULL, path, NULL, bdb_type(live->type), DB_NOMMAP, 0);
	free(path);
	return code == 0 ? EX_OK : environment_fail(live, "cannot open", code, why);
}

/*
 * Without regions the file is all there is, and if the last environment did not end well it may be damaged.  Recovery
 * has verified it already.
 */
static int begin_new(const struct live *live, struct buf *why)
{
	struct environment *e = live->state;

	e->is_new = true;
	if (live->recovering) {
		e->config.create = true;
		return EX_OK;
	}
	return file_is_missing(live->path) ? EX_OK : live_prove(live, why);
}

static int open_all(struct live *live, struct buf *why)
{
	struct environment *e = live->state;
	struct buf ignored = { 0 };
	int status = env_config_read(&e->config, live->config, why);

	if (status == EX_OK)
		status = live_check_file(live, why);
	if (status == EX_OK && !env_has_regions(&e->config))
		status = begin_new(live, why);
	if (status != EX_OK)
		return status;
	env_set_patience(live->wait);
	live->inside = true;
	worker_limit(0);
	db_env_set_func_fsync(environment_sync_file);
	e->env = env_open(&e->config, why);
	if (e->env == NULL)
		return EX_TEMPFAIL;
	/* what dead processes have left in the lock table adds up */
	locks_look(env_handle(e->env), e->config.home, true, &ignored);
	buf_free(&ignored);
	status = open_db(live, why);
	return status == EX_OK ? environment_open_journal(live, why) : status;
}

static void close_environment(struct live *live)
{
	struct environment *e = live->state;

	if (e == NULL)
		return;
	if (e->db != NULL)
		e->db->close(e->db, 0);
	env_close(&e->env);
	env_config_free(&e->config);
	journal_close(&e->journal);
	free(e);
	live->state = NULL;
	live->inside = false;
}

static int open_environment(struct live *live, struct buf *why)
{
	int status;

	live->state = xcalloc(1, sizeof(struct environment));
	status = open_all(live, why);
	if (status != EX_OK)
		close_environment(live);
	return status;
}

/* ---- the interface ----------------------------------------------------------------------------------- */

static int is_current(const struct live *live, struct buf *why)
{
	const struct environment *e = live->state;
	int fd = -1, code = e->db->fd(e->db, &fd);

	return code == 0 ? live_is_current(live, fd, why) : environment_fail(live, "file", code, why);
}

static int apply(struct live *live, const struct live_batch *batch, struct buf *why)
{
	struct environment *e = live->state;
	int status = is_current(live, why);

	if (status == EX_OK)
		status = journal_refresh(&e->journal, why);
	if (status == EX_NOINPUT)
		return live_fail(live, EX_TEMPFAIL, why, "its journal was removed");
	/* others may have changed the map meanwhile, or died before they had */
	if (status == EX_OK)
		status = environment_match(live, why);
	/* a batch that cannot be made now should not be in the journal either */
	if (status == EX_OK)
		status = environment_ask_lock(live, DB_LOCK_WRITE, why);
	if (status == EX_OK)
		status = journal_append(&e->journal, batch->changes.count, batch->bytes, why);
	if (status == EX_OK)
		status = environment_make(live, &batch->changes, why);
	/* the batch is safe: a new base that cannot be made now is made later */
	if (status == EX_OK && journal_is_long(&e->journal)) {
		struct buf ignored = { 0 };

		journal_compact(&e->journal, &ignored);
		buf_free(&ignored);
	}
	return status;
}

static enum map_answer find(struct live *live, const char *key, size_t length, struct buf *value, struct buf *why)
{
	struct environment *e = live->state;
	enum map_answer answer;
	int code;

	if (environment_ask_lock(live, DB_LOCK_READ, why) != EX_OK)
		return MAP_COULD_NOT_TELL;
	answer = bdb_find(e->db, key, length, value, &code);
	if (answer == MAP_COULD_NOT_TELL)
		environment_fail(live, "cannot read", code, why);
	return answer;
}

static int walk_environment(struct live *live, const struct buf *after, struct buf *out, struct buf *why)
{
	const int status = is_current(live, why);

	return status == EX_OK ? environment_walk(live, after, out, why) : status;
}

const struct live_operations live_environment = {
	.name = "environment", .batch = 1000, .open = open_environment, .apply = apply, .find = find, .walk = walk_environment,
	.close = close_environment,
};
