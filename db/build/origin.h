/*
 * From a record of a map back to the line of the text it was built from.
 */
#ifndef ZL_DB_BUILD_ORIGIN_H
#define ZL_DB_BUILD_ORIGIN_H

#include <stdbool.h>
#include <stddef.h>

#include "db/map/map.h"

struct origin;

/*
 * Reads the text that the stamp of an open map names.  NULL if the map has no stamp, was not built from a file, or
 * the text is gone or was changed since.
 */
struct origin *origin_open(const struct map *map);

/* The line in which `key`, as it stands in the map, begins; 0 if the text does not have it. */
size_t origin_line(const struct origin *origin, const char *key);

void origin_close(struct origin **origin);

/*
 * True if the text is newer than the map: the text that the stamp names, or without a stamp the file of that name
 * without the suffix.  *text becomes its name, allocated.
 */
bool origin_is_newer(const struct map *map, char **text);

#endif
