#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "db/map/bdb.h"
#include "db/store/stamp.h"
#include "lib/alloc.h"
#include "lib/child.h"
#include "lib/clock.h"

/* 0.5 s were measured for 100 MB; a disk that must be read first is slower by far. */
#define VERIFY_MS_AT_LEAST 60000
#define VERIFY_MS_PER_MB 100

#define LOOKS_SOUND 0
#define LOOKS_DAMAGED 1

static void say_nothing(const DB_ENV *env, const char *prefix, const char *message)
{
	(void)env;
	(void)prefix;
	(void)message;
}

static int new_handle(DB **db)
{
	int code = db_create(db, NULL, 0);

	if (code != 0)
		return code;
	(*db)->set_errcall(*db, say_nothing);
	return (*db)->set_cachesize(*db, 0, 4u << 20, 1);
}

static bool go_on(void *context, const char *key, size_t key_length, const char *value, size_t value_length)
{
	(void)context, (void)key, (void)key_length, (void)value, (void)value_length;
	return true;
}

/* There are damages that verify() does not see and reading does not survive. */
static int read_all(const char *path)
{
	DBC *cursor;
	DB *db;
	int code = new_handle(&db);

	if (code == 0)
		code = db->open(db, NULL, path, NULL, DB_UNKNOWN, DB_RDONLY | DB_NOMMAP, 0);
	if (code == 0)
		code = db->cursor(db, NULL, &cursor, DB_CURSOR_BULK);
	if (code == 0)
		code = bdb_walk(cursor, go_on, NULL);
	return code == DB_NOTFOUND ? 0 : code;
}

/* In a child, which leaves its handles to exit(). */
static int verify(void *context, struct buf *out)
{
	DB *db;
	int code = new_handle(&db);

	/* verify() takes the handle with it, whatever it finds */
	if (code == 0)
		code = db->verify(db, context, NULL, NULL, 0);
	if (code == 0)
		code = read_all(context);
	if (code == 0)
		return LOOKS_SOUND;
	buf_adds(out, db_strerror(code));
	return LOOKS_DAMAGED;
}

bool bdb_verify(struct map *map, int fd)
{
	/* the very file that was opened, even if the name has gone to another one meanwhile */
	char *path = xasprintf("/proc/self/fd/%d", fd);
	int64_t patience = VERIFY_MS_AT_LEAST + map->provenance.size / 1000000 * VERIFY_MS_PER_MB;
	struct buf said = { 0 };
	int status = 0;
	enum child_end end = child_ask(verify, path, clock_ms() + patience, &status, &said);

	switch (end) {
	case CHILD_SAID:
		if (status != LOOKS_SOUND)
			map_fail(map, "damaged (%s)", buf_str(&said));
		break;
	case CHILD_CRASHED:
		map_fail(map, "damaged (looking at it ended by signal %d)", status);
		break;
	case CHILD_HUNG:
		map_fail(map, "could not be verified in %lld s", (long long)patience / 1000);
		break;
	case CHILD_FAILED:
		map_fail(map, "cannot start a process to verify it: %s", strerror(errno));
		break;
	}
	free(path);
	buf_free(&said);
	return end == CHILD_SAID && status == LOOKS_SOUND;
}

bool bdb_check(struct map *map, int fd)
{
	switch (stamp_check(fd)) {
	case STAMP_GOOD:
		return true;
	case STAMP_NONE:
		return bdb_verify(map, fd);
	case STAMP_BAD:
		map_fail(map, "is not as newdb built it: damaged, or changed in place by another program; build it again");
		return false;
	case STAMP_UNREADABLE:
		map_fail(map, "%s", strerror(errno));
		return false;
	}
	return false;
}
