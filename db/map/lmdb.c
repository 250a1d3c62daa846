/*
 * LMDB maps: type "lmdb".  Keys and values carry their NUL as in Berkeley DB; a value without is accepted.
 *
 * A sealed map (stamp.h) never changes, newer ones take its place by rename; it is read without LMDB's lock file.
 * That is a must: the lock file belongs to a name, and with readers of the old file still there LMDB would take
 * the number of the last transaction from it and could show the empty state from before the new file was filled.
 * Any other file may be written to while we read, and is read with the lock file.
 *
 * The file is mapped into memory: whatever touches it runs under guard.h, so that a file that is cut off or damaged while it is
 * open gives an error, not a signal.
 */
#include "config.h"

#if HAVE_LMDB

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sysexits.h>
#include <unistd.h>

#include "db/map/map.h"
#include "db/store/guard.h"
#include "db/store/lmdb.h"
#include "db/store/stamp.h"
#include "lib/alloc.h"
#include "lib/clock.h"
#include "lib/file.h"

/* Records of a walk that are read at once. */
#define PIECE 256

#define OVERWRITTEN "another file was written over it while it was open"

static enum map_answer fail_lmdb(struct map *map, const char *what, int code)
{
	map_fail(map, "%s: %s", what, mdb_strerror(code));
	map->is_damaged = lmdb_is_damage(code);
	return MAP_COULD_NOT_TELL;
}

/* ---- opening -------------------------------------------------------------------- */

static bool look_at_file(struct map *map, unsigned *flags, bool *sealed)
{
	int fd = file_open_regular(map->path, O_RDONLY);
	struct buf why = { 0 };
	bool ok;

	if (fd < 0)
		return map_fail_open(map);
	ok = map_provenance_of(map, fd) && map_fail_unless_sound(map, lmdb_verify(map->path, fd, flags, sealed, &why), &why);
	close(fd);
	buf_free(&why);
	return ok;
}

/* ---- reading --------------------------------------------------------------------- */

struct question {
	const struct lmdb_map *l;
	const char *key;
	size_t size;             /* with its NUL */
	struct buf *value;       /* gets the answer up to its first NUL */
	int code;
	bool is_foreign;
};

/*
 * False if another file was written over this one, of which the lock file knows nothing (lmdb_lock_file_fits()): what the
 * transaction shows then may be the state before the first record.  A writer may have gone on by `more` transactions.
 */
static bool is_its_own(const struct lmdb_map *l, size_t more)
{
	const size_t seen = mdb_txn_id(l->txn);
	MDB_envinfo info;

	return mdb_env_info(l->env, &info) == 0 && info.me_last_txnid >= seen && info.me_last_txnid - seen <= more;
}

static void get_guarded(void *context)
{
	struct question *q = context;
	MDB_val k = { q->size, (void *)(uintptr_t)q->key }, v;

	q->code = lmdb_renew(q->l);
	if (q->code != 0)
		return;
	q->code = mdb_get(q->l->txn, q->l->dbi, &k, &v);
	if (q->code == 0)
		buf_add(q->value, v.mv_data, strnlen(v.mv_data, v.mv_size));
	q->is_foreign = !is_its_own(q->l, 1);
	mdb_txn_reset(q->l->txn);
}

/*
 * What was read counts only if the file is still all there: behind its end the last page is full of zeros, and they read as
 * "no such key" or as a shorter value.  A sealed file never changes at all, any other never shrinks.
 */
static bool is_whole(struct map *map, struct lmdb_map *l)
{
	struct stat st;
	int fd = -1;

	if (mdb_env_get_fd(l->env, &fd) != 0 || fstat(fd, &st) < 0) {
		map_fail(map, "lookup: %s", strerror(errno));
		return false;
	}
	if (l->is_sealed ? map_is_untouched(map, &st) : st.st_size >= l->size) {
		l->size = st.st_size;
		return true;
	}
	map_fail(map, l->is_sealed ? "was written to while it was open" : "was cut off while it was open");
	return false;
}

