#include <errno.h>
#include <string.h>
#include <sysexits.h>

#include "db/map/bdb.h"

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
		buf_adds(said, message);
}

static uint32_t cache_for(DBTYPE type, const struct map_load *load)
{
	if (type == DB_BTREE)
		return BTREE_CACHE;
	if (load->bytes < SMALLEST_HASH_CACHE)
		return SMALLEST_HASH_CACHE;
	return load->bytes > LARGEST_HASH_CACHE ? LARGEST_HASH_CACHE : (uint32_t)load->bytes;
}

static int prepare(DB *db, DBTYPE type, const struct map_load *load, struct buf *said)
{
	int code;

	db->get_env(db)->app_private = said;
	db->set_errcall(db, keep_words);
	code = db->set_cachesize(db, 0, cache_for(type, load), 1);
	if (code == 0 && type == DB_HASH)
		code = db->set_h_nelem(db, load->records < UINT32_MAX ? (uint32_t)load->records : UINT32_MAX);
	return code;
}

static int put_all(DB *db, const struct map_load *load)
{
	DBT k = { 0 }, v = { 0 };
	const char *key, *value;
	size_t key_length, value_length;
	int code = 0;

	while (code == 0 && load->next(load->context, &key, &key_length, &value, &value_length)) {
		k.data = (void *)(uintptr_t)key;
		k.size = (uint32_t)key_length + 1;
		v.data = (void *)(uintptr_t)value;
		v.size = (uint32_t)value_length + 1;
		code = db->put(db, NULL, &k, &v, 0);
	}
	return code;
}

static int load_file(const char *path, DBTYPE type, const struct map_load *load, struct buf *why)
{
	struct buf said = { 0 };
	DB *db;
	int code = db_create(&db, NULL, 0), closed;

	if (code == 0) {
		code = prepare(db, type, load, &said);
		if (code == 0)
			code = db->open(db, NULL, path, NULL, type, DB_CREATE | DB_TRUNCATE, 0600);
		if (code == 0)
			code = put_all(db, load);
		/* what was put is written here; there is no need to sync it twice */
		closed = db->close(db, 0);
		if (code == 0)
			code = closed;
	}
	if (code != 0)
		buf_addf(why, "%s%s%s", db_strerror(code), said.len > 0 ? "; " : "", buf_str(&said));
	buf_free(&said);
	return code == 0 ? EX_OK : EX_IOERR;
}

int bdb_load_btree(const char *path, const struct map_load *load, struct buf *why)
{
	return load_file(path, DB_BTREE, load, why);
}

int bdb_load_hash(const char *path, const struct map_load *load, struct buf *why)
{
	return load_file(path, DB_HASH, load, why);
}
