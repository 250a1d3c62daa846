/*
 * LMDB maps, changed in place: copy on write, so readers never wait and never see half a batch, and a process that
 * is killed disturbs no other.
 *
 * A map as newdb leaves it is sealed and read without LMDB's lock file (db/map/lmdb.c); such readers would not be seen by a
 * writer.  So the first change makes a copy without seal, which takes the place of the map: a process that has the sealed file
 * open keeps it, all others use the lock file.
 *
 * Readers of Postfix use no lock file either, but a lock on the map itself; it is held, exclusively, during each transaction.
 */
#include "config.h"

#if HAVE_LMDB

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sysexits.h>
#include <time.h>
#include <unistd.h>

#include <lmdb.h>

#include "db/live/live.h"
#include "db/store/lmdb.h"
#include "db/store/stamp.h"
#include "lib/alloc.h"
#include "lib/clock.h"
#include "lib/file.h"
#include "lib/publish.h"

#define STEP 4096

/* Address space; the file grows as it is needed. */
#define ROOM_AT_LEAST ((size_t)64 << 20)

struct inplace {
	MDB_env *env;
	MDB_dbi dbi;
	int fd;              /* for Postfix's lock */
};

static int fail_lmdb(const struct live *live, const char *what, int code, struct buf *why)
{
	if (code == ESTALE)
		return live_fail(live, EX_TEMPFAIL, why, "another file was written over it");
	if (lmdb_is_damage(code))
		return live_fail_healable(live, EX_TEMPFAIL, why, "%s: %s", what, mdb_strerror(code));
	return live_fail(live, code == EIO || code == ENOSPC || code == EFBIG ? EX_IOERR : EX_TEMPFAIL, why, "%s: %s", what,
	                 mdb_strerror(code));
}

/* ---- changing ------------------------------------------------------------------------ */

/*
 * A transaction, MDB_RDONLY or 0.  No other program writes while we are behind the fence: one that is not the last of the file,
 * or the one after that, is of a file that another one was written over (lmdb_lock_file_fits()).
 */
static int begin(const struct inplace *l, unsigned flags, MDB_txn **txn)
{
	int code = lmdb_begin(l->env, flags, txn);
	MDB_envinfo info;

	if (code != 0 || (mdb_env_info(l->env, &info) == 0 && info.me_last_txnid + (flags == 0) == mdb_txn_id(*txn)))
		return code;
	mdb_txn_abort(*txn);
	return ESTALE;
}

static int try_batch(const struct live *live, const struct changes *changes)
{
	const struct inplace *l = live->state;
	MDB_txn *txn;
	int code = begin(l, 0, &txn);

	if (code != 0)
		return code;
	live_progress(live);
	for (size_t i = 0; code == 0 && i < changes->count; i++) {
		code = lmdb_change(txn, l->dbi, &changes->list[i]);
		if (code == 0 && i % STEP == 0)
			live_progress(live);
	}
	if (code != 0) {
		mdb_txn_abort(txn);
		return code;
	}
	return mdb_txn_commit(txn);
}

static int make_room(const struct live *live)
{
	const struct inplace *l = live->state;
	MDB_envinfo info;
	int code = mdb_env_info(l->env, &info);

	return code != 0 ? code : mdb_env_set_mapsize(l->env, info.me_mapsize * 2);
}

