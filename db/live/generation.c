/*
 * Maps in no environment: every batch makes a new file that takes the place of the old one.
 *
 * The file is copied, changed in private, sealed (stamp.h) and published.  A copy costs a tenth of loading all records
 * again, and readers that have the old file open are never in the way.  What a batch costs is the size of the map, so many
 * changes should go into one.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sysexits.h>
#include <unistd.h>

#include "config.h"
#include "db/live/cdb/journal.h"
#include "db/live/live.h"
#include "db/store/bdb.h"
#include "db/store/stamp.h"
#include "lib/alloc.h"
#include "lib/file.h"
#include "lib/publish.h"

#define SMALLEST_CACHE (1u << 20)
/* Changes come in the order of the keys, so that a btree needs little of it at a time; the system keeps the file anyway. */
#define LARGEST_CACHE (16u << 20)
/* A reader goes through the map once, or asks for little: a large cache would only be a second copy of the file. */
#define READING_CACHE (4u << 20)
#define COPY_PIECE (8u << 20)
#define STEP 4096

struct generation {
	DB *db;                  /* for reading; NULL until it is needed */
	struct live_file file;   /* what db is */
};

static int fail_bdb(const struct live *live, const char *what, int code, struct buf *why)
{
	return live_fail(live, code == EIO || code == ENOSPC || code == EFBIG ? EX_IOERR : EX_TEMPFAIL, why, "%s: %s", what,
	                 db_strerror(code));
}

/* Opens the file at `path` in no environment. */
static int open_file(const struct live *live, const char *path, off_t size, u_int32_t flags, DB **db)
{
	uint64_t cache = size < SMALLEST_CACHE ? SMALLEST_CACHE : size > LARGEST_CACHE ? LARGEST_CACHE : (uint64_t)size;
	int code = bdb_create(db);

	if (code != 0) {
		*db = NULL;
		return code;
	}
	code = (*db)->set_cachesize(*db, 0, (u_int32_t)cache, 1);
	if (code == 0)
		code = (*db)->open(*db, NULL, path, NULL, bdb_type(live->type), DB_NOMMAP | flags, 0);
	if (code != 0) {
		(*db)->close(*db, 0);
		*db = NULL;
	}
	return code;
}

/* ---- reading ---------------------------------------------------------------------------- */

static void shut(struct generation *g)
{
	if (g->db != NULL)
		g->db->close(g->db, DB_NOSYNC);
	g->db = NULL;
}

/* Opens what is there now. */
static int ready(const struct live *live, struct buf *why)
{
	struct generation *g = live->state;
	struct live_file file;
	struct stat st;
	int code, status;

	if (stat(live->path, &st) < 0)
		return live_fail(live, errno == ENOENT ? EX_NOINPUT : EX_NOPERM, why, "%s", strerror(errno));
	file = live_file_of(&st);
	if (g->db != NULL && live_file_is_same(&g->file, &file))
		return EX_OK;
	shut(g);
	/* what is read here decides what is changed, and a damaged map must not get a new seal */
	status = live_prove(live, why);
	if (status != EX_OK)
		return status;
	g->file = file;
	code = open_file(live, live->path, READING_CACHE, DB_RDONLY, &g->db);
	return code == 0 ? EX_OK : fail_bdb(live, "cannot open", code, why);
}

static enum map_answer find(struct live *live, const char *key, size_t length, struct buf *value, struct buf *why)
{
	const struct generation *g = live->state;
	enum map_answer answer;
	int code;

	if (ready(live, why) != EX_OK)
		return MAP_COULD_NOT_TELL;
	answer = bdb_find(g->db, key, length, value, &code);
	if (answer == MAP_COULD_NOT_TELL)
		fail_bdb(live, "cannot read", code, why);
	return answer;
}

static int walk(struct live *live, const struct buf *after, struct buf *out, struct buf *why)
{
	const struct generation *g = live->state;
	int code, status = ready(live, why);

	if (status != EX_OK)
		return status;
	code = bdb_walk_from(g->db, after, out);
	return code == 0 ? EX_OK : fail_bdb(live, "cannot read", code, why);
}

/* ---- a new generation --------------------------------------------------------------------------- */

