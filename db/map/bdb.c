/*
 * Berkeley DB maps: types "btree" and "bhash" (maps.md section 7).
 *
 * A record is KEY NUL, VALUE NUL; a value without NUL is accepted, as ZMailer does.  Files are never mapped
 * into memory: one that is truncated while it is read must give an error, not a signal.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>
#include <unistd.h>

#include <db.h>

#include "db/map/env.h"
#include "db/map/map.h"
#include "lib/alloc.h"
#include "lib/clock.h"

#define SMALLEST_CACHE (1u << 20)
#define LARGEST_CACHE (64u << 20)

struct bdb_map {
	struct env *env;     /* NULL without a -C file */
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

static enum map_answer fail_bdb(struct map *map, struct bdb_map *b, const char *what, int code)
{
	const char *said = b->env != NULL ? env_said(b->env) : buf_str(&b->said);

	/* any trouble may have condemned the handle; the next lookup starts from a new one */
	if (b->env != NULL)
		env_broken(b->env);
	return map_fail(map, "%s: %s%s%s", what, db_strerror(code), said[0] != '\0' ? "; " : "", said);
}

/* The -C file that prepare() has read; NULL for a map without one. */
static const struct env_config *config_of(const struct map *map)
{
	return map->settings;
}

static void enter(const struct map *map)
{
	if (config_of(map) != NULL)
		env_enter(config_of(map)->home);
}

static void leave(const struct map *map)
{
	if (config_of(map) != NULL)
		env_leave();
}

static int prepare_bdb(struct map *map)
{
	struct buf why = { 0 };
	struct env_config *config;
	int status;

	if (map->config == NULL)
		return EX_OK;
	config = xcalloc(1, sizeof *config);
	status = env_config_read(config, map->config, &why);
	if (status == EX_OK)
		map->settings = config;
	else
		free(config);
	if (status != EX_OK)
		map_fail(map, "%s", buf_str(&why));
	buf_free(&why);
	return status;
}

static void forget_bdb(struct map *map)
{
	struct env_config *config = map->settings;

	if (config != NULL)
		env_config_free(config);
	free(config);
	map->settings = NULL;
}

static uint32_t cache_for(int64_t size)
{
	return size < SMALLEST_CACHE ? SMALLEST_CACHE : size > LARGEST_CACHE ? LARGEST_CACHE : (uint32_t)size;
}

/* libdb takes a relative name inside an environment as relative to the environment's home. */
static int open_in_env(struct map *map, struct bdb_map *b, DBTYPE type)
{
	char *path = realpath(map->path, NULL);
	int code = path != NULL ? db_create(&b->db, env_handle(b->env), 0) : errno;

	if (code == 0)
		code = b->db->open(b->db, NULL, path, NULL, type, DB_RDONLY | DB_NOMMAP, 0);
	free(path);
	return code;
}

static int open_alone(struct map *map, struct bdb_map *b, DBTYPE type)
{
	int code = db_create(&b->db, NULL, 0);

	if (code != 0)
		return code;
	b->db->get_env(b->db)->app_private = &b->said;
	b->db->set_errcall(b->db, note);
	code = b->db->set_cachesize(b->db, 0, cache_for(map->provenance.size), 1);
	if (code == 0)
		code = b->db->open(b->db, NULL, map->path, NULL, type, DB_RDONLY | DB_NOMMAP, 0);
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

static void free_bdb(struct map *map, struct bdb_map *b)
{
	enter(map);
	if (b->db != NULL)
		b->db->close(b->db, DB_NOSYNC);
	leave(map);
	env_close(&b->env);
	buf_free(&b->said);
	buf_free(&b->key);
	free(b);
}

static bool join_env(struct map *map, struct bdb_map *b)
{
	struct buf why = { 0 };

	if (config_of(map) == NULL)
		return true;
	b->env = env_open(config_of(map), &why);
	if (b->env == NULL)
		map_fail(map, "%s", buf_str(&why));
	buf_free(&why);
	return b->env != NULL;
}

static bool open_with(struct map *map, struct bdb_map *b, DBTYPE type)
{
	int code;

	if (!look_at_file(map) || !join_env(map, b))
		return false;
	enter(map);
	code = b->env != NULL ? open_in_env(map, b, type) : open_alone(map, b, type);
	leave(map);
	if (code != 0) {
		fail_bdb(map, b, "cannot open", code);
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
		free_bdb(map, b);
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

/* Only readers of an environment can meet a lock; they never queue up for it (env.h). */
static bool is_readable(struct map *map, struct bdb_map *b)
{
	if (b->env == NULL || env_lock_is_free(b->env, b->db, DB_LOCK_READ, clock_ms() + env_patience() * 1000))
		return true;
	map_fail(map, "locked for %u s by a process that writes, hangs or was killed; dbupdate -C %s check tells more",
	         env_patience(), map->config);
	return false;
}

static enum map_answer find_bdb(struct map *map, const char *key, size_t length, struct buf *value)
{
	struct bdb_map *b = map->state;
	DBT k = { 0 }, v = { 0 };
	int code = DB_LOCK_NOTGRANTED;
	bool readable;

	buf_clear(&b->key);
	buf_add(&b->key, key, length + 1);
	k.data = b->key.data;
	k.size = (uint32_t)b->key.len;
	enter(map);
	readable = is_readable(map, b);
	if (readable)
		code = b->db->get(b->db, NULL, &k, &v, 0);
	leave(map);
	if (!readable)
		return MAP_COULD_NOT_TELL;
	if (code == DB_NOTFOUND)
		return MAP_NOT_FOUND;
	if (code != 0)
		return fail_bdb(map, b, "lookup", code);
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
		return fail_bdb(map, b, "cursor", code);
	while (more && (code = cursor->get(cursor, &k, &v, DB_NEXT)) == 0)
		more = each(context, k.data, strnlen(k.data, k.size), v.data, strnlen(v.data, v.size));
	cursor->close(cursor);
	return code == 0 || code == DB_NOTFOUND ? MAP_FOUND : fail_bdb(map, b, "walk", code);
}

/* In an environment the file changes all the time and is read through the shared cache: only a new file counts. */
static bool changed_bdb(struct map *map)
{
	return map_file_changed(map, map->config == NULL);
}

static void close_bdb(struct map *map)
{
	free_bdb(map, map->state);
	map->state = NULL;
}

const struct map_operations map_btree = {
	.type = "btree", .suffix = ".db", .prepare = prepare_bdb, .open = open_btree, .find = find_bdb,
	.walk = walk_bdb, .changed = changed_bdb, .close = close_bdb, .forget = forget_bdb,
};

const struct map_operations map_bhash = {
	.type = "bhash", .suffix = ".dbh", .prepare = prepare_bdb, .open = open_bhash, .find = find_bdb,
	.walk = walk_bdb, .changed = changed_bdb, .close = close_bdb, .forget = forget_bdb,
};
