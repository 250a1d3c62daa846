/*
 * Maps whose file says how a server is asked (LDAP, SQL): the file is read when the map is opened, and again when it has
 * changed.  The first lookup connects, and the connection outlives the trouble of one map.
 */
#ifndef ZL_DB_MAP_CONFFILE_H
#define ZL_DB_MAP_CONFFILE_H

#include <sys/stat.h>

#include "db/map/map.h"

/* Notes the file as it is before it is read: what is written meanwhile will be seen as a change.  EX_OK or EX_NOINPUT with `why`. */
int map_config_look(const struct map *map, struct stat *file, struct buf *why);

/* Whether the file is still as it was when it was read. */
enum map_change map_config_change(const struct map *map, const struct stat *file);

/* Opens the map, which opens nothing but the file, for its provenance.  False with map_fail(). */
bool map_config_open(struct map *map);

/* Makes `why`, which names the file and the line, the trouble of the map. */
void map_config_fail(struct map *map, const struct buf *why);

#endif
