/*
 * LMDB maps: type "lmdb".  Keys and values carry their NUL as in Berkeley DB; a value without is accepted.
 *
 * A sealed map (stamp.h) never changes, newer ones take its place by rename; it is read without LMDB's lock file.
 * That is a must: the lock file belongs to a name, and with readers of the old file still there LMDB would take
 * the number of the last transaction from it and could show the empty state from before the new file was filled.
 * Any other file may be written to while we read, and is read with the lock file.
 */
#include "config.h"

#if HAVE_LMDB

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>
#include <unistd.h>

#include "db/map/lmdb.h"
#include "db/map/stamp.h"
#include "lib/alloc.h"

/* Bytes of records in one transaction of a load: what LMDB keeps in memory. */
#define LOAD_BATCH (8u << 20)

static enum map_answer fail_lmdb(struct map *map, const char *what, int code)
{
	return map_fail(map, "%s: %s", what, mdb_strerror(code));
}

/* ---- opening -------------------------------------------------------------------- */

static int open_env(MDB_env **env, const char *path, unsigned flags)
{
	int code = mdb_env_create(env), dead;

	if (code == 0)
		code = mdb_env_open(*env, path, MDB_RDONLY | MDB_NOSUBDIR | MDB_NOTLS | flags, 0600);
	/* what killed readers have left behind would keep old pages from being used again */
	if (code == 0 && (flags & MDB_NOLOCK) == 0)
		mdb_reader_check(*env, &dead);
	return code;
}

static int begin(MDB_env *env, MDB_txn **txn)
{
	int code = mdb_txn_begin(env, NULL, MDB_RDONLY, txn);

	/* a writer has made the map larger than it was when we opened it */
	if (code == MDB_MAP_RESIZED && (code = mdb_env_set_mapsize(env, 0)) == 0)
		code = mdb_txn_begin(env, NULL, MDB_RDONLY, txn);
	return code;
}

int lmdb_open(struct lmdb_map *l, const char *path, unsigned flags)
{
	int code = open_env(&l->env, path, flags);

	if (code == 0)
		code = begin(l->env, &l->txn);
	if (code == 0)
		code = mdb_dbi_open(l->txn, NULL, 0, &l->dbi);
	return code;
}

void lmdb_close(struct lmdb_map *l)
{
	if (l->txn != NULL)
		mdb_txn_abort(l->txn);
	if (l->env != NULL)
		mdb_env_close(l->env);
	*l = (struct lmdb_map){ 0 };
}

static bool look_at_file(struct map *map, unsigned *flags)
{
	int fd = open(map->path, O_RDONLY | O_CLOEXEC);
	bool ok;

	if (fd < 0) {
		map_fail(map, "%s", strerror(errno));
		return false;
	}
	ok = map_provenance_of(map, fd) && lmdb_check(map, fd, flags);
	close(fd);
	return ok;
}

static void read_stamp(struct map *map, const struct lmdb_map *l)
{
	MDB_val key = { STAMP_KEY_LENGTH, (void *)(uintptr_t)stamp_key }, value;

	if (mdb_get(l->txn, l->dbi, &key, &value) == 0)
		map_stamp_from(map, value.mv_data, strnlen(value.mv_data, value.mv_size));
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
	int code;

	if (!look_at_file(map, &flags))
		return false;
	l = xcalloc(1, sizeof *l);
	code = lmdb_open(l, map->path, flags);
	if (code != 0 || map_file_change(map) == MAP_REPLACED) {
		if (code != 0)
			fail_lmdb(map, "cannot open", code);
		else
			map_fail(map, "was replaced while it was opened");
		lmdb_close(l);
		free(l);
		return false;
	}
	read_stamp(map, l);
	l->seen = mdb_txn_id(l->txn);
	mdb_txn_reset(l->txn);
	map->state = l;
	return true;
}

/* ---- reading --------------------------------------------------------------------- */

static int renew(struct lmdb_map *l)
{
	int code = mdb_txn_renew(l->txn);

	if (code != MDB_MAP_RESIZED)
		return code;
	code = mdb_env_set_mapsize(l->env, 0);
	return code != 0 ? code : mdb_txn_renew(l->txn);
}

static enum map_answer find_lmdb(struct map *map, const char *key, size_t length, struct buf *value)
{
	struct lmdb_map *l = map->state;
	MDB_val k = { length + 1, (void *)(uintptr_t)key }, v;
	int code;

	/* no key of that size can have been stored */
	if (k.mv_size > (size_t)mdb_env_get_maxkeysize(l->env))
		return MAP_NOT_FOUND;
	code = renew(l);
	if (code == 0) {
		code = mdb_get(l->txn, l->dbi, &k, &v);
		if (code == 0)
			buf_add(value, v.mv_data, strnlen(v.mv_data, v.mv_size));
		mdb_txn_reset(l->txn);
	}
	if (code == MDB_NOTFOUND)
		return MAP_NOT_FOUND;
	return code == 0 ? MAP_FOUND : fail_lmdb(map, "lookup", code);
}

