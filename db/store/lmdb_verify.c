#include "config.h"

#if HAVE_LMDB

#include <errno.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "db/store/lmdb.h"
#include "db/store/stamp.h"
#include "lib/clock.h"

/* True if a lookup of the key comes to the very place where the walk found it. */
static bool leads_to(const struct lmdb_map *l, MDB_val *key, const MDB_val *value)
{
	MDB_val found;

	return mdb_get(l->txn, l->dbi, key, &found) == 0 && found.mv_data == value->mv_data;
}

/* A string with one NUL, at its end; without any only if `bare` is allowed.  Reads every byte. */
static bool is_string(const MDB_val *v, bool bare)
{
	const char *nul = v->mv_size > 0 ? memchr(v->mv_data, '\0', v->mv_size) : NULL;

	return nul != NULL ? nul == (const char *)v->mv_data + v->mv_size - 1 : bare;
}

/* False if the stamp shows that the file had a seal, which was not broken before a change: it is gone by damage. */
static bool is_without_seal(const struct lmdb_map *l)
{
	MDB_val key = { STAMP_KEY_LENGTH, (void *)(uintptr_t)stamp_key }, value;

	return mdb_get(l->txn, l->dbi, &key, &value) != 0 || stamp_is_broken(value.mv_data, value.mv_size);
}

/*
 * Keys must ascend and be as many as there should be; lookups of the first and the last of each page must lead
 * there: then those of all others do.
 */
static int walk_strictly(const struct lmdb_map *l)
{
	MDB_val key, value, last_key = { 0, NULL }, last_value = { 0, NULL };
	size_t page_size, entries = 0;
	MDB_cursor *cursor;
	MDB_stat stat;
	int code = mdb_stat(l->txn, l->dbi, &stat);

	if (code == 0)
		code = mdb_cursor_open(l->txn, l->dbi, &cursor);
	if (code != 0)
		return code;
	page_size = stat.ms_psize;
	for (; (code = mdb_cursor_get(cursor, &key, &value, MDB_NEXT)) == 0; entries++) {
		bool first = last_key.mv_data == NULL;

		/* a damaged length shows itself as a NUL in the middle or none at the end */
		if (!(record_is_note(key.mv_data, key.mv_size) ? value.mv_size > 0 : is_string(&key, false) &&
		      is_string(&value, true)) || (!first && mdb_cmp(l->txn, l->dbi, &last_key, &key) >= 0))
			return MDB_CORRUPTED;
		if (first || (uintptr_t)key.mv_data / page_size != (uintptr_t)last_key.mv_data / page_size)
			if (!leads_to(l, &key, &value) || (!first && !leads_to(l, &last_key, &last_value)))
				return MDB_CORRUPTED;
		last_key = key;
		last_value = value;
	}
	if (code != MDB_NOTFOUND)
		return code;
	if (entries != stat.ms_entries || (entries > 0 && !leads_to(l, &last_key, &last_value)) || !is_without_seal(l))
		return MDB_CORRUPTED;
	return 0;
}

/* What LMDB keeps in its first two pages (data version 1), behind a page header of this size. */
struct meta {
	uint32_t magic;
	uint32_t version;
	void *address;
	size_t map_size;
	struct {
		uint32_t page_size;        /* in the first of the two */
		uint16_t flags;
		uint16_t depth;
		size_t branch_pages, leaf_pages, overflow_pages, entries, root;
	} dbs[2];
	size_t last_page;
	size_t transaction;
};

#define META_START (sizeof(size_t) + 8)
#define META_MAGIC 0xbeefc0deu

static bool read_meta(int fd, off_t page, struct meta *meta)
{
	ssize_t n = pread(fd, meta, sizeof *meta, page + (off_t)META_START);

	/* errno is 0 where the file ends too early */
	if (n >= 0)
		errno = 0;
	return n == (ssize_t)sizeof *meta;
}

/*
 * The first two pages belong to the last two transactions, and LMDB believes the one with the higher number: a damaged number
 * there brings back the past, which for a new map is an empty one.  *used becomes how much of the file they know of.  False
 * with errno, 0 if the content is to blame.
 */
