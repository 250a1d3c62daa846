/*
 * Berkeley DB maps: types "btree" and "bhash" (maps.md section 7).
 *
 * A record is KEY NUL, VALUE NUL; a value without NUL is accepted, as ZMailer does.  Files are never mapped
 * into memory: one that is truncated while it is read must give an error, not a signal.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>
#include <unistd.h>

#include <db.h>

#include "db/map/map.h"
#include "lib/alloc.h"

#define SMALLEST_CACHE (1u << 20)
#define LARGEST_CACHE (64u << 20)

struct bdb_map {
	DB *db;
	struct buf said;     /* what libdb itself says about its last trouble */
	struct buf key;      /* the key with its NUL */
};

/* libdb explains itself here before it returns a code. */
static void note(const DB_ENV *env, const char *prefix, const char *message)
{
	struct buf *said = env->app_private;

	(void)prefix;
	if (said == NULL)
		return;
	buf_clear(said);
	buf_adds(said, message);
}

static enum map_answer fail_bdb(struct map *map, const struct buf *said, const char *what, int code)
{
	return map_fail(map, "%s: %s%s%s", what, db_strerror(code), said->len > 0 ? "; " : "", buf_str(said));
}

static uint32_t cache_for(int64_t size)
{
	return size < SMALLEST_CACHE ? SMALLEST_CACHE : size > LARGEST_CACHE ? LARGEST_CACHE : (uint32_t)size;
}

static int open_handle(struct map *map, DB *db, DBTYPE type, struct buf *said)
{
	int code;

	db->get_env(db)->app_private = said;
	db->set_errcall(db, note);
	code = db->set_cachesize(db, 0, cache_for(map->provenance.size), 1);
	if (code == 0)
		code = db->open(db, NULL, map->path, NULL, type, DB_RDONLY | DB_NOMMAP, 0);
	return code;
}

/* True if libdb opened the file that the provenance speaks of, and not one that took its place meanwhile. */
static bool is_same_file(struct map *map, DB *db)
{
	struct map_provenance before = map->provenance;
	int fd = -1;

	if (db->fd(db, &fd) != 0 || !map_provenance_of(map, fd))
		return false;
	return before.device == map->provenance.device && before.inode == map->provenance.inode;
}

static bool look_at_file(struct map *map)
{
	int fd = open(map->path, O_RDONLY | O_CLOEXEC);
	bool ok;

	if (fd < 0) {
		map_fail(map, "%s", strerror(errno));
		return false;
	}
	ok = map_provenance_of(map, fd);
	close(fd);
	return ok;
}

static void free_bdb(struct bdb_map *b)
{
	if (b->db != NULL)
		b->db->close(b->db, DB_NOSYNC);
	buf_free(&b->said);
	buf_free(&b->key);
	free(b);
}

static bool open_with(struct map *map, struct bdb_map *b, DBTYPE type)
{
	int code;

	if (!look_at_file(map))
		return false;
	code = db_create(&b->db, NULL, 0);
	if (code == 0)
		code = open_handle(map, b->db, type, &b->said);
	if (code != 0) {
		fail_bdb(map, &b->said, "cannot open", code);
		return false;
	}
	if (is_same_file(map, b->db))
		return true;
	map_fail(map, "was replaced while it was opened");
	return false;
}

static bool open_bdb(struct map *map, DBTYPE type)
{
	struct bdb_map *b = xcalloc(1, sizeof *b);

	if (!open_with(map, b, type)) {
		free_bdb(b);
		return false;
	}
	map->state = b;
	return true;
}

static bool open_btree(struct map *map)
{
	return open_bdb(map, DB_BTREE);
}

static bool open_bhash(struct map *map)
{
	return open_bdb(map, DB_HASH);
}

static enum map_answer find_bdb(struct map *map, const char *key, size_t length, struct buf *value)
{
	struct bdb_map *b = map->state;
	DBT k = { 0 }, v = { 0 };
	int code;

	buf_clear(&b->key);
	buf_add(&b->key, key, length + 1);
	k.data = b->key.data;
	k.size = (uint32_t)b->key.len;
	code = b->db->get(b->db, NULL, &k, &v, 0);
	if (code == DB_NOTFOUND)
		return MAP_NOT_FOUND;
	if (code != 0)
		return fail_bdb(map, &b->said, "lookup", code);
	buf_add(value, v.data, strnlen(v.data, v.size));
	return MAP_FOUND;
}

static enum map_answer walk_bdb(struct map *map, map_each *each, void *context)
{
	struct bdb_map *b = map->state;
	DBT k = { 0 }, v = { 0 };
	DBC *cursor;
	int code = b->db->cursor(b->db, NULL, &cursor, 0);
	bool more = true;

	if (code != 0)
		return fail_bdb(map, &b->said, "cursor", code);
	while (more && (code = cursor->get(cursor, &k, &v, DB_NEXT)) == 0)
		more = each(context, k.data, strnlen(k.data, k.size), v.data, strnlen(v.data, v.size));
	cursor->close(cursor);
	return code == 0 || code == DB_NOTFOUND ? MAP_FOUND : fail_bdb(map, &b->said, "walk", code);
}

static bool changed_bdb(struct map *map)
{
	return map_file_changed(map, true);
}

static void close_bdb(struct map *map)
{
	free_bdb(map->state);
	map->state = NULL;
}

const struct map_operations map_btree = {
	.type = "btree", .suffix = ".db", .open = open_btree, .find = find_bdb, .walk = walk_bdb,
	.changed = changed_bdb, .close = close_bdb,
};

const struct map_operations map_bhash = {
	.type = "bhash", .suffix = ".dbh", .open = open_bhash, .find = find_bdb, .walk = walk_bdb,
	.changed = changed_bdb, .close = close_bdb,
};
