/*
 * A router over maps in memory, for the tests of routing.
 */
#ifndef ZL_TESTS_UNIT_ROUTE_MAPS_H
#define ZL_TESTS_UNIT_ROUTE_MAPS_H

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "db/route/lookup.h"
#include "db/route/route.h"
#include "lib/alloc.h"
#include "lib/text.h"

/* A record as newdb would store it; a list ends with a NULL key. */
struct line {
	char *key;
	char *value;
};

/* The key of a line in a map that answers "could not tell" to everything. */
#define CANNOT_TELL "!"

/* Keys are compared without case, as newdb -l and lookups with -l make it. */
static enum map_answer find_line(struct map *map, const char *key, size_t length, struct buf *value)
{
	const struct line *lines = map->state;

	(void)length;
	for (; lines->key != NULL; lines++) {
		if (strcmp(lines->key, CANNOT_TELL) == 0)
			return map_fail(map, "IO:error");
		if (ascii_equal(lines->key, key)) {
			buf_adds(value, lines->value);
			return MAP_FOUND;
		}
	}
	return MAP_NOT_FOUND;
}

static bool open_lines(struct map *map)
{
	(void)map;
	return true;
}

static void leave_lines(struct map *map)
{
	(void)map;
}

static const struct map_operations lines_operations = {
	.type = "lines", .suffix = "", .open = open_lines, .find = find_line, .close = leave_lines,
};

/* Adds a map to a relation of the router.  The lines stay the caller's. */
static inline struct relation_map *add_lines(struct router *router, enum route_relation id, const char *options,
                                             const struct line *lines)
{
	struct map *map = xcalloc(1, sizeof *map);
	struct lookup_options o;
	struct buf why = { 0 };
	char *config;

	if (router->relations[id] == NULL)
		router->relations[id] = relation_create(route_relation_name(id));
	if (!lookup_options_parse(options, &o, &config, &why)) {
		fprintf(stderr, "# %s\n", buf_str(&why));
		abort();
	}
	map->operations = &lines_operations;
	map->path = xstrdup(route_relation_name(id));
	map->provenance.source = map->path;
	map->provenance.type = "lines";
	map->is_open = true;
	map->state = (void *)lines;
	return relation_add(router->relations[id], map, &o);
}

static inline enum map_answer only_root(void *context, const char *name)
{
	(void)context;
	return strcmp(name, "root") == 0 ? MAP_FOUND : MAP_NOT_FOUND;
}

/* Host mx.local.test, mail domain local.test, and root is the only account. */
static inline struct router *test_router(void)
{
	struct router *r = router_create();

	free(r->hostname);
	free(r->mydomain);
	r->hostname = xstrdup("mx.local.test");
	r->mydomain = xstrdup("local.test");
	r->localdoesdomain = true;
	r->account = only_root;
	r->now = 0;
	return r;
}

/* The results as "(channel host user) (channel host user)"; why something is held becomes "*", unless it is a time. */
static inline void show_results(struct buf *out, const struct route_result *results, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		const struct route_result *r = &results[i];
		bool why = strcmp(r->channel, "hold") == 0 && strncmp(r->host, "timeout:", 8) != 0;

		buf_addf(out, "%s(%s %s %s)", i > 0 ? " " : "", r->channel, why ? "*" : r->host, r->user);
	}
}

#endif
