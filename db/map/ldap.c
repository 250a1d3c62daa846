/*
 * LDAP maps: type "ldap".  The path is that of the config file (ldap_map(5)).
 */
#include <stdlib.h>
#include <sysexits.h>

#include "db/ldap/driver.h"
#include "db/map/conffile.h"
#include "lib/alloc.h"
#include "lib/module.h"

struct ldap_map {
	const struct ldap_driver *driver;
	struct ldap_source *source;
	struct stat file;            /* the config file as it was read */
};

static void free_settings(struct ldap_map *l)
{
	if (l->source != NULL)
		l->driver->close(l->source);
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

	if (status == EX_OK) {
		l->driver = module_load("ldap", "zlmtp_ldap_driver", LDAP_DRIVER_VERSION, &why);
		status = l->driver == NULL ? EX_UNAVAILABLE : l->driver->open(&l->source, map->path, &why);
	}
	if (status != EX_OK) {
		map_config_fail(map, &why);
		free_settings(l);
	} else {
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

static enum map_answer find_ldap(struct map *map, const char *key, size_t length, struct buf *value)
{
	struct ldap_map *l = map->settings;
	struct buf why = { 0 };
	enum map_answer answer;

	if (!map_key_is_askable(key, length))
		return MAP_NOT_FOUND;
	answer = l->driver->find(l->source, key, length, value, &why);
	if (answer == MAP_COULD_NOT_TELL)
		map_fail(map, "%s", buf_str(&why));
	buf_free(&why);
	return answer;
}

const struct map_operations map_ldap = {
	.type = "ldap", .suffix = "", .prepare = prepare_ldap, .open = open_ldap, .find = find_ldap,
	.changed = changed_ldap, .close = close_ldap, .forget = forget_ldap,
};