static bool copy_bytes(const struct live *live, int from, int to)
{
	ssize_t n;

	while ((n = copy_file_range(from, NULL, to, NULL, COPY_PIECE, 0)) > 0)
		live_progress(live);
	if (n == 0 || (errno != EXDEV && errno != EINVAL && errno != ENOSYS && errno != EOPNOTSUPP))
		return n == 0;
	for (;;) {
		char bytes[65536];

		n = read(from, bytes, sizeof bytes);
		if (n <= 0)
			return n == 0;
		for (ssize_t done = 0, m; done < n; done += m) {
			m = write(to, bytes + done, (size_t)(n - done));
			if (m < 0)
				return false;
		}
	}
}

/* `before` and `after`: as it was when the copy began and ended; while it is made, other programs may write to the file. */
static bool copy_file(const struct live *live, struct publish *file, struct stat *before, struct stat *after)
{
	int from = file_open_regular(live->path, O_RDONLY), saved;
	bool ok = from >= 0 && fstat(from, before) == 0 &&
	          (publish_owner(file, before->st_uid, before->st_gid) || errno == EPERM) &&
	          copy_bytes(live, from, file->fd) && fstat(from, after) == 0;

	saved = errno;
	if (from >= 0)
		close(from);
	errno = saved;
	return ok;
}

/* Makes the changes and counts what they add to the number of records, notes aside. */
static int change_all(const struct live *live, DB *db, const struct changes *changes, int64_t *more)
{
	for (size_t i = 0; i < changes->count; i++) {
		const struct change *c = &changes->list[i];
		DBT key = { .data = (void *)(uintptr_t)c->key, .size = c->key_length + 1 };
		int code = db->exists(db, NULL, &key, 0);

		if (code != 0 && code != DB_NOTFOUND)
			return code;
		if (!record_is_note(c->key, c->key_length))
			*more += (c->value != NULL) - (code == 0);
		code = bdb_change(db, NULL, c);
		if (code != 0)
			return code;
		if (i % STEP == 0)
			live_progress(live);
	}
	return 0;
}

static int count_records(DB *db, uint64_t *count)
{
	DB_BTREE_STAT *stat = NULL;
	DBTYPE type;
	int code = db->get_type(db, &type);

	if (code == 0)
		code = db->stat(db, NULL, &stat, 0);
	if (code == 0)
		*count = type == DB_HASH ? ((DB_HASH_STAT *)stat)->hash_nkeys : stat->bt_nkeys;
	free(stat);
	return code;
}

/*
 * The stamp tells how many records there are, and carries the seal.  A map that had none gets one: those without are
 * looked through by every program that opens them.
 */
static int stamp_again(DB *db, int64_t more)
{
	struct stamp stamp = { 0 };
	struct buf text = { 0 };
	struct change c = { .key = stamp_key, .key_length = STAMP_KEY_LENGTH - 1 };
	int code = 0;
	enum map_answer answer = bdb_find(db, c.key, c.key_length, &text, &code);

	if (answer == MAP_COULD_NOT_TELL)
		return code;
	if (answer == MAP_FOUND && stamp_parse(&stamp, text.data, text.len)) {
		stamp.records += (uint64_t)more;
	} else {
		stamp = (struct stamp){ .source = xstrdup("-"), .version = xstrdup(VERSION), .built = stamp_now(),
		                        .folding = '-',
		                        .syntax = '-' };
		code = count_records(db, &stamp.records);
	}
	buf_clear(&text);
	stamp_add(&text, &stamp);
	c.value = text.data;
	c.value_length = (uint32_t)text.len;
	if (code == 0 || code == DB_NOTFOUND)
		code = bdb_change(db, NULL, &c);
	stamp_free(&stamp);
	buf_free(&text);
	return code;
}

/* A batch that brings a stamp of its own has the right number in it. */
static bool brings_stamp(const struct changes *changes)
{
	for (size_t i = 0; i < changes->count && changes->list[i].key[0] == '\0'; i++)
		if (live_is_stamp(&changes->list[i]))
			return true;
	return false;
}

/*
 * The old seal is broken first: changes may leave parts of it behind, which the new one must not be written into.  It was good
 * when the map was opened, which may be long ago: a new seal over damage would make it the truth.
 */
