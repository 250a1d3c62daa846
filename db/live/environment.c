/*
 * Maps in a Berkeley DB environment (CDB), changed in place beside routers that know nothing of us.
 *
 * What makes that safe (each point was measured):
 *  - The write lock is asked for without queueing.  A writer that is killed while it waits in the lock manager's queue blocks
 *    everybody else for ever; one that only asks again leaves no trace.
 *  - The lock is held for a few changes at a time, by a group (DB_ENV->cdsgroup_begin) that has the lock before its first
 *    change; then it rests.  That is what keeps the readers going, too.
 *  - A batch is in the journal, synced, before the map is touched, and acknowledged when the map is synced as well.
 *  - The number of the last batch is a record of the map, so that it is known what a map lacks.  All batches before that one
 *    are on disk; the cache may have written the number sooner than the changes, so recovery makes the last batch again.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>
#include <time.h>

#include "db/live/environment.h"
#include "db/live/journal.h"
#include "db/live/live.h"
#include "db/live/locks.h"
#include "db/live/store.h"
#include "db/map/env.h"
#include "db/map/stamp.h"
#include "lib/alloc.h"
#include "lib/clock.h"

/* Changes under one lock, and the rest after them as a multiple of the time they took. */
#define SLICE 50
#define REST 2
#define REST_AT_LEAST_NS 500000

#define POLL_NS 20000
#define POLL_SLOW_NS 1000000
#define QUICK_POLLS 200

/* When the lock is not to be had, the dead are looked for at once and then now and then. */
#define LOOK_AFTER_MS 100
#define LOOK_AGAIN_MS 1000

struct environment {
	struct env_config config;
	struct env *env;
	DB *db;
	struct journal journal;
	uint64_t synced;         /* up to which batch this process knows the map to be on disk */
};

/* ---- trouble -------------------------------------------------------------------------- */

static int fail_bdb(const struct live *live, const char *what, int code, struct buf *why)
{
	const struct environment *e = live->state;
	const char *said = e->env != NULL ? env_said(e->env) : "";
	bool recover = code == DB_RUNRECOVERY || code == DB_PAGE_NOTFOUND || code == DB_VERIFY_BAD;

	return live_fail(live, code == EIO || code == ENOSPC || code == EFBIG ? EX_IOERR : EX_TEMPFAIL, why, "%s: %s%s%s%s", what,
	                 db_strerror(code), said[0] != '\0' ? "; " : "", said, recover ? "; run \"recover\"" : "");
}

/* ---- the lock --------------------------------------------------------------------------- */

static void nap(long ns)
{
	const struct timespec pause = { ns / 1000000000, ns % 1000000000 };

	nanosleep(&pause, NULL);
}

struct wait {
	int64_t deadline;
	int64_t look;            /* when to look for the dead */
	unsigned polls;
	struct buf holders;
};

static struct wait begin_wait(const struct live *live)
{
	int64_t now = clock_ms();

	return (struct wait){ .deadline = now + (int64_t)live->wait * 1000, .look = now + LOOK_AFTER_MS };
}

/* After a poll in vain: false when it is time to give up. */
static bool wait_more(const struct live *live, struct wait *w)
{
	struct environment *e = live->state;
	int64_t now;

	nap(++w->polls < QUICK_POLLS ? POLL_NS : POLL_SLOW_NS);
	now = clock_ms();
	if (now >= w->look) {
		buf_clear(&w->holders);
		if (locks_look(env_handle(e->env), e->config.home, true, &w->holders) == LOCKS_DEAD_WRITER)
			return false;
		w->look = now + LOOK_AGAIN_MS;
	}
	return now < w->deadline;
}

static int end_wait(const struct live *live, struct wait *w, int code, struct buf *why)
{
	int status = EX_OK;

	if (code == DB_LOCK_NOTGRANTED)
		status = live_fail(live, EX_TEMPFAIL, why, "the lock is not to be had: %s; if that does not end, run \"recover\"",
		                   w->holders.len > 0 ? w->holders.data : "others are quicker");
	else if (code != 0)
		status = fail_bdb(live, "lock", code, why);
	buf_free(&w->holders);
	return status;
}

