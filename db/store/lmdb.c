#include "config.h"

#if HAVE_LMDB

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "db/store/guard.h"
#include "db/store/lmdb.h"
#include "lib/clock.h"
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

bool lmdb_lock_file_fits(MDB_env *env, MDB_txn *txn)
{
	MDB_envinfo info;

	/* the one number is that of the lock file, the other one is found in the file */
	return mdb_env_info(env, &info) == 0 && info.me_last_txnid == mdb_txn_id(txn);
}

int lmdb_renew(const struct lmdb_map *l)
{
	int code = mdb_txn_renew(l->txn);

	if (code != MDB_MAP_RESIZED)
		return code;
	code = mdb_env_set_mapsize(l->env, 0);
	return code != 0 ? code : mdb_txn_renew(l->txn);
}

struct opening {
	struct lmdb_map *l;
	const char *path;
	unsigned flags;
	int code;
	bool fits;
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
	o->fits = o->code == 0 && ((o->flags & MDB_NOLOCK) != 0 || lmdb_lock_file_fits(l->env, l->txn));
}

static void look_again_guarded(void *context)
{
	struct opening *o = context;
	struct lmdb_map *l = o->l;

	mdb_txn_reset(l->txn);
	o->code = lmdb_renew(l);
	o->fits = o->code == 0 && lmdb_lock_file_fits(l->env, l->txn);
}

static int guarded(void (*step)(void *context), struct opening *o)
{
	const bool ended = guard_read(step, o);

	return lmdb_code(ended, o->code);
}

/* A writer may be between its last page and its word in the lock file: with the lock on the map there is none. */
static int open_without(struct opening *o)
{
	struct lmdb_map *l = o->l;
	int fd = file_open_regular(o->path, O_RDONLY), code;
	pid_t holder;

	if (fd < 0)
		return errno;
	code = lmdb_lock_map(fd, F_RDLCK, clock_ms() + LMDB_WAIT_MS, &holder) ? guarded(look_again_guarded, o) : EBUSY;
	if (code != 0 || o->fits) {
		close(fd);
		return code;
	}
	lmdb_close(l);
	l->fd = fd;
	l->is_shared = true;
	o->flags |= MDB_NOLOCK;
	return guarded(open_guarded, o);
}

int lmdb_open(struct lmdb_map *l, const char *path, unsigned flags)
{
	struct opening o = { .l = l, .path = path, .flags = flags };
	int code;

	guard_install();
	code = guarded(open_guarded, &o);
	return code == 0 && !o.fits ? open_without(&o) : code;
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
	if (code == 0 && after != NULL && record_length(key.mv_data, key.mv_size) == after->len &&
	    memcmp(key.mv_data, after->data, after->len) == 0)
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
