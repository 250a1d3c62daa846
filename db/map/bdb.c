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
#include <sys/stat.h>
#include <sysexits.h>
#include <unistd.h>

#include "db/map/map.h"
#include "db/store/bdb.h"
#include "db/store/env.h"
#include "db/store/guard.h"
#include "db/store/stamp.h"
#include "lib/alloc.h"
#include "lib/clock.h"
#include "lib/file.h"

#define SMALLEST_CACHE (1u << 20)
#define LARGEST_CACHE (64u << 20)
#define OPEN_ATTEMPTS 5

struct bdb_map {
	struct env *env;     /* NULL without a -C file */
	DB *db;
	bool is_first;       /* no process was in the environment before us */
	struct buf said;     /* what libdb itself says about its last trouble */
};

/* libdb explains itself here before it returns a code. */
static void note(const DB_ENV *env, const char *prefix, const char *message)
{
	struct buf *said = env->app_private;

	(void)prefix;
	if (said == NULL)
		return;
	buf_clear(said);
	env_add_words(said, message);
}

static enum map_answer fail_bdb(struct map *map, struct bdb_map *b, const char *what, int code)
{
	const char *said = b->env != NULL ? env_said(b->env) : buf_str(&b->said);
	struct buf advice = { 0 };

	/* outside of one the file is verified before it is opened again, which tells more */
	if (b->env != NULL && bdb_is_damage(code))
		buf_addf(&advice, "; \"dbupdate -C %s check\" tells more, \"dbupdate ... recover\" repairs it", map->config);
	map_fail(map, "%s: %s%s%s%s", what, db_strerror(code), said[0] != '\0' ? "; " : "", said, buf_str(&advice));
	buf_free(&advice);
	/* libdb panics out of memory, too; the content was proved before */
	map->is_damaged = code != DB_RUNRECOVERY && bdb_is_damage(code);
	/* any trouble may have condemned the handle; the next lookup starts from a new one */
	if (b->env != NULL)
		env_broken(b->env);
	return MAP_COULD_NOT_TELL;
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

struct opening {
	struct map *map;
	struct bdb_map *b;
	DBTYPE type;
	int code;
};

static void open_guarded(void *context)
{
	struct opening *o = context;
	struct bdb_map *b = o->b;
	/* all of the file if it is to be asked many keys; libdb takes memory for what it has read only */
	const int64_t size = o->map->read_once ? 0 : o->map->provenance.size;
	const uint32_t cache = size < SMALLEST_CACHE ? SMALLEST_CACHE : size > LARGEST_CACHE ? LARGEST_CACHE : (uint32_t)size;

	o->code = db_create(&b->db, NULL, 0);
	if (o->code != 0)
		return;
	b->db->get_env(b->db)->app_private = &b->said;
	b->db->set_errcall(b->db, note);
	o->code = b->db->set_cachesize(b->db, 0, cache, 1);
	if (o->code == 0)
		o->code = b->db->open(b->db, NULL, o->map->path, NULL, o->type, DB_RDONLY | DB_NOMMAP, 0);
}

/* libdb itself follows pointers that it has not got when memory runs out on the way. */
static int open_alone(struct map *map, struct bdb_map *b, DBTYPE type)
{
	struct opening o = { .map = map, .b = b, .type = type };

	guard_install();
	if (guard_read(open_guarded, &o))
		return o.code;
	b->db = NULL;
	return ENOMEM;
}

/* True if libdb opened the file that was checked, and not one that took its place meanwhile. */
static bool is_same_file(struct map *map, DB *db)
{
	struct stat st;
	int fd = -1;

	return db->fd(db, &fd) == 0 && fstat(fd, &st) == 0 && st.st_dev == map->provenance.device &&
	       st.st_ino == map->provenance.inode;
}

static bool fail_locked(struct map *map)
{
	map_fail(map, "locked for %u s by a process that writes, hangs or was killed; dbupdate -C %s check tells more",
	         env_patience(), map->config);
	return false;
}

static int64_t deadline(void)
{
	return clock_ms() + env_patience() * 1000;
}

/*
 * In an environment the file may lag behind the shared cache, and nothing can be said from its bytes, unless no process was
 * there before us.
 */
static bool can_be_trusted(struct map *map, struct bdb_map *b, int fd)
{
	struct buf why = { 0 };
	enum store_proof proof = STORE_SOUND;
	bool is_free;

	if (b->env == NULL || b->is_first)
		proof = bdb_verify(fd, b->env != NULL, &why);
	map_fail_unless_sound(map, proof, &why);
	buf_free(&why);
	if (proof != STORE_SOUND || b->env == NULL)
		return proof == STORE_SOUND;
	enter(map);
	is_free = env_file_is_free(b->env, fd, DB_LOCK_READ, deadline());
	leave(map);
	return is_free || fail_locked(map);
}

static bool look_at_file(struct map *map, struct bdb_map *b)
{
	int fd = file_open_regular(map->path, O_RDONLY);
	bool ok;

	if (fd < 0)
		return map_fail_open(map);
	ok = map_provenance_of(map, fd) && can_be_trusted(map, b, fd);
	close(fd);
	return ok;
}

static bool join_env(struct map *map, struct bdb_map *b)
{
	struct buf why = { 0 };

	if (config_of(map) == NULL)
		return true;
	b->is_first = !env_has_regions(config_of(map));
	b->env = env_open(config_of(map), &why);
	if (b->env == NULL)
		map_fail(map, "%s", buf_str(&why));
	buf_free(&why);
	return b->env != NULL;
}

static void close_db(struct map *map, struct bdb_map *b)
{
	enter(map);
	if (b->db != NULL)
		b->db->close(b->db, DB_NOSYNC);
	b->db = NULL;
	leave(map);
}

static void free_bdb(struct map *map, struct bdb_map *b)
{
	close_db(map, b);
	env_close(&b->env);
	buf_free(&b->said);
	free(b);
}

static bool open_with(struct map *map, struct bdb_map *b, DBTYPE type)
{
	if (!join_env(map, b))
		return false;
	/* a program may publish a generation just now */
	for (int attempt = 0; attempt < OPEN_ATTEMPTS; attempt++) {
		int code;

		if (!look_at_file(map, b))
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
		close_db(map, b);
	}
	map_fail(map, "is replaced again and again while it is opened");
	return false;
}

/* Only readers of an environment can meet a lock; they never queue up for it (env.h). */
static bool is_readable(struct map *map, struct bdb_map *b)
{
	return b->env == NULL || env_lock_is_free(b->env, b->db, DB_LOCK_READ, deadline()) || fail_locked(map);
}

/* A value of this size stands beside its key, whatever the size of the pages is: the smallest have 512 bytes, and room for four items. */
#define VALUE_IN_ONE_PAGE 100

/*
 * "Not found" and long values count only if the file was not written to since it was checked: where a file was cut off, a hash
 * sees empty buckets, and a long value goes on in pages that may be those of another one by now.  Beside a writer in an
 * environment the locks see to it.
 */
static enum map_answer if_untouched(struct map *map, struct bdb_map *b, enum map_answer answer)
{
	struct stat st;
	int fd = -1;

