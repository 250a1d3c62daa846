/*
 * Routing of any address through maps with any value.
 *
 * The input is a byte of flags, a byte with the length of a value, the value, and the address.  Every relation answers
 * some keys with the value, some with "not found" and a few with "could not tell".
 */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "db/route/explain.h"
#include "db/route/route.h"
#include "lib/alloc.h"

#define FLAG_SUBSTITUTE 1
#define FLAG_SENDER 2
#define FLAG_ERROR_MESSAGE 4
#define FLAG_ANY_USER 8
#define FLAG_EXPLAIN 16
#define FLAG_DRIVER 32
#define FLAG_CACHE 64
#define FLAG_ALL_KEYS 128

static const char *value;
static size_t value_length;
static bool all_keys;

static bool open_nothing(struct map *map)
{
	(void)map;
	return true;
}

static void close_nothing(struct map *map)
{
	(void)map;
}

static enum map_answer find(struct map *map, const char *key, size_t length, struct buf *out)
{
	unsigned sum = 0;

	for (size_t i = 0; i < length; i++)
		sum += (unsigned char)key[i];
	if (!all_keys && sum % 7 == 0)
		return map_fail(map, "cannot tell");
	if (!all_keys && sum % 3 != 0)
		return MAP_NOT_FOUND;
	buf_add(out, value, value_length);
	return MAP_FOUND;
}

static const struct map_operations operations = {
	.type = "fuzz", .suffix = "", .open = open_nothing, .find = find, .close = close_nothing,
};

static enum map_answer account(void *context, const char *name)
{
	(void)context;
	return name[0] % 3 == 0 ? MAP_COULD_NOT_TELL : name[0] % 3 == 1 ? MAP_FOUND : MAP_NOT_FOUND;
}

static void add_map(struct router *r, enum route_relation id, int flags)
{
	struct map *map = xcalloc(1, sizeof *map);
	struct lookup_options o = {
		.fold = FOLD_LOWER, .substitute = (flags & FLAG_SUBSTITUTE) != 0, .cache_size = flags & FLAG_CACHE ? 3 : 0,
		.cache_absent = true, .driver = flags & FLAG_DRIVER ? DRIVER_PATHALIAS : DRIVER_NONE,
	};

	map->operations = &operations;
	map->path = xstrdup("map");
	map->provenance.source = map->path;
	map->provenance.type = operations.type;
	r->relations[id] = relation_create(route_relation_name(id));
	relation_add(r->relations[id], map, &o);
}

/* What no result may ever be, whatever came in. */
static void check(enum map_answer answer, const struct route_result *results, size_t count)
{
	enum map_answer worst = MAP_FOUND;

	if (count == 0)
		abort();
	for (size_t i = 0; i < count; i++) {
		const struct route_result *r = &results[i];

		if (r->channel[0] == '\0' || r->host[0] == '\0' || r->user[0] == '\0' || strpbrk(r->channel, " \t\n!") != NULL)
			abort();
		if (strpbrk(r->host, "\n\r") != NULL || strpbrk(r->user, "\n\r") != NULL)
			abort();
		if (r->answer > worst)
			worst = r->answer;
	}
	if (answer != worst)
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct explain explain = { .out = { 0 } };
	const struct route_result *results;
	struct router *r;
	struct route_query q;
	enum map_answer answer;
	size_t count;
	int flags;

	if (size < 2 || (size_t)data[1] + 2 > size)
		return 0;
	flags = data[0];
	value = (const char *)data + 2;
	value_length = data[1];
	all_keys = (flags & FLAG_ALL_KEYS) != 0;
	r = router_create();
	r->account = account;
	r->now = 0;
	r->max_depth = 8;
	r->max_addresses = 100;
	r->any_local_user = (flags & FLAG_ANY_USER) != 0;
	for (int i = 0; i < ROUTE_RELATIONS; i++)
		add_map(r, (enum route_relation)i, flags);
	q = (struct route_query){
		.address = (const char *)data + 2 + value_length, .length = size - 2 - value_length,
		.type = flags & FLAG_SENDER ? ROUTE_SENDER : ROUTE_RECIPIENT,
		.error_message = (flags & FLAG_ERROR_MESSAGE) != 0, .explain = flags & FLAG_EXPLAIN ? &explain : NULL,
	};
	for (int i = 0; i < 2; i++) {
		answer = route(r, &q, &results, &count);
		check(answer, results, count);
	}
	explain_free(&explain);
	router_destroy(&r);
	return 0;
}
