#include "db/live/cdb/examine.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>
#include <unistd.h>

#include <db.h>

#include "db/live/cdb/environment.h"
#include "db/live/cdb/journal.h"
#include "db/live/cdb/locks.h"
#include "db/store/bdb.h"
#include "db/store/env.h"
#include "lib/alloc.h"
#include "lib/clock.h"

/* Another process may have written while the file was verified. */
#define TRIES 2

static void find(struct examination *x, enum health_state state, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

/* The first finding that is not "healthy" stays; worse ones take its place. */
static void find(struct examination *x, enum health_state state, const char *format, ...)
{
	va_list ap;

	if (state <= x->state)
		return;
	x->state = state;
	buf_clear(&x->text);
	va_start(ap, format);
	buf_vaddf(&x->text, format, ap);
	va_end(ap);
}

static bool count(void *context, const char *key, size_t key_length, const char *value, size_t value_length)
{
	uint64_t *records = context;

	(void)key;
	(void)key_length;
	(void)value;
	(void)value_length;
	++*records;
	return true;
}

static void find_code(struct examination *x, const char *what, int code)
{
	enum health_state state = code == DB_RUNRECOVERY ? HEALTH_WEDGED : bdb_is_damage(code) ? HEALTH_DAMAGED
	                          : HEALTH_UNKNOWN;

	find(x, state, "%s: %s", what, db_strerror(code));
}

/* ---- files ------------------------------------------------------------------------------------ */

/* STORE_SOUND, or the finding is noted. */
static enum store_proof prove(struct examination *x)
{
	struct buf why = { 0 };
	enum store_proof proof;

	x->step(x, "verifying the map");
	proof = bdb_verify_file(x->live->path, true, &why);
	if (proof != STORE_SOUND)
		find(x, proof == STORE_DAMAGED ? HEALTH_DAMAGED : HEALTH_UNKNOWN, "the map: %s", buf_str(&why));
	buf_free(&why);
	return proof;
}

/* ---- the journal -------------------------------------------------------------------------------- */

static int count_state(void *context, const struct change *record, struct buf *why)
{
	uint64_t *records = context;

	(void)why;
	*records += !record_is_note(record->key, record->key_length);
	return EX_OK;
}

/* The cache, which was written, may hide that another program has written to the file. */
static void examine_file(struct examination *x, const struct journal *journal, uint64_t number)
{
	struct buf why = { 0 };
	DB *db = NULL;
	int code;

	x->step(x, "reading the file");
	code = bdb_create(&db);
	if (code == 0)
		code = db->open(db, NULL, x->live->path, NULL, bdb_type(x->live->type), DB_RDONLY | DB_NOMMAP, 0);
	if (code != 0) {
		find_code(x, "cannot open the file", code);
	} else {
		switch (environment_compare_file(x->live, db, journal, number, &why)) {
		case STORE_SOUND:
			break;
		case STORE_DAMAGED:
			find(x, HEALTH_DAMAGED, "the file is not what its journal says: another program has written to it");
			break;
		case STORE_COULD_NOT_TELL:
			find(x, HEALTH_UNKNOWN, "%s", buf_str(&why));
			break;
		}
	}
	buf_free(&why);
	if (db != NULL)
		db->close(db, DB_NOSYNC);
}

static void examine_journal(struct examination *x, const char *note)
{
	struct journal journal = { 0 };
	struct buf why = { 0 };
	char id[JOURNAL_ID + 1], *path = journal_path(x->live->path);
	uint64_t number = 0, records = 0;
	int status;

	x->step(x, "reading the journal");
	status = journal_open(&journal, path, &why);
	if (status == EX_OK)
		status = journal_state(&journal, count_state, &records, &why);
	if (status == EX_NOINPUT)
		find(x, HEALTH_HEALTHY, "no journal");
	else if (status != EX_OK)
		find(x, status == EX_DATAERR ? HEALTH_DAMAGED : HEALTH_UNKNOWN, "%s", buf_str(&why));
	else if (environment_is_unsynced(note))
		find(x, HEALTH_DAMAGED, "the map could not be synced; what was changed may not be on the disk");
	else if (!environment_parse_note(note, id, &number) || strcmp(id, journal.id) != 0 || number > journal.last ||
	         number < journal.first)
		find(x, HEALTH_DAMAGED, "the map is not the one that its journal speaks of");
	else if (number < journal.last)
		find(x, HEALTH_STALE, "%" PRIu64 " batches of the journal are not in the map yet", journal.last - number);
	else if (records != x->records)
		find(x, HEALTH_STALE, "another program has changed it: %" PRIu64 " records, the journal knows %" PRIu64,
		     x->records, records);
	else
		examine_file(x, &journal, number);
	journal_close(&journal);
	buf_free(&why);
	free(path);
}

/* ---- environments --------------------------------------------------------------------------------- */

struct opened {
	struct env_config config;
	struct env *env;
	DB *db;
	struct buf note;
};

static bool can_access_regions(const struct env_config *config, int mode)
{
	char *path = xasprintf("%s/__db.001", config->home);
	bool ok = access(path, mode) == 0;

	free(path);
	return ok;
}

static bool open_all(struct examination *x, struct opened *o)
{
	struct buf why = { 0 };
	char *path = realpath(x->live->path, NULL);
	int code;

	x->live->inside = true;
	x->step(x, "opening the environment");
	env_set_patience(x->live->wait);
	o->env = env_open(&o->config, &why);
	if (path == NULL) {
		find(x, HEALTH_UNKNOWN, "%s", strerror(errno));
	} else if (o->env == NULL) {
		find(x, can_access_regions(&o->config, R_OK | W_OK) ? HEALTH_WEDGED : HEALTH_UNKNOWN, "%s", buf_str(&why));
	} else {
		x->step(x, "opening the map");
		code = db_create(&o->db, env_handle(o->env), 0);
		if (code == 0)
			code = o->db->open(o->db, NULL, path, NULL, bdb_type(x->live->type), DB_NOMMAP, 0);
		if (code != 0)
			find_code(x, "cannot open the map", code);
	}
	free(path);
	buf_free(&why);
	return x->state == HEALTH_HEALTHY;
}

static void close_all(struct opened *o)
{
	if (o->db != NULL)
		o->db->close(o->db, 0);
	o->db = NULL;
	env_close(&o->env);
}

static void count_records(struct examination *x, struct opened *o)
{
	struct buf piece = { 0 }, after = { 0 };
	const char *p, *end;
	struct change r = { 0 };
	int code;

	for (bool more = false;; more = true) {
		buf_clear(&piece);
		x->step(x, "reading the map");
		code = bdb_walk_from(o->db, more ? &after : NULL, &piece);
		if (code != 0 || piece.len == 0)
			break;
		for (p = piece.data, end = p + piece.len; p < end && change_decode(&p, end, &r);)
			x->records += !record_is_note(r.key, r.key_length);
		buf_clear(&after);
		buf_add(&after, r.key, r.key_length);
	}
	if (code != 0)
		find_code(x, "cannot read the map", code);
	buf_free(&piece);
	buf_free(&after);
}

static void read_note(struct examination *x, DB *db, struct buf *note)
{
	int code = 0;

	switch (bdb_find(db, environment_note, ENVIRONMENT_NOTE_LENGTH, note, &code)) {
	case MAP_FOUND:
	case MAP_NOT_FOUND:
		break;
	case MAP_COULD_NOT_TELL:
		find_code(x, "cannot read the map", code);
		break;
	}
}

static void sync_and_verify(struct examination *x, struct opened *o)
{
	enum health_state before = x->state;

	for (int try = 0; try < TRIES; try++) {
		int code;

		x->step(x, "writing the cache");
		code = o->db->sync(o->db, 0);
		if (code != 0) {
			find_code(x, "cannot write the cache", code);
			return;
		}
		/* only what the last try finds counts */
		if (x->state == HEALTH_DAMAGED || x->state == HEALTH_UNKNOWN)
			x->state = before;
		if (prove(x) != STORE_DAMAGED)
			return;
	}
}

static void examine_opened(struct examination *x, struct opened *o)
{
	struct buf text = { 0 };

	x->step(x, "asking for the write lock");
	if (!env_lock_is_free(o->env, o->db, DB_LOCK_WRITE, clock_ms() + (int64_t)x->live->wait * 500))
		find(x, HEALTH_WEDGED, "cannot get the write lock within %u s", x->live->wait / 2);
	x->step(x, "reading the lock table");
	switch (locks_look(env_handle(o->env), o->config.home, false, &text)) {
	case LOCKS_DEAD_WRITER:
		x->state = HEALTH_HEALTHY;
		find(x, HEALTH_WEDGED, "%s", buf_str(&text));
		break;
	case LOCKS_DEAD_READER:
		/* the next change takes it away */
		x->state = HEALTH_HEALTHY;
		find(x, HEALTH_STALE, "%s", buf_str(&text));
		break;
	case LOCKS_CLEAN:
		if (x->state == HEALTH_WEDGED && text.len > 0)
			buf_addf(&x->text, ": %s", buf_str(&text));
		break;
	case LOCKS_FREED:
	case LOCKS_UNKNOWN:
		break;
	}
	buf_free(&text);
	if (x->state == HEALTH_WEDGED)
		return;
	/* before anything is read within the environment: damage can keep libdb there for ever, with all it holds */
	sync_and_verify(x, o);
	if (x->state == HEALTH_DAMAGED || x->state == HEALTH_UNKNOWN)
		return;
	count_records(x, o);
	read_note(x, o->db, &o->note);
	if (x->state != HEALTH_DAMAGED)
		examine_journal(x, buf_str(&o->note));
}

/* No process is in the environment: the file is all there is. */
static void examine_unused(struct examination *x)
{
	struct opened o = { 0 };
	int code;

	if (prove(x) != STORE_SOUND)
		return;
	code = bdb_create(&o.db);
	if (code == 0)
		code = o.db->open(o.db, NULL, x->live->path, NULL, bdb_type(x->live->type), DB_RDONLY | DB_NOMMAP, 0);
	if (code != 0) {
		find_code(x, "cannot open the map", code);
	} else {
		count_records(x, &o);
		read_note(x, o.db, &o.note);
		examine_journal(x, buf_str(&o.note));
	}
	close_all(&o);
	buf_free(&o.note);
}

static void examine_environment(struct examination *x)
{
	struct opened o = { 0 };
	struct buf why = { 0 };

	if (env_config_read(&o.config, x->live->config, &why) != EX_OK || live_check_file(x->live, &why) != EX_OK) {
		find(x, HEALTH_UNKNOWN, "%s", buf_str(&why));
	} else if (!env_has_regions(&o.config)) {
		examine_unused(x);
	} else {
		if (open_all(x, &o))
			examine_opened(x, &o);
		x->step(x, "leaving the environment");
		close_all(&o);
		x->live->inside = false;
	}
	env_config_free(&o.config);
	buf_free(&o.note);
	buf_free(&why);
}

void examine(struct examination *x)
{
	struct buf why = { 0 };
	int status = EX_OK;
	struct map *map;

	x->state = HEALTH_HEALTHY;
	if (x->live->operations == &live_environment) {
		examine_environment(x);
		return;
	}
	x->step(x, "reading the map");
	map = map_open(x->live->type, x->live->path, NULL, &status, &why);
	if (map == NULL)
		find(x, HEALTH_UNKNOWN, "%s", buf_str(&why));
	else if (map_walk(map, count, &x->records) != MAP_FOUND)
		find(x, map->is_damaged ? HEALTH_DAMAGED : HEALTH_UNKNOWN, "%s", map_error(map));
	map_close(&map);
	buf_free(&why);
}
