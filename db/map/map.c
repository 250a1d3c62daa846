#include "db/map/map.h"

#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sysexits.h>
#include <unistd.h>

#include "config.h"
#include "db/store/kept.h"
#include "db/store/stamp.h"
#include "lib/alloc.h"
#include "lib/clock.h"
#include "lib/file.h"
#include "lib/text.h"

#define RETRY_MS 1000
#define ERROR_CAP 1000

static const struct map_operations *const back_ends[] = {
	&map_btree, &map_bhash,
#if HAVE_LMDB
	&map_lmdb,
#endif
#if HAVE_LDAP
	&map_ldap,
#endif
#if HAVE_PGSQL
	&map_pgsql,
#endif
#if HAVE_MYSQL
	&map_mysql,
#endif
#if HAVE_SQLITE
	&map_sqlite,
#endif
	&map_unordered, &map_ordered,
	&map_inline, &map_constant, &map_failing, &map_failing_nth, &map_slow,
};

#define BACK_ENDS (sizeof back_ends / sizeof back_ends[0])

const struct map_operations *map_type(const char *type)
{
	for (size_t i = 0; i < BACK_ENDS; i++)
		if (ascii_equal(back_ends[i]->type, type))
			return back_ends[i];
	return NULL;
}

const char *map_suffix(const char *type)
{
	const struct map_operations *operations = map_type(type);

	return operations != NULL ? operations->suffix : NULL;
}

static bool has_suffix(const char *path)
{
	for (size_t i = 0; i < BACK_ENDS; i++)
		if (back_ends[i]->suffix[0] != '\0' && text_ends_in(path, back_ends[i]->suffix) &&
		    strcmp(path, back_ends[i]->suffix) != 0)
			return true;
	return false;
}

static struct map *open_exactly(const char *type, char *path, const char *config, int *status, struct buf *why)
{
	struct map *map = xcalloc(1, sizeof *map);

	map->operations = map_type(type);
	map->path = path;
	map->config = config != NULL ? xstrdup(config) : NULL;
	map->provenance.source = map->path;
	map->provenance.type = map->operations->type;
	*status = map->operations->prepare != NULL ? map->operations->prepare(map) : EX_OK;
	if (*status != EX_OK) {
		buf_adds(why, map_error(map));
		map_close(&map);
	}
	return map;
}

static bool know_type(const char *type, const char *path, int *status, struct buf *why)
{
	if (map_type(type) != NULL)
		return true;
	*status = EX_UNAVAILABLE;
	buf_addf(why, "%s: unknown or unsupported map type \"%s\"; expected btree, bhash, lmdb, unordered, ordered, ldap, "
	         "pgsql, mysql or sqlite", path, type);
	return false;
}

struct map *map_open(const char *type, const char *path, const char *config, int *status, struct buf *why)
{
	if (!know_type(type, path, status, why))
		return NULL;
	if (map_suffix(type)[0] == '\0' || has_suffix(path))
		return open_exactly(type, xstrdup(path), config, status, why);
	return open_exactly(type, xasprintf("%s%s", path, map_suffix(type)), config, status, why);
}

struct map *map_open_file(const char *type, const char *path, int *status, struct buf *why)
{
	return know_type(type, path, status, why) ? open_exactly(type, xstrdup(path), NULL, status, why) : NULL;
}

static void forget_stamp(struct map *map)
{
	map->provenance.stamp = NULL;
	if (map->stamp != NULL)
		stamp_free(map->stamp);
	free(map->stamp);
	map->stamp = NULL;
}

void map_read_stamp(struct map *map)
{
	struct buf value = { 0 };

	if (map->operations->find(map, stamp_key, STAMP_KEY_LENGTH - 1, &value) == MAP_FOUND) {
		forget_stamp(map);
		map->stamp = xcalloc(1, sizeof *map->stamp);
		if (stamp_parse(map->stamp, buf_str(&value), value.len))
			map->provenance.stamp = map->stamp;
	}
	buf_free(&value);
}

static void shut(struct map *map)
{
	if (map->is_open)
		map->operations->close(map);
	map->is_open = false;
	forget_stamp(map);
}

bool map_ready(struct map *map)
{
	if (map->is_open)
		return true;
	/* error still holds why the last attempt failed */
	if (clock_ms() < map->retry)
		return false;
	buf_clear(&map->error);
	map->is_open = map->operations->open(map);
	map->retry = map->is_open ? 0 : clock_ms() + RETRY_MS;
	return map->is_open;
}

enum map_answer map_find(struct map *map, const char *key, struct buf *value)
{
	const bool was_open = map->is_open;
	enum map_answer answer;
	size_t before = value->len;

	if (!map_ready(map))
		return MAP_COULD_NOT_TELL;
	answer = map->operations->find(map, key, strlen(key), value);
	if (answer != MAP_COULD_NOT_TELL)
		return answer;
	if (value->len > before) {
		value->len = before;
		value->data[before] = '\0';
	}
	shut(map);
	/* of a file that was written over or touched since it was opened, what is there now may tell */
	return was_open && !map_is_slow(map) ? map_find(map, key, value) : MAP_COULD_NOT_TELL;
}

enum map_answer map_walk(struct map *map, record_each *each, void *context)
{
	enum map_answer answer;

	if (map->operations->walk == NULL)
		return map_fail(map, "maps of type %s cannot be listed", map->operations->type);
	if (!map_ready(map))
		return MAP_COULD_NOT_TELL;
	answer = map->operations->walk(map, each, context);
	if (answer == MAP_COULD_NOT_TELL)
		shut(map);
	return answer;
}

