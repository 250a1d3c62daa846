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
};

static void free_ldap(void *source)
{
	struct ldap_map *l = source;

	if (l->source != NULL)
		l->driver->close(l->source);
	free(l);
}

static int read_ldap(const struct map *map, void **source, struct buf *why)
{
	struct ldap_map *l = xcalloc(1, sizeof *l);
	int status;

	l->driver = module_load("ldap", "zlmtp_ldap_driver", LDAP_DRIVER_VERSION, why);
	status = l->driver == NULL ? EX_UNAVAILABLE : l->driver->open(&l->source, map->path, why);
	if (status == EX_OK)
		*source = l;
	else
		free_ldap(l);
	return status;
}

static int prepare_ldap(struct map *map)
{
	static const struct conffile_type type = { .read = read_ldap, .free = free_ldap };

	return conffile_prepare(map, &type);
}

static enum map_answer find_ldap(struct map *map, const char *key, size_t length, struct buf *value)
{
	const struct ldap_map *l = conffile_source(map);
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
	.type = "ldap", .suffix = "", .prepare = prepare_ldap, .open = conffile_open, .find = find_ldap,
	.changed = conffile_changed, .close = conffile_close, .forget = conffile_forget,
};
