/*
 * Maps that need no file: what they answer stands in the path.  They make each of the three answers, and a slow
 * one, testable in everything that uses maps.
 *
 *   inline     key=value;key=value    these records, in this order
 *   constant   VALUE                  VALUE for every key
 *   fail       WHY                    could not tell, for every key
 *   failnth    N:VALUE                could not tell at the Nth lookup (from 1), else VALUE
 *   slow       MS:VALUE               VALUE after MS milliseconds
 */
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>
#include <time.h>

#include "db/map/map.h"
#include "lib/alloc.h"
#include "lib/clock.h"
#include "lib/parse.h"

struct numbered {
	uint64_t number;
	uint64_t lookups;
	const char *value;
};

static int prepare_numbered(struct map *map)
{
	const char *colon = strchr(map->path, ':');
	struct numbered *n = xcalloc(1, sizeof *n);
	char *digits = colon != NULL ? xstrndup(map->path, (size_t)(colon - map->path)) : xstrdup("");
	bool ok = parse_number(digits, 1000000000, &n->number);

	free(digits);
	map->settings = n;
	if (!ok) {
		map_fail(map, "expected NUMBER:VALUE");
		return EX_CONFIG;
	}
	n->value = colon + 1;
	return EX_OK;
}

static void forget(struct map *map)
{
	free(map->settings);
}

static bool open_nothing(struct map *map)
{
	(void)map;
	return true;
}

static void close_nothing(struct map *map)
{
	(void)map;
}

static enum map_answer find_constant(struct map *map, const char *key, size_t length, struct buf *value)
{
	(void)key;
	(void)length;
	buf_adds(value, map->path);
	return MAP_FOUND;
}

static enum map_answer find_failing(struct map *map, const char *key, size_t length, struct buf *value)
{
	(void)key;
	(void)length;
	(void)value;
	return map_fail(map, "this map always fails");
}

static enum map_answer find_failing_nth(struct map *map, const char *key, size_t length, struct buf *value)
{
	struct numbered *n = map->settings;

	(void)key;
	(void)length;
	if (++n->lookups == n->number)
		return map_fail(map, "this map fails at lookup %llu", (unsigned long long)n->number);
	buf_adds(value, n->value);
	return MAP_FOUND;
}

static enum map_answer find_slow(struct map *map, const char *key, size_t length, struct buf *value)
{
	struct numbered *n = map->settings;

	(void)key;
	(void)length;
	clock_pause((int64_t)n->number * 1000000);
	buf_adds(value, n->value);
	return MAP_FOUND;
}

static enum map_answer walk_inline(struct map *map, record_each *each, void *context)
{
	const char *p = map->path;

	while (*p != '\0') {
		size_t n = strcspn(p, ";");
		const char *equals = memchr(p, '=', n);

		if (equals == NULL)
			return map_fail(map, "expected KEY=VALUE;KEY=VALUE");
		if (!each(context, p, (size_t)(equals - p), equals + 1, n - (size_t)(equals - p) - 1))
			break;
		p += n + (p[n] == ';');
	}
	return MAP_FOUND;
}

struct search {
	const char *key;
	size_t length;
	struct buf *value;
	bool found;
};

static bool look(void *context, const char *key, size_t key_length, const char *value, size_t value_length)
{
	struct search *s = context;

	s->found = key_length == s->length && memcmp(key, s->key, key_length) == 0;
	if (s->found)
		buf_add(s->value, value, value_length);
	return !s->found;
}

static enum map_answer find_inline(struct map *map, const char *key, size_t length, struct buf *value)
{
	struct search s = { key, length, value, false };

	if (walk_inline(map, look, &s) == MAP_COULD_NOT_TELL)
		return MAP_COULD_NOT_TELL;
	return s.found ? MAP_FOUND : MAP_NOT_FOUND;
}

const struct map_operations map_inline = {
	.type = "inline", .suffix = "", .open = open_nothing, .find = find_inline, .walk = walk_inline,
	.close = close_nothing,
};

const struct map_operations map_constant = {
	.type = "constant", .suffix = "", .open = open_nothing, .find = find_constant, .close = close_nothing,
};

const struct map_operations map_failing = {
	.type = "fail", .suffix = "", .open = open_nothing, .find = find_failing, .close = close_nothing,
};

const struct map_operations map_failing_nth = {
	.type = "failnth", .suffix = "", .prepare = prepare_numbered, .open = open_nothing, .find = find_failing_nth,
	.close = close_nothing, .forget = forget,
};

const struct map_operations map_slow = {
	.type = "slow", .suffix = "", .prepare = prepare_numbered, .open = open_nothing, .find = find_slow,
	.close = close_nothing, .forget = forget,
};
