#include "config.h"

#if HAVE_LMDB

#include <string.h>
#include <unistd.h>

#include "db/store/guard.h"
#include "db/store/lmdb.h"
#include "lib/file.h"

int lmdb_code(bool ended, int code)
{
	return ended ? code : MDB_CORRUPTED;
}

static void assertion_failed(MDB_env *env, const char *what)
{
	(void)env;
	(void)what;
	guard_leave();
}

int lmdb_begin(MDB_env *env, unsigned flags, MDB_txn **txn)
{
	int code = mdb_txn_begin(env, NULL, flags, txn);

	/* a writer has made the map larger than it was when we opened it */
	if (code == MDB_MAP_RESIZED && (code = mdb_env_set_mapsize(env, 0)) == 0)
		code = mdb_txn_begin(env, NULL, flags, txn);
	return code;
}

struct opening {
	struct lmdb_map *l;
	const char *path;
	unsigned flags;
	int code;
};

static void open_guarded(void *context)
{
	struct opening *o = context;
	struct lmdb_map *l = o->l;
	int dead;

	o->code = mdb_env_create(&l->env);
	/* it makes the lock file if there is none */
	file_as_owner(o->path);
	if (o->code == 0)
		o->code = mdb_env_open(l->env, o->path, MDB_RDONLY | MDB_NOSUBDIR | MDB_NOTLS | o->flags, 0600);
	file_as_oneself();
	if (o->code == 0)
		o->code = mdb_env_set_assert(l->env, assertion_failed);
	/* what killed readers have left behind would keep old pages from being used again */
	if (o->code == 0 && (o->flags & MDB_NOLOCK) == 0)
		mdb_reader_check(l->env, &dead);
	if (o->code == 0)
		o->code = lmdb_begin(l->env, MDB_RDONLY, &l->txn);
	if (o->code == 0)
		o->code = mdb_dbi_open(l->txn, NULL, 0, &l->dbi);
}

int lmdb_open(struct lmdb_map *l, const char *path, unsigned flags)
{
	struct opening o = { l, path, flags, 0 };
	bool ended;

	guard_install();
	ended = guard_read(open_guarded, &o);
	return lmdb_code(ended, o.code);
}

static void close_guarded(void *context)
{
	struct lmdb_map *l = context;

	if (l->txn != NULL)
		mdb_txn_abort(l->txn);
	if (l->env != NULL)
		mdb_env_close(l->env);
}

void lmdb_close(struct lmdb_map *l)
{
	/* where the lock file was cut off as well, the rest of the handle is left to the end of the process */
	(void)guard_read(close_guarded, l);
	if (l->is_shared && l->fd >= 0)
		close(l->fd);
	*l = (struct lmdb_map){ .fd = -1 };
}

int lmdb_change(MDB_txn *txn, MDB_dbi dbi, const struct change *change)
{
	MDB_val key = { change->key_length + (size_t)1, (void *)(uintptr_t)change->key };
	MDB_val value = { change->value_length + (size_t)1, (void *)(uintptr_t)change->value };
	int code;

	if (change->value != NULL)
		return mdb_put(txn, dbi, &key, &value, 0);
	code = mdb_del(txn, dbi, &key, NULL);
	return code == MDB_NOTFOUND ? 0 : code;
}

int lmdb_walk_from(MDB_cursor *cursor, const struct buf *after, struct buf *out)
{
	MDB_val key = { 0, NULL }, value;
	size_t before = out->len;
	int code;

	if (after != NULL)
		key = (MDB_val){ after->len + 1, after->data };
	code = mdb_cursor_get(cursor, &key, &value, after != NULL ? MDB_SET_RANGE : MDB_FIRST);
	if (code == 0 && after != NULL && record_length(key.mv_data, key.mv_size) == after->len && memcmp(key.mv_data, after->data, after->len) == 0)
		code = mdb_cursor_get(cursor, &key, &value, MDB_NEXT);
	while (code == 0) {
		struct change record = { key.mv_data, value.mv_data, (uint32_t)record_length(key.mv_data, key.mv_size),
		                         (uint32_t)record_length(value.mv_data, value.mv_size) };

		change_encode(out, &record);
		if (out->len - before >= STORE_PIECE)
			break;
		code = mdb_cursor_get(cursor, &key, &value, MDB_NEXT);
	}
	return code == MDB_NOTFOUND ? 0 : code;
}

#else

/* An empty file is no C. */
typedef int no_lmdb;

#endif