/* The lock of those who use no lock file, for as long as they read (lmdb.h). */
static bool begin_sharing(struct map *map, const struct lmdb_map *l)
{
	pid_t holder;

	if (!l->is_shared || lmdb_lock_map(l->fd, F_RDLCK, clock_ms() + LMDB_WAIT_MS, &holder))
		return true;
	map_fail(map, "locked for %d s by %s", LMDB_WAIT_MS / 1000, lmdb_locker(holder, "a program that changes it"));
	return false;
}

static void end_sharing(const struct lmdb_map *l)
{
	pid_t holder;

	if (l->is_shared)
		lmdb_lock_map(l->fd, F_UNLCK, 0, &holder);
}

static enum map_answer find_lmdb(struct map *map, const char *key, size_t length, struct buf *value)
{
	struct lmdb_map *l = map->state;
	struct question q = { .l = l, .key = key, .size = length + 1, .value = value };
	bool ended;
	int code;

	/* no key of that size can have been stored */
	if (q.size > (size_t)mdb_env_get_maxkeysize(l->env))
		return MAP_NOT_FOUND;
	if (!begin_sharing(map, l))
		return MAP_COULD_NOT_TELL;
	ended = guard_read(get_guarded, &q);
	end_sharing(l);
	code = lmdb_code(ended, q.code);
	if (code != 0 && code != MDB_NOTFOUND)
		return fail_lmdb(map, "lookup", code);
	if (q.is_foreign)
		return map_fail(map, OVERWRITTEN);
	if (!is_whole(map, l))
		return MAP_COULD_NOT_TELL;
	return code == 0 ? MAP_FOUND : MAP_NOT_FOUND;
}

/* Some records of a walk, copied: what is done with them is none of the guard's business. */
struct piece {
	const struct lmdb_map *l;
	MDB_cursor *cursor;      /* NULL before the first piece */
	struct buf bytes;        /* of keys and values, one after the other */
	struct { size_t key, value; } list[PIECE];
	size_t count;
	int code;
	bool is_foreign;
};

static void read_piece(void *context)
{
	struct piece *p = context;
	MDB_val k, v;

	if (p->cursor == NULL) {
		p->code = lmdb_renew(p->l);
		if (p->code == 0)
			p->code = mdb_cursor_open(p->l->txn, p->l->dbi, &p->cursor);
	}
	while (p->code == 0 && p->count < PIECE && (p->code = mdb_cursor_get(p->cursor, &k, &v, MDB_NEXT)) == 0) {
		if (record_is_note(k.mv_data, k.mv_size))
			continue;
		p->list[p->count].key = record_length(k.mv_data, k.mv_size);
		p->list[p->count].value = strnlen(v.mv_data, v.mv_size);
		buf_add(&p->bytes, k.mv_data, p->list[p->count].key);
		buf_addc(&p->bytes, '\0');
		buf_add(&p->bytes, v.mv_data, p->list[p->count].value);
		buf_addc(&p->bytes, '\0');
		p->count++;
	}
}

static bool each_of(const struct piece *p, record_each *each, void *context)
{
	const char *key = buf_str(&p->bytes), *value;

	for (size_t i = 0; i < p->count; i++) {
		value = key + p->list[i].key + 1;
		if (!each(context, key, p->list[i].key, value, p->list[i].value))
			return false;
		key = value + p->list[i].value + 1;
	}
	return true;
}

static void end_walk(void *context)
{
	struct piece *p = context;

	if (p->cursor != NULL)
		mdb_cursor_close(p->cursor);
	p->is_foreign = !is_its_own(p->l, SIZE_MAX);
	mdb_txn_reset(p->l->txn);
}

static enum map_answer walk_lmdb(struct map *map, record_each *each, void *context)
{
	struct lmdb_map *l = map->state;
	struct piece piece = { .l = l };
	bool more = true, ended = true;

