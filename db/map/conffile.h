/*
 * Maps whose file says how a server is asked (LDAP, SQL): the file is read when the map is opened, and again when it has
 * changed.  The first lookup connects, and the connection outlives the trouble of one map.
 */
#ifndef ZL_DB_MAP_CONFFILE_H
#define ZL_DB_MAP_CONFFILE_H

#include "db/map/map.h"

/* What a type knows of such files. */
struct conffile_type {
	/*
	 * Reads the file of the map.  EX_OK with *source; EX_CONFIG or EX_NOINPUT with `why`, which names file and line;
	 * EX_UNAVAILABLE with `why` if what asks such maps is not installed.
	 */
	int (*read)(const struct map *map, void **source, struct buf *why);
	void (*free)(void *source);
};

/* For a back end's prepare(): what the file says now, in place of what it said. */
int conffile_prepare(struct map *map, const struct conffile_type *type);

/* What was read last. */
void *conffile_source(const struct map *map);

/* These of struct map_operations are the same for all of them. */
bool conffile_open(struct map *map);
enum map_change conffile_changed(struct map *map);
void conffile_close(struct map *map);
void conffile_forget(struct map *map);

#endif
