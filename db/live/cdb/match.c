/*
 * A map in an environment and its journal, brought together and kept together.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>
#include <unistd.h>

#include "db/live/cdb/environment.h"
#include "db/live/roster.h"
#include "db/store/bdb.h"
#include "db/store/stamp.h"
#include "lib/alloc.h"
#include "lib/file.h"
#include "lib/hash.h"

/* A write that fails leaves the page in the cache of libdb, to be written again; this does not. */
static bool could_not_sync;

int environment_sync_file(int fd)
{
	while (fdatasync(fd) < 0)
		if (errno != EINTR) {
			could_not_sync = true;
			return errno;
		}
	return 0;
}

static int write_note(const struct live *live, const char *behind, struct buf *why)
{
	struct environment *e = live->state;
	struct buf value = { 0 };
	struct change note = { .key = environment_note, .key_length = ENVIRONMENT_NOTE_LENGTH };
	int status;

	buf_addf(&value, "%s %" PRIu64 "%s", e->journal.id, e->journal.last, behind);
	note.value = value.data;
	note.value_length = (uint32_t)value.len;
	status = environment_change(live, &note, 1, why);
	buf_free(&value);
	return status;
}

/* Notes in the map that it holds all batches up to the last one of the journal. */
static int note_number(const struct live *live, struct buf *why)
{
	return write_note(live, "", why);
}

static int fail_unsynced(const struct live *live, struct buf *why)
{
	return live_fail_healable(live, EX_TEMPFAIL, why, "could not be synced; what was changed may not be on the disk");
}

/* Other processes must hear of it, too: each is told only of errors behind its own open(2). */
static void note_unsynced(const struct live *live)
{
	struct environment *e = live->state;
	struct buf ignored = { 0 };

	if (write_note(live, ENVIRONMENT_UNSYNCED, &ignored) == EX_OK)
		e->db->sync(e->db, 0);
	buf_free(&ignored);
}

static int sync_map(const struct live *live, struct buf *why)
{
	struct environment *e = live->state;
	int code = e->db->sync(e->db, 0), status = code == 0 ? EX_OK : environment_fail(live, "sync", code, why);

	live_progress(live);
	if (could_not_sync)
		note_unsynced(live);
	if (status == EX_OK && could_not_sync)
		return fail_unsynced(live, why);
	if (status == EX_OK)
		e->synced = e->journal.last;
	return status;
}

int environment_make(const struct live *live, const struct changes *changes, struct buf *why)
{
	int status = environment_change(live, changes->list, changes->count, why);

	if (status == EX_OK)
		status = note_number(live, why);
	return status == EX_OK ? sync_map(live, why) : status;
}

/* ---- together -------------------------------------------------------------------------- */

const char environment_note[] = NOTE_KEY_START "batch";

bool environment_is_unsynced(const char *value)
{
	const char *last = strrchr(value, ' ');

	return last != NULL && strcmp(last, ENVIRONMENT_UNSYNCED) == 0;
}

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
	int code = 0, status = environment_ask_lock(live, DB_LOCK_READ, why);

	if (status != EX_OK)
		return status;
	switch (bdb_find(e->db, environment_note, ENVIRONMENT_NOTE_LENGTH, &value, &code)) {
	case MAP_FOUND:
		if (environment_is_unsynced(value.data))
			status = fail_unsynced(live, why);
		else if (!environment_parse_note(value.data, id, number))
			status = live_fail_healable(live, EX_DATAERR, why, "the number of the last batch is damaged");
		break;
	case MAP_NOT_FOUND:
		status = EX_NOINPUT;
		break;
	case MAP_COULD_NOT_TELL:
		status = environment_fail(live, "cannot read", code, why);
		break;
	}
	buf_free(&value);
	return status;
}

/* Makes the changes that the journal has and the map lacks. */
static int catch_up(const struct live *live, uint64_t number, struct buf *why)
{
	struct environment *e = live->state;
	struct changes changes = { 0 };
	int status = journal_secure(&e->journal, why);

	if (status == EX_OK)
		status = journal_replay(&e->journal, number, journal_gather, &changes, why);
	if (status == EX_OK) {
		changes_settle(&changes);
		status = environment_make(live, &changes, why);
	}
	changes_free(&changes);
	return status;
}

int environment_walk(const struct live *live, const struct buf *after, struct buf *out, struct buf *why)
{
	struct environment *e = live->state;
	int code, status = environment_ask_lock(live, DB_LOCK_READ, why);

	if (status != EX_OK)
		return status;
	code = bdb_walk_from(e->db, after, out);
	return code == 0 ? EX_OK : environment_fail(live, "cannot read", code, why);
}

/* A map as newdb left it says that it was not changed since; that is no longer true. */
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
		value[0] = STAMP_BROKEN;
		broken.value = value;
		status = environment_change(live, &broken, 1, why);
		free(value);
		return status;
	}
	return EX_OK;
}

/*
 * A map whose stamp is whole was changed by none of our programs: the file must be as it was built, or its damage would become
 * the journal's.
 */
static int demand_seal(const struct live *live, const struct changes *records, struct buf *why)
{
	for (size_t i = 0; i < records->count; i++)
		if (live_is_stamp(&records->list[i]) && records->list[i].value_length > 0 &&
		    records->list[i].value[0] != STAMP_BROKEN)
			return live_prove(live, why);
	return EX_OK;
}