/* Takes the lock of the map for `locker`, without ever standing in the queue. */
static int take_lock(const struct live *live, u_int32_t locker, db_lockmode_t mode, DB_LOCK *lock, struct buf *why)
{
	struct environment *e = live->state;
	DB_ENV *env = env_handle(e->env);
	/* what CDB itself locks: one object for each file */
	DBT object = { .data = e->db->fileid, .size = DB_FILE_ID_LEN };
	struct wait w = begin_wait(live);
	int code;

	do
		code = env->lock_get(env, locker, DB_LOCK_NOWAIT, &object, mode, lock);
	while (code == DB_LOCK_NOTGRANTED && wait_more(live, &w));
	return end_wait(live, &w, code, why);
}

/* Makes sure that a read that follows need not wait. */
static int ask_lock(const struct live *live, db_lockmode_t mode, struct buf *why)
{
	struct environment *e = live->state;
	struct wait w = begin_wait(live);
	bool is_free;

	while (!(is_free = env_lock_is_free(e->env, e->db, mode, 0)) && wait_more(live, &w))
		;
	return end_wait(live, &w, is_free ? 0 : DB_LOCK_NOTGRANTED, why);
}

/* ---- changes -------------------------------------------------------------------------------- */

static int64_t nanoseconds(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

/* Makes changes under one lock. */
static int change_slice(const struct live *live, const struct change *list, size_t count, struct buf *why)
{
	struct environment *e = live->state;
	DB_ENV *env = env_handle(e->env);
	DB_TXN *group;
	DB_LOCK lock;
	int code = env->cdsgroup_begin(env, &group), ended, status;

	if (code != 0)
		return fail_bdb(live, "group", code, why);
	status = take_lock(live, group->id(group), DB_LOCK_WRITE, &lock, why);
	for (size_t i = 0; status == EX_OK && code == 0 && i < count; i++)
		code = store_change(e->db, group, &list[i]);
	/* gives the lock back, too */
	ended = group->commit(group, 0);
	if (status == EX_OK && (code != 0 || ended != 0))
		status = fail_bdb(live, "change", code != 0 ? code : ended, why);
	return status;
}

static int change_all(const struct live *live, const struct changes *changes, struct buf *why)
{
	int status = EX_OK;

	for (size_t i = 0; status == EX_OK && i < changes->count; i += SLICE) {
		int64_t began = nanoseconds(), rest;
		size_t n = changes->count - i < SLICE ? changes->count - i : SLICE;

		status = change_slice(live, &changes->list[i], n, why);
		rest = (nanoseconds() - began) * REST;
		live_progress(live);
		if (i + n < changes->count)
			nap(rest > REST_AT_LEAST_NS ? (long)rest : REST_AT_LEAST_NS);
	}
	return status;
}

static int sync_map(const struct live *live, struct buf *why)
{
	struct environment *e = live->state;
	int code = e->db->sync(e->db, 0);

	live_progress(live);
	if (code != 0)
		return fail_bdb(live, "sync", code, why);
	e->synced = e->journal.last;
	return EX_OK;
}

/* Notes in the map that it holds all batches up to the last one of the journal. */
static int note_number(const struct live *live, struct buf *why)
{
	struct environment *e = live->state;
	struct buf value = { 0 };
	struct change note = { .key = environment_note, .key_length = ENVIRONMENT_NOTE_LENGTH };
	int status;

	buf_addf(&value, "%s %" PRIu64, e->journal.id, e->journal.last);
	note.value = value.data;
	note.value_length = (uint32_t)value.len;
	status = change_slice(live, &note, 1, why);
	buf_free(&value);
	return status;
}

/* Changes that the journal has already. */
static int change_map(const struct live *live, const struct changes *changes, struct buf *why)
{
	int status = change_all(live, changes, why);

	if (status == EX_OK)
		status = note_number(live, why);
	return status == EX_OK ? sync_map(live, why) : status;
}

/* ---- the journal and the map ------------------------------------------------------------------ */

const char environment_note[] = NOTE_KEY_START "batch";

bool environment_parse_note(const char *value, char id[JOURNAL_ID + 1], uint64_t *number)
{
	int end = 0;

	sscanf(value, "%16[0-9a-f] %20" SCNu64 "%n", id, number, &end);
	return end > 0 && value[end] == '\0' && strlen(id) == JOURNAL_ID;
}

/* EX_OK with *number; EX_NOINPUT if the map has no such note. */
static int read_number(const struct live *live, char id[JOURNAL_ID + 1], uint64_t *number, struct buf *why)
{
	struct environment *e = live->state;
	struct buf value = { 0 };
	int code = 0, status = ask_lock(live, DB_LOCK_READ, why);

	if (status != EX_OK)
		return status;
	switch (store_find(e->db, environment_note, ENVIRONMENT_NOTE_LENGTH, &value, &code)) {
	case MAP_FOUND:
		if (!environment_parse_note(value.data, id, number))
			status = live_fail(live, EX_DATAERR, why, "the number of the last batch is damaged; run \"recover\"");
		break;
	case MAP_NOT_FOUND:
		status = EX_NOINPUT;
		break;
	case MAP_COULD_NOT_TELL:
		status = fail_bdb(live, "cannot read", code, why);
		break;
	}
	buf_free(&value);
	return status;
}

static int gather(void *context, const struct change *c, struct buf *why)
{
	struct changes *changes = context;

	(void)why;
	if (c->value != NULL)
		changes_put(changes, c->key, c->key_length, c->value, c->value_length);
	else
		changes_remove(changes, c->key, c->key_length);
	return EX_OK;
}

/* Makes the changes that the journal has and the map lacks. */
static int catch_up(const struct live *live, uint64_t number, struct buf *why)
{
	struct environment *e = live->state;
	struct changes changes = { 0 };
	int status = journal_replay(&e->journal, number, gather, &changes, why);

	if (status == EX_OK) {
		changes_settle(&changes);
		status = change_map(live, &changes, why);
	}
	changes_free(&changes);
	return status;
}

static int walk(const struct live *live, const struct buf *after, struct buf *out, struct buf *why)
{
	struct environment *e = live->state;
	int code, status = ask_lock(live, DB_LOCK_READ, why);

	if (status != EX_OK)
		return status;
	code = store_walk(e->db, after, out);
	return code == 0 ? EX_OK : fail_bdb(live, "cannot read", code, why);
}

static int gather_map(const struct live *live, struct changes *records, struct buf *why)
{
	struct buf piece = { 0 }, after = { 0 };
	int status;

	do {
		buf_clear(&piece);
		status = walk(live, records->count > 0 ? &after : NULL, &piece, why);
		if (status == EX_OK && !changes_decode(records, buf_str(&piece), piece.len))
			status = live_fail(live, EX_SOFTWARE, why, "a record came out damaged");
		if (records->count > 0) {
			const struct change *last = &records->list[records->count - 1];

			buf_clear(&after);
			buf_add(&after, last->key, last->key_length);
		}
		live_progress(live);
	} while (status == EX_OK && piece.len > 0);
	buf_free(&piece);
	buf_free(&after);
	return status;
}

/* A map as newdb left it says that nobody has changed it since; that is no longer true. */
static int break_stamp(const struct live *live, const struct changes *records, struct buf *why)
{
	for (size_t i = 0; i < records->count; i++) {
		const struct change *r = &records->list[i];
		struct change broken = *r;
		char *value;
		int status;

		if (!live_is_stamp(r) || r->value_length == 0)
			continue;
		value = xstrndup(r->value, r->value_length);
		value[0] = '-';
		broken.value = value;
		status = change_slice(live, &broken, 1, why);
		free(value);
		return status;
	}
	return EX_OK;
}

/* A map without a journal gets one, with all it holds as the base. */
static int adopt(const struct live *live, struct buf *why)
{
	struct environment *e = live->state;
	struct changes records = { 0 };
	struct journal_writer w;
	char *path = journal_path(live->path);
	int status = gather_map(live, &records, why);

	if (status == EX_OK)
		status = journal_begin(&w, path, NULL, 0, live->path, why);
	if (status == EX_OK) {
		changes_settle(&records);
		for (size_t i = 0; i < records.count; i++)
			if (!environment_is_note(&records.list[i]))
				journal_add(&w, &records.list[i]);
		status = journal_commit(&w, why);
	}
	if (status == EX_OK)
		status = journal_open(&e->journal, path, why);
	if (status == EX_OK)
		status = break_stamp(live, &records, why);
	if (status == EX_OK)
		status = note_number(live, why);
	if (status == EX_OK)
		status = sync_map(live, why);
	changes_free(&records);
	free(path);
	return status;
}

bool environment_is_note(const struct change *record)
{
	return change_compare(record->key, record->key_length, environment_note, ENVIRONMENT_NOTE_LENGTH) == 0;
}

/* Brings journal and map together. */
static int match(const struct live *live, struct buf *why)
{
	struct environment *e = live->state;
	char id[JOURNAL_ID + 1];
	uint64_t number = 0;
	int status = read_number(live, id, &number, why);

	if (status == EX_NOINPUT && e->journal.last == 0) {
		/* killed between making the journal and the note: nothing was changed yet */
		journal_close(&e->journal);
		return adopt(live, why);
	}
	if (status != EX_OK && status != EX_NOINPUT)
		return status;
	if (status == EX_NOINPUT || strcmp(id, e->journal.id) != 0 || number > e->journal.last || number < e->journal.first)
		return live_fail(live, EX_DATAERR, why, "is not the map that its journal speaks of: it was replaced; \"recover\" makes "
		                 "it anew from the journal, \"recover --adopt\" takes it as it is");
	if (live->recovering && number > e->journal.first)
		number--;
	if (number != e->journal.last)
		return catch_up(live, number, why);
	/* who made the last batch may have died before it was on disk; recovery counts on all but the last being there */
	return e->synced == e->journal.last ? EX_OK : sync_map(live, why);
}

static int open_journal(const struct live *live, struct buf *why)
{
	struct environment *e = live->state;
	char *path = journal_path(live->path);
	int status = journal_open(&e->journal, path, why);

	free(path);
	return status == EX_NOINPUT ? adopt(live, why) : status == EX_OK ? match(live, why) : status;
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
		code = e->db->open(e->db, NULL, path, NULL, store_type(live->type), DB_NOMMAP, 0);
	free(path);
	return code == 0 ? EX_OK : fail_bdb(live, "cannot open", code, why);
}

static int open_all(const struct live *live, struct buf *why)
{
	struct environment *e = live->state;
	struct buf ignored = { 0 };
	int status = env_config_read(&e->config, live->config, why);

	if (status != EX_OK)
		return status;
	if (e->config.read_only)
		return live_fail(live, EX_CONFIG, why, "%s says RO: its maps are not to be changed", live->config);
	e->config.create = e->config.create || live->recovering;
	env_set_patience(live->wait);
	e->env = env_open(&e->config, why);
	if (e->env == NULL)
		return EX_TEMPFAIL;
	/* what dead processes have left in the lock table adds up */
	locks_look(env_handle(e->env), e->config.home, true, &ignored);
	buf_free(&ignored);
	status = open_db(live, why);
	return status == EX_OK ? open_journal(live, why) : status;
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

	return code == 0 ? live_is_current(live, fd, why) : fail_bdb(live, "file", code, why);
}

static int apply(struct live *live, const struct changes *changes, struct buf *why)
{
	struct environment *e = live->state;
	int status = is_current(live, why);

	if (status == EX_OK)
		status = journal_refresh(&e->journal, why);
	if (status == EX_NOINPUT)
		return live_fail(live, EX_TEMPFAIL, why, "its journal has gone");
	/* others may have changed the map meanwhile, or died before they had */
	if (status == EX_OK)
		status = match(live, why);
	/* a batch that cannot be made now should not be in the journal either */
	if (status == EX_OK)
		status = ask_lock(live, DB_LOCK_WRITE, why);
	if (status == EX_OK)
		status = journal_append(&e->journal, changes, why);
	if (status == EX_OK)
		status = change_map(live, changes, why);
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

	if (ask_lock(live, DB_LOCK_READ, why) != EX_OK)
		return MAP_COULD_NOT_TELL;
	answer = store_find(e->db, key, length, value, &code);
	if (answer == MAP_COULD_NOT_TELL)
		fail_bdb(live, "cannot read", code, why);
	return answer;
}

static int walk_environment(struct live *live, const struct buf *after, struct buf *out, struct buf *why)
{
	return walk(live, after, out, why);
}

const struct live_operations live_environment = {
	.name = "environment", .batch = 1000, .open = open_environment, .apply = apply, .find = find, .walk = walk_environment,
	.close = close_environment,
};