static int apply(struct live *live, const struct live_batch *batch, struct buf *why)
{
	const struct inplace *l = live->state;
	int code = 0, dead, status = live_is_current(live, l->fd, why);
	struct live_file now = { 0 };
	struct stat st;
	pid_t holder;

	if (status != EX_OK)
		return status;
	/* what killed readers left behind would keep old pages from being used again */
	mdb_reader_check(l->env, &dead);
	/* Postfix, and readers that may not write the lock file, read under a shared lock on the map */
	if (!lmdb_lock_map(l->fd, F_WRLCK, clock_ms() + (int64_t)live->wait * 1000, &holder))
		return live_fail(live, EX_TEMPFAIL, why, "locked for %u s by %s", live->wait,
		                 lmdb_locker(holder, "a program that reads it, such as Postfix"));
	/* the wait may have been long */
	if (fstat(l->fd, &st) == 0)
		now = live_file_of(&st);
	if (live->expected.inode != 0 && !live_file_is_same(&live->expected, &now))
		code = ESTALE;
	while (code == 0 && (code = try_batch(live, &batch->changes)) == MDB_MAP_FULL)
		code = make_room(live);
	/* a disk that is full leaves traces as well */
	if (code != ESTALE && !lmdb_is_damage(code))
		live->written = live_file_written(l->fd);
	lmdb_lock_map(l->fd, F_UNLCK, 0, &holder);
	return code == 0 ? EX_OK : fail_lmdb(live, "cannot change it", live_why_not_written(l->fd, code), why);
}

/* ---- reading ---------------------------------------------------------------------------- */

static enum map_answer find(struct live *live, const char *key, size_t length, struct buf *value, struct buf *why)
{
	const struct inplace *l = live->state;
	MDB_val k = { length + 1, (void *)(uintptr_t)key }, v;
	MDB_txn *txn;
	int code = begin(l, MDB_RDONLY, &txn);

	if (code == 0) {
		code = mdb_get(txn, l->dbi, &k, &v);
		if (code == 0)
			buf_add(value, v.mv_data, record_length(v.mv_data, v.mv_size));
		mdb_txn_abort(txn);
	}
	if (code == MDB_NOTFOUND)
		return MAP_NOT_FOUND;
	if (code != 0)
		fail_lmdb(live, "cannot read", code, why);
	return code == 0 ? MAP_FOUND : MAP_COULD_NOT_TELL;
}

static int walk(struct live *live, const struct buf *after, struct buf *out, struct buf *why)
{
	const struct inplace *l = live->state;
	MDB_cursor *cursor;
	MDB_txn *txn;
	int code = live_is_current(live, l->fd, why);

	if (code != EX_OK)
		return code;
	code = begin(l, MDB_RDONLY, &txn);
	if (code == 0) {
		code = mdb_cursor_open(txn, l->dbi, &cursor);
		if (code == 0) {
			code = lmdb_walk_from(cursor, after, out);
			mdb_cursor_close(cursor);
		}
		mdb_txn_abort(txn);
	}
	return code == 0 ? EX_OK : fail_lmdb(live, "cannot read", code, why);
}

/* ---- opening ------------------------------------------------------------------------------- */

/* Puts a copy of the map in its place, which begins with a lock file of its own. */
static int copy_map(const struct live *live, int from, const struct stat *st, bool is_sealed, struct publish *file)
{
	off_t done = 0;
	char *lock_file;

	if (!publish_owner(file, st->st_uid, st->st_gid) && errno != EPERM)
		return -1;
	while (done < st->st_size) {
		ssize_t n = copy_file_range(from, &done, file->fd, NULL, (size_t)(st->st_size - done), 0);

		if (n <= 0)
			return -1;
		live_progress(live);
	}
	/* of the copy: the map may have been written to since its seal was found good */
	if (is_sealed) {
		switch (stamp_break(file->fd)) {
		case STAMP_GOOD:
			break;
		case STAMP_NONE:
		case STAMP_BAD:
			errno = EBUSY;
			return -1;
		case STAMP_UNREADABLE:
			return -1;
		}
	}
	if (fchmod(file->fd, st->st_mode & 07777) < 0)
		return -1;
	/* the lock file belongs to the name; what stands in it must not be taken for the new file's */
	lock_file = xasprintf("%s-lock", live->path);
	unlink(lock_file);
	free(lock_file);
	return publish_commit(file) ? 0 : -1;
}

/*
 * A user that can lock it can block all that open the map: it is for users who may write the map.  Others read without it
 * (lmdb_choose_lock()).
 */
static void close_lock_file_off(const struct live *live, const struct stat *st)
{
	char *path = xasprintf("%s-lock", live->path);

	if (chown(path, st->st_uid, st->st_gid) == 0)
		chmod(path, (st->st_mode & 020) != 0 ? 0660 : 0600);
	free(path);
}