static int break_seal(const struct live *live, const struct publish *file, struct buf *why)
{
	switch (stamp_break(file->fd)) {
	case STAMP_GOOD:
	case STAMP_NONE:
		return EX_OK;
	case STAMP_BAD:
		return live_fail_healable(live, EX_DATAERR, why, "damaged, or changed by another program while it was open");
	case STAMP_UNREADABLE:
		break;
	}
	return live_fail(live, EX_IOERR, why, "cannot copy: %s", strerror(errno));
}

static int make_generation(struct live *live, struct publish *file, const struct changes *changes, struct buf *why)
{
	struct live_file made_of, behind, written;
	struct stat st, after;
	int status, code, closed;
	int64_t more = 0;
	DB *db;

	if (!copy_file(live, file, &st, &after))
		return live_fail(live, EX_IOERR, why, "cannot copy: %s", file_error(errno));
	made_of = live_file_of(&st);
	behind = live_file_of(&after);
	if (!live_file_is_same(&made_of, &behind) ||
	    (live->expected.inode != 0 && !live_file_is_same(&live->expected, &made_of)))
		return live_fail(live, EX_TEMPFAIL, why, "was changed by another program");
	status = break_seal(live, file, why);
	if (status != EX_OK)
		return status;
	code = open_file(live, file->temporary, st.st_size, 0, &db);
	if (code != 0)
		status = fail_bdb(live, "cannot open the copy", code, why);
	else {
		code = change_all(live, db, changes, &more);
		if (code == 0)
			code = stamp_again(db, brings_stamp(changes) ? 0 : more);
		closed = db->close(db, code == 0 ? 0 : DB_NOSYNC);
		if (code == 0)
			code = closed;
		status = code == 0 ? EX_OK : fail_bdb(live, "cannot change the copy", live_why_not_written(file->fd, code),
		                                      why);
	}
	if (status != EX_OK)
		return status;
	if (!stamp_seal(file->fd) || fchmod(file->fd, st.st_mode & 07777) < 0)
		return live_fail(live, EX_IOERR, why, "cannot publish: %s", strerror(errno));
	written = live_file_written(file->fd);
	if (!publish_commit(file))
		return live_fail(live, EX_IOERR, why, "%s: %s",
		                 file->renamed ? "is changed, but a power failure may undo it: cannot sync the "
		                 "directory" : "cannot publish", strerror(errno));
	/* the rename was a change of the inode, and ours if the rest is as we have left it */
	if (stat(live->path, &after) == 0)
		written.changed = after.st_ctim;
	live->written = written;
	return EX_OK;
}

static int apply(struct live *live, const struct live_batch *batch, struct buf *why)
{
	struct publish file = { 0 };
	int status;

	live_sweep(live->path);
	if (!publish_begin(&file, live->path, 0600))
		return live_fail(live, EX_CANTCREAT, why, "cannot create a file in its directory: %s", strerror(errno));
	status = make_generation(live, &file, &batch->changes, why);
	if (status != EX_OK)
		publish_abort(&file);
	return status;
}

/* ---- open and close ----------------------------------------------------------------------------- */

static void close_generations(struct live *live)
{
	if (live->state != NULL)
		shut(live->state);
	free(live->state);
	live->state = NULL;
}

static int open_generations(struct live *live, struct buf *why)
{
	char *journal = journal_path(live->path);
	int status = EX_OK;

	/* to replace a map under an environment would leave its readers with a file that is never changed again */
	if (access(journal, F_OK) == 0)
		status = live_fail(live, EX_CONFIG, why, "has a journal, %s: it is in an environment; name its file by -C",
		                   journal);
	else if (errno != ENOENT)
		status = live_fail(live, EX_TEMPFAIL, why, "may have a journal, %s: %s", journal, strerror(errno));
	free(journal);
	if (status != EX_OK)
		return status;
	live->state = xcalloc(1, sizeof(struct generation));
	live_sweep(live->path);
	status = ready(live, why);
	if (status != EX_OK)
		close_generations(live);
	return status;
}

const struct live_operations live_generations = {
	.name = "generations", .batch = 100000, .grace = 600, .open = open_generations, .apply = apply, .find = find,
	.walk = walk,
	.close = close_generations,
};