bool map_refresh(struct map *map)
{
	if (!map->is_open || map->operations->changed == NULL)
		return false;
	switch (map->operations->changed(map)) {
	case MAP_SAME:
		return false;
	case MAP_REPLACED:
		shut(map);
		return true;
	case MAP_CHANGED:
		return true;
	}
	return true;
}

const char *map_error(const struct map *map)
{
	return buf_str(&map->error);
}

void map_close(struct map **map)
{
	if (*map == NULL)
		return;
	shut(*map);
	if ((*map)->operations->forget != NULL)
		(*map)->operations->forget(*map);
	buf_free(&(*map)->error);
	free((*map)->path);
	free((*map)->config);
	free(*map);
	*map = NULL;
}

enum map_answer map_fail(struct map *map, const char *format, ...)
{
	struct buf text = { 0 };
	va_list ap;

	buf_addf(&text, "%s: ", map->path);
	va_start(ap, format);
	buf_vaddf(&text, format, ap);
	va_end(ap);
	buf_clear(&map->error);
	text_add_clean(&map->error, buf_str(&text), text.len, ERROR_CAP);
	buf_free(&text);
	map->is_damaged = false;
	return MAP_COULD_NOT_TELL;
}

bool map_fail_unless_sound(struct map *map, enum store_proof proof, const struct buf *why)
{
	struct buf maker = { 0 };

	if (proof == STORE_DAMAGED && kept_add_command(map->path, &maker))
		map_fail(map, "%s; run \"dbupdate ... recover\", then \"%s\"", buf_str(why), buf_str(&maker));
	else if (proof == STORE_DAMAGED)
		map_fail(map, "%s; build it again (newdb, newdb -f; a live one: dbupdate ... recover)", buf_str(why));
	else if (proof == STORE_COULD_NOT_TELL)
		map_fail(map, "%s", buf_str(why));
	map->is_damaged = map->is_damaged || proof == STORE_DAMAGED;
	buf_free(&maker);
	return proof == STORE_SOUND;
}

/* The type of a map that was built from the same text; NULL without. */
static const char *other_type(const struct map *map)
{
	const char *suffix = map->operations->suffix;
	size_t n = strlen(map->path) - strlen(suffix);

	for (size_t i = 0; i < BACK_ENDS && text_ends_in(map->path, suffix); i++) {
		char *path = xasprintf("%.*s%s", (int)n, map->path, back_ends[i]->suffix);
		bool is_there = back_ends[i]->suffix[0] != '\0' && access(path, F_OK) == 0;

		free(path);
		if (is_there)
			return back_ends[i]->type;
	}
	return NULL;
}

bool map_fail_open(struct map *map)
{
	int code = errno;
	const char *other = code == ENOENT && map->operations->suffix[0] != '\0' ? other_type(map) : NULL;
	struct buf maker = { 0 };

	if (code == ENOENT && other == NULL && kept_add_command(map->path, &maker))
		map_fail(map, "%s; make the map by \"%s\"", file_error(code), buf_str(&maker));
	else if (other != NULL)
		map_fail(map, "%s; there is one of type %s: name that type, or build this map (newdb, newdb -f)",
		         file_error(code), other);
	else if (code == ENOENT && map->operations->suffix[0] != '\0')
		map_fail(map, "%s; the map is not built yet (newdb, newdb -f; a live one: dbupdate ... replace, ldapsync -1, sqlsync -1)",
		         file_error(code));
	else
		map_fail(map, "%s", file_error(code));
	buf_free(&maker);
	return false;
}

bool map_key_is_askable(const char *key, size_t length)
{
	return length > 0 && !text_has_controls(key, length) && key[0] != ' ' && key[length - 1] != ' ';
}

static int64_t nanoseconds(const struct timespec *t)
{
	return (int64_t)t->tv_sec * 1000000000 + t->tv_nsec;
}

int64_t map_modified(const struct stat *st)
{
	return nanoseconds(&st->st_mtim);
}

bool map_is_untouched(const struct map *map, const struct stat *opened)
{
	const struct map_provenance *p = &map->provenance;

	return map_modified(opened) == p->modified && opened->st_size == p->size
		&& (nanoseconds(&opened->st_ctim) == p->changed || opened->st_nlink == 0);
}

bool map_provenance_of(struct map *map, int fd)
{
	struct map_provenance *p = &map->provenance;
	struct stat st;

	if (fstat(fd, &st) < 0) {
		map_fail(map, "%s", strerror(errno));
		return false;
	}
	p->owner = st.st_uid;
	p->mode = st.st_mode & 07777;
	p->device = st.st_dev;
	p->inode = st.st_ino;
	p->modified = map_modified(&st);
	p->changed = nanoseconds(&st.st_ctim);
	p->size = st.st_size;
	return true;
}

enum map_change map_file_change(struct map *map)
{
	struct map_provenance *p = &map->provenance;
	struct stat st;
	bool same;

	if (stat(map->path, &st) < 0 || st.st_dev != p->device || st.st_ino != p->inode)
		return MAP_REPLACED;
	same = map_modified(&st) == p->modified && nanoseconds(&st.st_ctim) == p->changed && st.st_size == p->size;
	p->modified = map_modified(&st);
	p->changed = nanoseconds(&st.st_ctim);
	p->size = st.st_size;
	return same ? MAP_SAME : MAP_CHANGED;
}

bool map_is_slow(const struct map *map)
{
	static const char *const fast[] = { "btree", "bhash", "lmdb", "unordered", "ordered", NULL };

	return !text_is_among(map->operations->type, fast) ||
	       (map->config != NULL && strcmp(map->operations->type, "lmdb") != 0);
}