static bool metas_agree(int fd, uint64_t *used)
{
	struct meta first, second;

	/* between the two reads a writer may have gone on */
	for (int attempt = 0; attempt < 3; attempt++) {
		if (!read_meta(fd, 0, &first) || !read_meta(fd, first.dbs[0].page_size, &second))
			return false;
		errno = 0;
		if (first.magic != META_MAGIC || first.magic != second.magic || first.version != second.version ||
		    first.dbs[0].page_size != second.dbs[0].page_size)
			return false;
		*used = ((first.last_page > second.last_page ? first.last_page : second.last_page) + 1) * (uint64_t)first.dbs[0].page_size;
		if (first.transaction + 1 == second.transaction || second.transaction + 1 == first.transaction)
			return true;
	}
	return false;
}

bool lmdb_is_damage(int code)
{
	switch (code) {
	case MDB_MAP_FULL:
	case MDB_DBS_FULL:
	case MDB_READERS_FULL:
	case MDB_TLS_FULL:
	case MDB_TXN_FULL:
	case MDB_MAP_RESIZED:
	case MDB_BAD_RSLOT:
		return false;
	case EINVAL:
		return true;
	default:
		/* the others of the system: no memory, no right, a disk that cannot be read */
		return code < 0;
	}
}

struct look {
	const char *path;
	unsigned flags;
};

/* In a child: LMDB trusts what it reads, and damage ends in SIGSEGV or SIGBUS. */
static int look_through(void *context, struct buf *out)
{
	const struct look *look = context;
	struct lmdb_map l = { .fd = -1 };
	pid_t holder;
	int code;

	if ((look->flags & MDB_NOLOCK) == 0 && !lmdb_lock_file_is_free(look->path, clock_ms() + LMDB_WAIT_MS, &holder)) {
		buf_addf(out, "%s-lock: locked for %d s by %s", look->path, LMDB_WAIT_MS / 1000,
		         lmdb_locker(holder, "another process"));
		return STORE_CANNOT_LOOK;
	}
	code = lmdb_open(&l, look->path, look->flags);
	if (code == 0)
		code = walk_strictly(&l);
	lmdb_close(&l);
	if (code != 0)
		buf_adds(out, mdb_strerror(code));
	return code == 0 ? STORE_LOOKS_SOUND : lmdb_is_damage(code) ? STORE_LOOKS_DAMAGED : STORE_CANNOT_LOOK;
}

enum store_proof lmdb_look(const char *map, int fd, unsigned flags, struct buf *why)
{
	struct look look = { map, flags };
	struct stat st = { 0 };
	uint64_t used = 0;

	fstat(fd, &st);
	/* the rest of a large file is not read */
	if (metas_agree(fd, &used) && used < (uint64_t)st.st_size)
		st.st_size = (off_t)used;
	return store_look(look_through, &look, st.st_size, why);
}

enum stamp_state lmdb_check_seal(int fd, struct buf *why)
{
	enum stamp_state state = STAMP_NONE;
	uint64_t used = 0;
	struct stat st;

	if (fstat(fd, &st) < 0 || !metas_agree(fd, &used)) {
		state = errno != 0 ? STAMP_UNREADABLE : STAMP_BAD;
		buf_adds(why, errno != 0 ? strerror(errno) : "damaged, or no LMDB map");
	} else if (store_is_plausible(st.st_size, used)) {
		state = stamp_check(fd);
		if (state == STAMP_UNREADABLE)
			buf_adds(why, strerror(errno));
		else if (state == STAMP_BAD)
			buf_adds(why, "is not as it was made: damaged, or changed in place by another program");
	}
	return state;
}

enum store_proof lmdb_verify(const char *map, int fd, unsigned *flags, bool *sealed, struct buf *why)
{
	switch (lmdb_check_seal(fd, why)) {
	case STAMP_GOOD:
		*flags = MDB_NOLOCK;
		*sealed = true;
		return STORE_SOUND;
	case STAMP_NONE:
		return lmdb_choose_lock(map, fd, flags, why) ? lmdb_look(map, fd, *flags, why) : STORE_COULD_NOT_TELL;
	case STAMP_BAD:
		return STORE_DAMAGED;
	case STAMP_UNREADABLE:
		return STORE_COULD_NOT_TELL;
	}
	return STORE_COULD_NOT_TELL;
}

#else

/* An empty file is no C. */
typedef int no_lmdb;

#endif