	if (b->env != NULL)
		return answer;
	if (b->db->fd(b->db, &fd) != 0 || fstat(fd, &st) < 0)
		return map_fail(map, "lookup: %s", strerror(errno));
	return map_is_untouched(map, &st) ? answer : map_fail(map, "was written to while it was open");
}

static bool open_bdb(struct map *map, DBTYPE type)
{
	struct bdb_map *b = xcalloc(1, sizeof *b);

	if (!open_with(map, b, type)) {
		free_bdb(map, b);
		return false;
	}
	map->state = b;
	if (b->env == NULL)
		map_read_stamp(map);
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
	DBT k = { .data = (void *)(uintptr_t)key, .size = (uint32_t)(length + 1) }, v = { 0 };
	int code = 0;
	bool readable;

	/* the key has its NUL; a value ends at its first NUL, as for ZMailer's router */
	enter(map);
	readable = is_readable(map, b);
	if (readable)
		code = b->db->get(b->db, NULL, &k, &v, 0);
	leave(map);
	if (!readable)
		return MAP_COULD_NOT_TELL;
	if (code == DB_NOTFOUND)
		return if_untouched(map, b, MAP_NOT_FOUND);
	if (code != 0)
		return fail_bdb(map, b, "lookup", code);
	buf_add(value, v.data, strnlen(v.data, v.size));
	return v.size > VALUE_IN_ONE_PAGE ? if_untouched(map, b, MAP_FOUND) : MAP_FOUND;
}

static enum map_answer walk_in_env(struct map *map, struct bdb_map *b, record_each *each, void *context)
{
	struct bdb_bulk *all = NULL;
	DBC *cursor;
	bool readable;
	int code = 0;

	enter(map);
	readable = is_readable(map, b);
	if (readable)
		code = b->db->cursor(b->db, NULL, &cursor, DB_CURSOR_BULK);
	if (readable && code == 0) {
		code = bdb_fetch_all(cursor, &all);
		cursor->close(cursor);
	}
	leave(map);
	if (readable && code == DB_NOTFOUND)
		bdb_each_of(all, each, context);
	bdb_free_bulks(all);
	if (!readable)
		return MAP_COULD_NOT_TELL;
	return code == DB_NOTFOUND ? MAP_FOUND : fail_bdb(map, b, "walk", code);
}

static enum map_answer walk_bdb(struct map *map, record_each *each, void *context)
{
	struct bdb_map *b = map->state;
	DBC *cursor;
	int code;

	if (b->env != NULL)
		return walk_in_env(map, b, each, context);
	code = b->db->cursor(b->db, NULL, &cursor, DB_CURSOR_BULK);
	if (code != 0)
		return fail_bdb(map, b, "cursor", code);
	code = bdb_walk(cursor, each, context);
	cursor->close(cursor);
	if (code == DB_NOTFOUND)
		return if_untouched(map, b, MAP_FOUND);
	return code == 0 ? MAP_FOUND : fail_bdb(map, b, "walk", code);
}

/*
 * In an environment the file changes all the time and is read through the shared cache: only a new file is
 * opened again.
 */
static enum map_change changed_bdb(struct map *map)
{
	enum map_change change = map_file_change(map);

	return change == MAP_CHANGED && map->config == NULL ? MAP_REPLACED : change;
}

static void close_bdb(struct map *map)
{
	free_bdb(map, map->state);
	map->state = NULL;
}

const struct map_operations map_btree = {
	.type = "btree", .suffix = STORE_BTREE, .prepare = prepare_bdb, .open = open_btree, .find = find_bdb,
	.walk = walk_bdb, .changed = changed_bdb, .close = close_bdb, .forget = forget_bdb,
	.store = &store_btree,
};

const struct map_operations map_bhash = {
	.type = "bhash", .suffix = STORE_BHASH, .prepare = prepare_bdb, .open = open_bhash, .find = find_bdb,
	.walk = walk_bdb, .changed = changed_bdb, .close = close_bdb, .forget = forget_bdb,
	.store = &store_bhash,
};