/* LMDB itself would wait for the lock without limit, and make the file wherever a link in its place leads. */
static int check_lock_file(const struct live *live, struct buf *why)
{
	struct buf trouble = { 0 };
	int status = EX_OK;
	pid_t holder;

	if (!lmdb_lock_file_is_plain(live->path, &trouble))
		status = live_fail(live, EX_NOPERM, why, "%s", buf_str(&trouble));
	else if (!lmdb_lock_file_is_free(live->path, clock_ms() + (int64_t)live->wait * 1000, &holder))
		status = live_fail(live, EX_TEMPFAIL, why, "its lock file %s-lock is locked for %u s by %s", live->path,
		                   live->wait, lmdb_locker(holder, "another process"));
	buf_free(&trouble);
	return status;
}

/*
 * mdb_env_open() makes a file where the one that we have open was deleted at that moment: it is no map that a program of ours
 * could open, and to others an empty one.  Nothing else is without any transaction.
 */
static int take_no_other(const struct live *live, const struct stat *mine)
{
	const struct inplace *l = live->state;
	struct stat opened;
	MDB_envinfo info;
	int fd, code = mdb_env_get_fd(l->env, &fd);

	if (code == 0 && fstat(fd, &opened) < 0)
		code = errno;
	if (code != 0 || file_is_same(mine, &opened))
		return code;
	if (mdb_env_info(l->env, &info) == 0 && info.me_last_txnid == 0)
		unlink(live->path);
	return EBUSY;
}

static int open_env(const struct live *live, bool *fits, struct buf *why)
{
	struct inplace *l = live->state;
	struct stat st;
	MDB_txn *txn;
	size_t room;
	int code;

	if (fstat(l->fd, &st) < 0)
		return live_fail(live, EX_IOERR, why, "%s", strerror(errno));
	code = check_lock_file(live, why);
	if (code != EX_OK)
		return code;
	/* the wait may have been long */
	code = live_is_current(live, l->fd, why);
	if (code != EX_OK)
		return code;
	room = (size_t)st.st_size * 2 > ROOM_AT_LEAST ? (size_t)st.st_size * 2 : ROOM_AT_LEAST;
	code = mdb_env_create(&l->env);
	if (code == 0)
		code = mdb_env_set_mapsize(l->env, room);
	if (code == 0)
		code = mdb_env_open(l->env, live->path, MDB_NOSUBDIR, 0600);
	if (code == 0)
		code = take_no_other(live, &st);
	if (code == 0)
		close_lock_file_off(live, &st);
	if (code == 0)
		code = lmdb_begin(l->env, MDB_RDONLY, &txn);
	if (code == 0) {
		*fits = lmdb_lock_file_fits(l->env, txn);
		code = mdb_dbi_open(txn, NULL, 0, &l->dbi);
		if (code == 0)
			code = mdb_txn_commit(txn);
		else
			mdb_txn_abort(txn);
	}
	return code == 0 ? EX_OK : fail_lmdb(live, "cannot open", code, why);
}

static int open_file(const struct live *live, struct buf *why)
{
	struct inplace *l = live->state;

	l->fd = file_open_regular(live->path, O_RDWR);
	if (l->fd >= 0)
		return EX_OK;
	return live_fail(live, errno == ENOENT ? EX_NOINPUT : EX_NOPERM, why, "%s", file_error(errno));
}

static int replace_by_copy(const struct live *live, bool is_sealed, struct buf *why)
{
	struct inplace *l = live->state;
	struct publish file = { 0 };
	struct stat st;

	if (fstat(l->fd, &st) < 0 || !publish_begin(&file, live->path, 0600))
		return live_fail(live, EX_CANTCREAT, why, "cannot create a file in its directory: %s", strerror(errno));
	if (copy_map(live, l->fd, &st, is_sealed, &file) != 0) {
		live_fail(live, EX_IOERR, why, "cannot copy: %s", strerror(errno));
		publish_abort(&file);
		return EX_IOERR;
	}
	close(l->fd);
	l->fd = -1;
	return open_file(live, why);
}

