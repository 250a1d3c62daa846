#include "config.h"

#if HAVE_LMDB

#include <errno.h>
#include <fcntl.h>
#include <sysexits.h>
#include <unistd.h>

#include "db/store/lmdb.h"

/* Bytes of records in one transaction of a load: what LMDB keeps in memory. */
#define LOAD_BATCH (8u << 20)

/* Puts records until the batch is full.  MDB_NOTFOUND when there are no more. */
static int put_batch(MDB_txn *txn, MDB_dbi dbi, const struct store_load *load)
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

static int put_all(MDB_env *env, const struct store_load *load)
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

static int load_lmdb(const char *path, const struct store_load *load, struct buf *why)
{
	MDB_env *env;
	int code = mdb_env_create(&env);

	if (code == 0) {
		/* room is address space only; pages of large values can be half empty */
		code = mdb_env_set_mapsize(env, ((size_t)load->bytes * 4 + (size_t)load->records * 64 + (16u << 20)) / 65536 * 65536);
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

const struct store store_lmdb = { .type = "lmdb", .suffix = STORE_LMDB, .longest_key = 511, .load = load_lmdb };

#else

/* An empty file is no C. */
typedef int no_lmdb;

#endif
