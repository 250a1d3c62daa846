/*
 * LDAP maps: type "ldap".  The path is that of the config file (ldap_map(5)).
 */
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>

#include "db/ldap/collect.h"
#include "db/ldap/conf.h"
#include "db/ldap/conn.h"
#include "db/map/config.h"
#include "lib/alloc.h"
#include "lib/cache.h"
#include "lib/clock.h"
#include "lib/file.h"
#include "lib/text.h"

struct ldap_map {
	struct ldapconf conf;
	struct ldapconn *connection;
	struct cache *cache;         /* NULL if nothing is kept */
	struct stat file;            /* the config file as it was read */
};

static void free_settings(struct ldap_map *l)
{
	ldapconn_release(&l->connection);
	cache_destroy(&l->cache);
	ldapconf_free(&l->conf);
	free(l);
}

static void forget_ldap(struct map *map)
{
	if (map->settings != NULL)
		free_settings(map->settings);
	map->settings = NULL;
}

/* What the config file says now, in place of what it said. */
static int prepare_ldap(struct map *map)
{
	struct ldap_map *l = xcalloc(1, sizeof *l);
	struct buf why = { 0 };
	int status = map_config_look(map, &l->file, &why);

	if (status == EX_OK)
		status = ldapconf_read(&l->conf, map->path, &why);
	if (status != EX_OK) {
		map_config_fail(map, &why);
		free_settings(l);
	} else {
		l->connection = ldapconn_get(&l->conf.access);
		if (l->conf.cache_size > 0 && (l->conf.cache_expiry > 0 || l->conf.cache_negative_expiry > 0))
			l->cache = cache_create(l->conf.cache_size);
		forget_ldap(map);
		map->settings = l;
	}
	buf_free(&why);
	return status;
}

static enum map_change changed_ldap(struct map *map)
{
	const struct ldap_map *l = map->settings;

	return map_config_change(map, &l->file);
}

static bool open_ldap(struct map *map)
{
	return (changed_ldap(map) == MAP_SAME || prepare_ldap(map) == EX_OK) && map_config_open(map);
}

static void close_ldap(struct map *map)
{
	(void)map;
}

static void keep(struct ldap_map *l, const struct buf *key, enum map_answer answer, const struct buf *value)
{
	const struct buf no_part = { 0 };
	const long lifetime = answer == MAP_FOUND ? l->conf.cache_expiry : l->conf.cache_negative_expiry;

	if (answer != MAP_COULD_NOT_TELL && lifetime > 0)
		cache_add(l->cache, key, answer == MAP_FOUND ? value : NULL, &no_part, clock_ms() + lifetime * 1000);
}

static enum map_answer ask_directory(struct map *map, const char *key, size_t length, struct buf *value)
{
	struct ldap_map *l = map->settings;
	const int64_t deadline = clock_ms() + l->conf.access.timeout * 1000;
	struct buf why = { 0 };
	enum map_answer answer = ldap_collect(&l->conf, l->connection, key, length, deadline, value, &why);

	if (answer == MAP_COULD_NOT_TELL)
		map_fail(map, "%s", buf_str(&why));
	buf_free(&why);
	return answer;
}

static enum map_answer find_ldap(struct map *map, const char *key, size_t length, struct buf *value)
{
	struct ldap_map *l = map->settings;
	struct buf k = { 0 }, part = { 0 }, answered = { 0 };
	enum map_answer answer;
	bool found = false;

	if (!map_key_is_askable(key, length) || !ldapconf_fits(&l->conf, key, length))
		return MAP_NOT_FOUND;
	if (l->cache == NULL)
		return ask_directory(map, key, length, value);
	buf_add(&k, key, length);
	if (cache_find(l->cache, &k, clock_ms(), &found, value, &part)) {
		answer = found ? MAP_FOUND : MAP_NOT_FOUND;
	} else {
		answer = ask_directory(map, key, length, &answered);
		keep(l, &k, answer, &answered);
		buf_add(value, buf_str(&answered), answered.len);
	}
	buf_free(&k);
	buf_free(&part);
	buf_free(&answered);
	return answer;
}

const struct map_operations map_ldap = {
	.type = "ldap", .suffix = "", .prepare = prepare_ldap, .open = open_ldap, .find = find_ldap,
	.changed = changed_ldap, .close = close_ldap, .forget = forget_ldap,
};
