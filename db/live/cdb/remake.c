#include "db/live/cdb/remake.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sysexits.h>
#include <unistd.h>

#include "config.h"
#include "db/build/build.h"
#include "db/live/cdb/environment.h"
#include "db/store/bdb.h"
#include "db/store/kept.h"
#include "db/store/stamp.h"
#include "lib/alloc.h"
#include "lib/file.h"
#include "lib/publish.h"

static int fail(const struct remake *r, int status, const char *what, const char *reason)
{
	return live_fail(r->live, status, r->why, "%s: %s", what, reason);
}

/* ---- the map --------------------------------------------------------------------------------- */

/* Out of the way of routers: a map that is not there defers mail, a damaged one may answer wrongly. */
int remake_set_aside(const struct remake *r)
{
	char *aside = publish_set_aside(r->live->path, true);
	int status = EX_OK;

	if (aside != NULL)
		live_tell(r->teller, "the damaged map is now %s", aside);
	else if (errno != ENOENT)
		status = fail(r, EX_IOERR, "cannot rename it", strerror(errno));
	free(aside);
	return status;
}

/* Opens the map, which verifies, and reads the number of its last batch; false if that is not there. */
static bool open_map(const struct remake *r, DB **db, struct buf *note)
{
	int code = bdb_create(db);

	if (code == 0)
		code = (*db)->open(*db, NULL, r->live->path, NULL, bdb_type(r->live->type), DB_RDONLY | DB_NOMMAP, 0);
	return code == 0 && bdb_find(*db, environment_note, ENVIRONMENT_NOTE_LENGTH, note, &code) == MAP_FOUND;
}

/* True if the map holds batches of this very journal, and what they have made. */
static bool belongs_to(const struct remake *r, const struct journal *journal)
{
	struct buf note = { 0 }, ignored = { 0 };
	char id[JOURNAL_ID + 1];
	uint64_t number;
	DB *db;
	bool ok = open_map(r, &db, &note) && environment_parse_note(note.data, id, &number) && strcmp(id, journal->id) == 0 &&
	          number >= journal->first && number <= journal->last &&
	          environment_compare_file(r->live, db, journal, number, &ignored) == STORE_SOUND;

	db->close(db, 0);
	buf_free(&note);
	buf_free(&ignored);
	return ok;
}

/* True if the map looks sound in memory alone, perhaps: it cannot be taken as it is. */
static bool is_unsynced(const struct remake *r)
{
	struct buf note = { 0 };
	DB *db;
	bool yes = open_map(r, &db, &note) && environment_is_unsynced(note.data);

	db->close(db, 0);
	buf_free(&note);
	return yes;
}

/* ---- rebuilt from the journal ------------------------------------------------------------------ */

struct content {
	struct records records;
	struct changes notes;
	struct stamp stamp;
};

static int take_record(void *context, const struct change *c, struct buf *why)
{
	struct content *m = context;

	(void)why;
	if (live_is_stamp(c))
		stamp_parse(&m->stamp, c->value, c->value_length);
	else if (record_is_note(c->key, c->key_length))
		changes_put(&m->notes, c->key, c->key_length, c->value, c->value_length);
	else
		records_copy(&m->records, c->key, c->key_length, c->value, c->value_length, 0);
	return EX_OK;
}

static int build(const struct remake *r, const char *target, const struct content *m)
{
	struct build build = { .type = r->live->type, .target = target, .stamp = m->stamp };
	struct stat st;

	if (stat(r->journal, &st) < 0)
		return fail(r, EX_IOERR, r->journal, strerror(errno));
	build.uid = geteuid() == 0 ? st.st_uid : (uid_t)-1;
	build.gid = geteuid() == 0 ? st.st_gid : (gid_t)-1;
	build.mode = st.st_mode & 0777;
	if (build.stamp.source == NULL)
		build.stamp = (struct stamp){ .source = (char *)(uintptr_t)"-", .folding = '-', .syntax = '-' };
	return build_map(&build, &m->records, r->why);
}