static enum map_answer walk_lmdb(struct map *map, map_each *each, void *context)
{
	struct lmdb_map *l = map->state;
	MDB_val k, v;
	MDB_cursor *cursor = NULL;
	bool more = true;
	int code = renew(l);

	if (code == 0)
		code = mdb_cursor_open(l->txn, l->dbi, &cursor);
	while (more && code == 0 && (code = mdb_cursor_get(cursor, &k, &v, MDB_NEXT)) == 0)
		if (!map_is_note(k.mv_data, k.mv_size))
			more = each(context, k.mv_data, strnlen(k.mv_data, k.mv_size), v.mv_data,
			            strnlen(v.mv_data, v.mv_size));
	if (cursor != NULL)
		mdb_cursor_close(cursor);
	mdb_txn_reset(l->txn);
	return code == 0 || code == MDB_NOTFOUND ? MAP_FOUND : fail_lmdb(map, "walk", code);
}

static enum map_change changed_lmdb(struct map *map)
{
	struct lmdb_map *l = map->state;
	enum map_change change = map_file_change(map);
	MDB_envinfo info;

	if (change == MAP_REPLACED || mdb_env_info(l->env, &info) != 0)
		return MAP_REPLACED;
	/* the time of the file lags behind: LMDB writes some of its pages through the memory map */
	if (info.me_last_txnid != l->seen)
		change = MAP_CHANGED;
	l->seen = info.me_last_txnid;
	return change;
}

static void close_lmdb(struct map *map)
{
	lmdb_close(map->state);
	free(map->state);
	map->state = NULL;
}

/* ---- making ----------------------------------------------------------------------- */

/* Room is address space only; pages of large values can be half empty. */
static size_t room_for(const struct map_load *load)
{
	return ((size_t)load->bytes * 4 + (size_t)load->records * 64 + (16u << 20)) / 65536 * 65536;
}

/* Puts records until the batch is full.  MDB_NOTFOUND when there are no more. */
static int put_batch(MDB_txn *txn, MDB_dbi dbi, const struct map_load *load)
{
	const char *key, *value;
	size_t key_length, value_length, bytes = 0;
	int code = 0;

	while (code == 0 && bytes < LOAD_BATCH) {
		MDB_val k, v;

		if (!load->next(load->context, &key, &key_length, &value, &value_length))
			return MDB_NOTFOUND;
		k = (MDB_val){ key_length + 1, (void *)(uintptr_t)key };
		v = (MDB_val){ value_length + 1, (void *)(uintptr_t)value };
		code = mdb_put(txn, dbi, &k, &v, MDB_APPEND);
		bytes += k.mv_size + v.mv_size;
	}
	return code;
}

static int put_all(MDB_env *env, const struct map_load *load)
{
	int code = 0;

	while (code == 0) {
		MDB_txn *txn;
		MDB_dbi dbi;
		bool last;

		code = mdb_txn_begin(env, NULL, 0, &txn);
		if (code != 0)
			return code;
		code = mdb_dbi_open(txn, NULL, 0, &dbi);
		if (code == 0)
			code = put_batch(txn, dbi, load);
		last = code == MDB_NOTFOUND;
		if (code != 0 && !last) {
			mdb_txn_abort(txn);
			return code;
		}
		code = mdb_txn_commit(txn);
		if (last)
			return code;
	}
	return code;
}

/* LMDB says EIO when only a part of a page could be written; what stood in the way shows when more is written. */
static int why_not_written(const char *path, int code)
{
	static const char page[65536];
	int fd = code == EIO ? open(path, O_WRONLY | O_APPEND | O_CLOEXEC) : -1;

	if (fd < 0)
		return code;
	if (write(fd, page, sizeof page) < 0)
		code = errno;
	close(fd);
	return code;
}

static int load_lmdb(const char *path, const struct map_load *load, struct buf *why)
{
	MDB_env *env;
	int code = mdb_env_create(&env);

	if (code == 0) {
		code = mdb_env_set_mapsize(env, room_for(load));
		if (code == 0)
			code = mdb_env_open(env, path, MDB_NOSUBDIR | MDB_NOLOCK | MDB_NOSYNC, 0600);
		if (code == 0)
			code = put_all(env, load);
		mdb_env_close(env);
	}
	if (code != 0)
		buf_adds(why, mdb_strerror(why_not_written(path, code)));
	return code == 0 ? EX_OK : EX_IOERR;
}

const struct map_operations map_lmdb = {
	.type = "lmdb", .suffix = ".lmdb", .prepare = prepare_lmdb, .open = open_lmdb, .find = find_lmdb, .walk = walk_lmdb,
	.changed = changed_lmdb, .close = close_lmdb, .load = load_lmdb, .longest_key = 511,
};

#else

/* An empty file is no C. */
typedef int no_lmdb;

#endif