/* Programs have the lock file open that belongs to what was here before; they are left with that, and find the copy. */
static int leave_lock_file(const struct live *live, struct buf *why)
{
	struct inplace *l = live->state;
	bool fits = true;
	pid_t holder;
	int status;

	mdb_env_close(l->env);
	l->env = NULL;
	if (!lmdb_lock_map(l->fd, F_WRLCK, clock_ms() + (int64_t)live->wait * 1000, &holder))
		return live_fail(live, EX_TEMPFAIL, why, "locked for %u s by %s", live->wait,
		                 lmdb_locker(holder, "a program that reads it, such as Postfix"));
	status = live_is_current(live, l->fd, why);
	if (status == EX_OK)
		status = replace_by_copy(live, false, why);
	if (status == EX_OK)
		status = open_env(live, &fits, why);
	return fits ? status : live_fail(live, EX_TEMPFAIL, why, "its lock file %s-lock is that of another file", live->path);
}

/*
 * A change would make a damaged page the truth: what was changed in place before, which no seal proves, is read through;
 * without its lock file, which may be that of another file.
 */
static int prove(const struct live *live, struct buf *why)
{
	const struct inplace *l = live->state;
	struct buf said = { 0 };
	pid_t holder;
	int status = EX_OK;

	if (!lmdb_lock_map(l->fd, F_RDLCK, clock_ms() + (int64_t)live->wait * 1000, &holder))
		return live_fail(live, EX_TEMPFAIL, why, "locked for %u s by %s", live->wait,
		                 lmdb_locker(holder, "a program that changes it"));
	switch (lmdb_look(live->path, l->fd, MDB_NOLOCK, &said)) {
	case STORE_SOUND:
		break;
	case STORE_DAMAGED:
		status = live_fail_healable(live, EX_DATAERR, why, "%s", buf_str(&said));
		break;
	case STORE_COULD_NOT_TELL:
		status = live_fail(live, EX_TEMPFAIL, why, "%s", buf_str(&said));
		break;
	}
	lmdb_lock_map(l->fd, F_UNLCK, 0, &holder);
	live_progress(live);
	buf_free(&said);
	return status;
}

static int open_all(const struct live *live, struct buf *why)
{
	struct inplace *l = live->state;
	struct buf trouble = { 0 };
	bool fits = true;
	int status = open_file(live, why);

	if (status != EX_OK)
		return status;
	switch (lmdb_check_seal(l->fd, &trouble)) {
	case STAMP_GOOD:
		/* what has a seal is not changed: a copy without one takes its place first */
		status = replace_by_copy(live, true, why);
		break;
	case STAMP_NONE:
		status = prove(live, why);
		break;
	case STAMP_BAD:
		status = live_fail_healable(live, EX_DATAERR, why, "%s", buf_str(&trouble));
		break;
	case STAMP_UNREADABLE:
		status = live_fail(live, EX_IOERR, why, "%s", buf_str(&trouble));
		break;
	}
	buf_free(&trouble);
	if (status == EX_OK)
		status = open_env(live, &fits, why);
	return status == EX_OK && !fits ? leave_lock_file(live, why) : status;
}

static void close_inplace(struct live *live)
{
	struct inplace *l = live->state;

	if (l == NULL)
		return;
	if (l->env != NULL)
		mdb_env_close(l->env);
	if (l->fd >= 0)
		close(l->fd);
	free(l);
	live->state = NULL;
}

static int open_inplace(struct live *live, struct buf *why)
{
	struct inplace *l = xcalloc(1, sizeof *l);
	int status;

	l->fd = -1;
	live->state = l;
	live_sweep(live->path);
	status = open_all(live, why);
	if (status != EX_OK)
		close_inplace(live);
	return status;
}

const struct live_operations live_lmdb = {
	.name = "lmdb", .batch = 10000, .grace = 600, .open = open_inplace, .apply = apply, .find = find, .walk = walk,
	.close = close_inplace,
};

#else

/* An empty file is no C. */
typedef int no_lmdb;

#endif