static int make_anew(struct remake *r, struct journal *journal)
{
	struct content m = { 0 };
	struct buf number = { 0 };
	char *target = xasprintf("%s" LIVE_ANEW, r->live->path);
	int status = journal_state(journal, take_record, &m, r->why);

	buf_addf(&number, "%s %" PRIu64, journal->id, journal->last);
	changes_put(&m.notes, environment_note, ENVIRONMENT_NOTE_LENGTH, number.data, number.len);
	if (status == EX_OK)
		status = build(r, target, &m);
	if (status == EX_OK) {
		int fd = file_open_regular(target, O_RDWR);
		bool ok = fd >= 0 && stamp_break(fd) != STAMP_UNREADABLE;

		/* the map will be changed in place: no reader may take the seal of the new file for a promise */
		if (!ok)
			fail(r, EX_IOERR, target, file_error(errno));
		if (fd >= 0)
			close(fd);
		status = ok ? EX_OK : EX_IOERR;
	}
	if (status == EX_OK) {
		DB *db;
		int code = bdb_create(&db), closed;

		/* notes, and the number of the last batch, in a file that no program uses yet */
		if (code == 0)
			code = db->open(db, NULL, target, NULL, bdb_type(r->live->type), 0, 0);
		for (size_t i = 0; code == 0 && i < m.notes.count; i++)
			code = bdb_change(db, NULL, &m.notes.list[i]);
		closed = db->close(db, 0);
		if (code == 0)
			code = closed;
		status = code == 0 ? EX_OK : fail(r, EX_IOERR, target, db_strerror(code));
	}
	if (status == EX_OK)
		status = rename(target, r->live->path) == 0 && publish_sync_directory(r->live->path)
			? EX_OK : fail(r, EX_IOERR, "cannot put it in its place", strerror(errno));
	if (status == EX_OK)
		live_tell(r->teller, "%zu record%s recreated from %s", m.records.count, m.records.count == 1 ? "" : "s",
		          r->journal);
	records_free(&m.records);
	changes_free(&m.notes);
	stamp_free(&m.stamp);
	buf_free(&number);
	free(target);
	return status;
}

/* ---- what is to be done -------------------------------------------------------------------------- */

int remake_judge(struct remake *r, bool adopt)
{
	struct journal journal = { 0 };
	struct buf said = { 0 };
	enum store_proof proof = file_is_missing(r->live->path) ? STORE_DAMAGED : bdb_verify_file(r->live->path, true, &said);
	bool sound = proof == STORE_SOUND;
	int status;

	r->action = REMAKE_NOTHING;
	/* a map that cannot be judged here may be as good as ever: it stays where it is */
	if (proof == STORE_COULD_NOT_TELL) {
		status = live_fail(r->live, EX_TEMPFAIL, r->why, "%s", buf_str(&said));
		buf_free(&said);
		return status;
	}
	buf_free(&said);
	status = journal_open(&journal, r->journal, r->why);
	if (sound && adopt && status != EX_NOINPUT && !(status == EX_OK && is_unsynced(r)))
		r->action = REMAKE_ADOPT;
	else if (status == EX_NOINPUT && !sound)
		r->action = REMAKE_LOST;
	else if (status == EX_OK && !(sound && belongs_to(r, &journal)))
		r->action = REMAKE_ANEW;
	else if (status == EX_DATAERR && sound) {
		buf_adds(r->why, "; the map itself is sound, ");
		live_add_recovery(r->live, "--adopt ", r->why);
		buf_adds(r->why, " takes it as it is");
	}
	if (r->action != REMAKE_NOTHING || status == EX_NOINPUT)
		status = EX_OK;
	journal_close(&journal);
	return status;
}

int remake_do(struct remake *r)
{
	struct journal journal = { 0 };
	struct buf maker = { 0 };
	int status = EX_OK;

	switch (r->action) {
	case REMAKE_NOTHING:
		break;
	case REMAKE_ADOPT:
		if (unlink(r->journal) < 0)
			status = fail(r, EX_IOERR, r->journal, strerror(errno));
		break;
	case REMAKE_LOST:
		kept_add_maker(r->live->path, "dbupdate ... replace", &maker);
		status = live_fail(r->live, EX_DATAERR, r->why,
		                   "damaged: there is no journal to make it from; \"%s\" makes a new one",
		                   buf_str(&maker));
		buf_free(&maker);
		break;
	case REMAKE_ANEW:
		status = journal_open(&journal, r->journal, r->why);
		/* the map must not have a batch that its journal has in memory alone */
		if (status == EX_OK)
			status = journal_secure(&journal, r->why);
		if (status == EX_OK)
			status = make_anew(r, &journal);
		journal_close(&journal);
		break;
	}
	return status;
}