/* A recovery of the environment for another map must know of this one. */
static int enlist(const struct live *live, struct buf *why)
{
	const struct environment *e = live->state;
	char *path = realpath(live->path, NULL);
	bool ok = path != NULL && roster_add(e->config.home, live->type, path);

	if (!ok)
		live_fail(live, EX_CANTCREAT, why, "cannot write the list of maps, %s/zlmtp.maps: %s", e->config.home,
		          file_error(errno));
	free(path);
	return ok ? EX_OK : EX_CANTCREAT;
}

/* All records, a piece at a time. */
static int read_records(const struct live *live, struct changes *records, struct buf *why)
{
	struct buf piece = { 0 }, after = { 0 };
	int status;

	do {
		buf_clear(&piece);
		status = environment_walk(live, records->count > 0 ? &after : NULL, &piece, why);
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

/* A map without a journal gets one, with all it holds as the base. */
static int adopt(const struct live *live, struct buf *why)
{
	struct environment *e = live->state;
	struct changes records = { 0 };
	struct journal_writer w;
	char *path = journal_path(live->path);
	int status = enlist(live, why);

	if (status == EX_OK)
		status = read_records(live, &records, why);
	if (status == EX_OK)
		status = demand_seal(live, &records, why);
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

int environment_match(const struct live *live, struct buf *why)
{
	struct environment *e = live->state;
	char id[JOURNAL_ID + 1];
	uint64_t number = 0;
	int status;

	if (could_not_sync) {
		/* the map's other users, if that could not be noted before */
		note_unsynced(live);
		return fail_unsynced(live, why);
	}
	status = read_number(live, id, &number, why);
	if (status == EX_NOINPUT && e->journal.last == 0) {
		/* killed between making the journal and the note: nothing was changed yet */
		journal_close(&e->journal);
		return adopt(live, why);
	}
	if (status != EX_OK && status != EX_NOINPUT)
		return status;
	if (status == EX_NOINPUT || strcmp(id, e->journal.id) != 0 || number > e->journal.last || number < e->journal.first) {
		live_fail(live, EX_DATAERR, why, "is not the map of its journal: it was replaced; ");
		live_add_recovery(live, "", why);
		buf_adds(why, " recreates it from the journal, ");
		live_add_recovery(live, "--adopt ", why);
		buf_adds(why, " takes it as it is");
		return EX_DATAERR;
	}
	if ((e->is_new || live->recovering) && number > e->journal.first)
		number--;
	if (number != e->journal.last)
		return catch_up(live, number, why);
	/*
	 * the process that made the last batch may have died before it was on disk; recovery counts on all but the last being
	 * there
	 */
	return e->synced == e->journal.last ? EX_OK : sync_map(live, why);
}

int environment_open_journal(const struct live *live, struct buf *why)
{
	struct environment *e = live->state;
	char *path = journal_path(live->path);
	int status = journal_open(&e->journal, path, why);

	free(path);
	return status == EX_NOINPUT ? adopt(live, why) : status == EX_OK ? environment_match(live, why) : status;
}

/* ---- the file alone ------------------------------------------------------------------------ */

/* Of all records whose keys are not among `but`; whatever their order is. */
struct sum {
	const struct changes *but;
	uint64_t total;
};

static int compare_keys(const void *a, const void *b)
{
	const struct change *x = a, *y = b;

	return change_compare(x->key, x->key_length, y->key, y->key_length);
}

static void sum_add(struct sum *sum, const struct change *r)
{
	uint64_t hash;

	if (record_is_note(r->key, r->key_length))
		return;
	if (sum->but->count > 0 && bsearch(r, sum->but->list, sum->but->count, sizeof *r, compare_keys) != NULL)
		return;
	/* the length of the key divides the two */
	hash = hash_bytes(HASH_START, &r->key_length, sizeof r->key_length);
	hash = hash_bytes(hash, r->key, r->key_length);
	sum->total += hash_bytes(hash, r->value, r->value_length);
}

static int sum_record(void *context, const struct change *record, struct buf *why)
{
	(void)why;
	sum_add(context, record);
	return EX_OK;
}

static int sum_file(const struct live *live, DB *db, struct sum *sum)
{
	struct buf piece = { 0 }, after = { 0 };
	struct change r = { 0 };
	const char *p, *end;
	int code;

	while ((code = bdb_walk_from(db, r.key != NULL ? &after : NULL, &piece)) == 0 && piece.len > 0) {
		for (p = piece.data, end = p + piece.len; p < end && change_decode(&p, end, &r);)
			sum_add(sum, &r);
		buf_clear(&after);
		buf_add(&after, r.key, r.key_length);
		buf_clear(&piece);
		live_progress(live);
	}
	buf_free(&piece);
	buf_free(&after);
	return code;
}

enum store_proof environment_compare_file(const struct live *live, DB *db, const struct journal *journal, uint64_t number,
                                          struct buf *why)
{
	struct changes recent = { 0 };
	struct sum file = { .but = &recent }, said = { .but = &recent };
	const uint64_t on_disk = number > journal->first ? number - 1 : number;
	enum store_proof proof = STORE_COULD_NOT_TELL;
	int code = 0;

	if (journal_replay(journal, on_disk, journal_gather, &recent, why) == EX_OK) {
		changes_settle(&recent);
		code = sum_file(live, db, &file);
		if (code != 0)
			live_fail(live, EX_OK, why, "cannot read: %s", db_strerror(code));
		else if (journal_state(journal, sum_record, &said, why) == EX_OK)
			proof = file.total == said.total ? STORE_SOUND : STORE_DAMAGED;
	}
	changes_free(&recent);
	return bdb_is_damage(code) ? STORE_DAMAGED : proof;
}
