#include <errno.h>
#include <string.h>
#include <sysexits.h>

#include "db/store/bdb.h"
#include "db/store/env.h"
#include "db/store/guard.h"
#include "db/store/stamp.h"

/*
 * In ascending order only the right edge of a btree is touched, and a small cache is the quickest.  A hash is
 * touched everywhere: its cache should hold all of it, within reason.
 */
#define BTREE_CACHE (4u << 20)
#define SMALLEST_HASH_CACHE (4u << 20)
#define LARGEST_HASH_CACHE (1u << 30)

static void keep_words(const DB_ENV *env, const char *prefix, const char *message)
{
	struct buf *said = env->app_private;

	(void)prefix;
	if (said->len == 0)
		env_add_words(said, message);
}

struct bytes {
	const char *start;
	size_t length;
};

static int put_one(DB *db, struct bytes key, struct bytes value)
{
	DBT k = { .data = (void *)(uintptr_t)key.start, .size = (uint32_t)key.length + 1 };
	DBT v = { .data = (void *)(uintptr_t)value.start, .size = (uint32_t)value.length + 1 };

	return db->put(db, NULL, &k, &v, 0);
}

/*
 * The stamp comes first and is put last.  When a page is split libdb leaves the old bytes of moved records where they were, and
 * writes others over a part of them; the seal (stamp.h) must not be written into such a ruin.  What is put last was never
 * moved.
 */
static int put_all(DB *db, const struct store_load *load)
{
	struct bytes key, value, stamp_value = { NULL, 0 };
	int code = 0;

	while (code == 0 && load->next(load->context, &key.start, &key.length, &value.start, &value.length)) {
		if (key.length == STAMP_KEY_LENGTH - 1 && memcmp(key.start, stamp_key, key.length) == 0)
			stamp_value = value;
		else
			code = put_one(db, key, value);
	}
	if (code == 0 && stamp_value.start != NULL)
		code = put_one(db, (struct bytes){ stamp_key, STAMP_KEY_LENGTH - 1 }, stamp_value);
	return code;
}

struct loading {
	const char *path;
	DBTYPE type;
	const struct store_load *load;
	struct buf said;
	int code;
};

static void load_guarded(void *context)
{
	struct loading *l = context;
	DB *db;
	int closed;
	const struct store_load *load;
	uint32_t cache;

	l->code = db_create(&db, NULL, 0);
	if (l->code != 0)
		return;
	load = l->load;
	cache = BTREE_CACHE;
	if (l->type != DB_BTREE)
		cache = load->bytes < SMALLEST_HASH_CACHE ? SMALLEST_HASH_CACHE
		        : load->bytes > LARGEST_HASH_CACHE ? LARGEST_HASH_CACHE : (uint32_t)load->bytes;
	db->get_env(db)->app_private = &l->said;
	db->set_errcall(db, keep_words);
	l->code = db->set_cachesize(db, 0, cache, 1);
	if (l->code == 0 && l->type == DB_HASH)
		l->code = db->set_h_nelem(db, load->records < UINT32_MAX ? (uint32_t)load->records : UINT32_MAX);
	if (l->code == 0)
		l->code = db->open(db, NULL, l->path, NULL, l->type, DB_CREATE | DB_TRUNCATE, 0600);
	if (l->code == 0)
		l->code = put_all(db, l->load);
	/* what was put is written here; there is no need to sync it twice */
	closed = db->close(db, 0);
	if (l->code == 0)
		l->code = closed;
}

static int load_file(const char *path, DBTYPE type, const struct store_load *load, struct buf *why)
{
	struct loading l = { .path = path, .type = type, .load = load };

	/* libdb itself follows pointers that it has not got when memory runs out on the way */
	guard_install();
	if (!guard_read(load_guarded, &l)) {
		l.code = ENOMEM;
		buf_adds(&l.said, "Berkeley DB failed in it");
	}
	if (l.code != 0)
		buf_addf(why, "%s%s%s", db_strerror(l.code), l.said.len > 0 ? "; " : "", buf_str(&l.said));
	buf_free(&l.said);
	return l.code == 0 ? EX_OK : EX_IOERR;
}

static int load_btree(const char *path, const struct store_load *load, struct buf *why)
{
	return load_file(path, DB_BTREE, load, why);
}

static int load_hash(const char *path, const struct store_load *load, struct buf *why)
{
	return load_file(path, DB_HASH, load, why);
}

const struct store store_btree = { .type = "btree", .suffix = STORE_BTREE, .load = load_btree };
const struct store store_bhash = { .type = "bhash", .suffix = STORE_BHASH, .load = load_hash };