	if (!begin_sharing(map, l))
		return MAP_COULD_NOT_TELL;
	while (more && ended && piece.code == 0) {
		buf_clear(&piece.bytes);
		piece.count = 0;
		ended = guard_read(read_piece, &piece);
		if (ended && (piece.code == 0 || piece.code == MDB_NOTFOUND))
			more = each_of(&piece, each, context);
	}
	buf_free(&piece.bytes);
	if (ended)
		ended = guard_read(end_walk, &piece);
	end_sharing(l);
	if (!ended || (piece.code != 0 && piece.code != MDB_NOTFOUND))
		return fail_lmdb(map, "walk", lmdb_code(ended, piece.code));
	if (piece.is_foreign)
		return map_fail(map, OVERWRITTEN);
	return is_whole(map, l) ? MAP_FOUND : MAP_COULD_NOT_TELL;
}

/* ---- open and close --------------------------------------------------------------- */

/* A program that writes into a sealed file breaks the seal. */
static enum map_change file_change(struct map *map, const struct lmdb_map *l)
{
	enum map_change change = map_file_change(map);

	return change == MAP_CHANGED && l->is_sealed ? MAP_REPLACED : change;
}

static int prepare_lmdb(struct map *map)
{
	if (map->config == NULL)
		return EX_OK;
	map_fail(map, "maps of type lmdb have no environment; remove -C %s", map->config);
	return EX_CONFIG;
}

static bool open_lmdb(struct map *map)
{
	struct lmdb_map *l;
	unsigned flags = 0;
	bool sealed = false;
	int code;

	if (!look_at_file(map, &flags, &sealed))
		return false;
	l = xcalloc(1, sizeof *l);
	l->is_sealed = sealed;
	l->is_shared = !sealed && (flags & MDB_NOLOCK) != 0;
	l->fd = l->is_shared ? file_open_regular(map->path, O_RDONLY) : -1;
	if (!begin_sharing(map, l)) {
		lmdb_close(l);
		free(l);
		return false;
	}
	code = lmdb_open(l, map->path, flags);
	if (code != 0 || file_change(map, l) == MAP_REPLACED) {
		if (code != 0)
			fail_lmdb(map, "cannot open", code);
		else
			map_fail(map, "was replaced or written to while it was opened");
		lmdb_close(l);
		free(l);
		return false;
	}
	l->seen = mdb_txn_id(l->txn);
	l->size = (off_t)map->provenance.size;
	mdb_txn_reset(l->txn);
	end_sharing(l);
	map->state = l;
	map_read_stamp(map);
	return true;
}

struct news {
	const struct lmdb_map *l;
	size_t last;             /* transaction that a lookup would see now */
	bool is_its_own;
	int code;
};

/*
 * By a transaction as lookups have them: mdb_env_info() tells of the next one as soon as its page is written, and
 * lookups do not see it before the writer has also said so in the lock file.
 */
static void read_last(void *context)
{
	struct news *news = context;

	news->code = lmdb_renew(news->l);
	if (news->code != 0)
		return;
	news->last = mdb_txn_id(news->l->txn);
	news->is_its_own = is_its_own(news->l, 1);
	mdb_txn_reset(news->l->txn);
}

static enum map_change changed_lmdb(struct map *map)
{
	struct lmdb_map *l = map->state;
	enum map_change change = file_change(map, l);
	struct news news = { .l = l };
	bool ended;

	if (change == MAP_REPLACED)
		return change;
	/* what cannot be told now is found out by the lookup */
	if (!begin_sharing(map, l))
		return MAP_CHANGED;
	ended = guard_read(read_last, &news);
	end_sharing(l);
	if (!ended || news.code != 0 || !news.is_its_own)
		return MAP_REPLACED;
	/* the time of the file lags behind: LMDB writes some of its pages through the memory map */
	if (news.last != l->seen)
		change = MAP_CHANGED;
	l->seen = news.last;
	return change;
}

static void close_lmdb(struct map *map)
{
	lmdb_close(map->state);
	free(map->state);
	map->state = NULL;
}

const struct map_operations map_lmdb = {
	.type = "lmdb", .suffix = STORE_LMDB, .prepare = prepare_lmdb, .open = open_lmdb, .find = find_lmdb, .walk = walk_lmdb,
	.changed = changed_lmdb, .close = close_lmdb, .store = &store_lmdb,
};

#else

/* An empty file is no C. */
typedef int no_lmdb;

#endif
