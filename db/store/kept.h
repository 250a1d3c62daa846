/*
 * Maps that a program keeps equal to a source: ldapsync and sqlsync leave their lock beside the map, MAP.ldapsync or
 * MAP.sqlsync, and in it the name of the configuration, so that whoever has trouble with the map can say what makes it again.
 */
#ifndef ZL_DB_STORE_KEPT_H
#define ZL_DB_STORE_KEPT_H

#include <stdbool.h>

#include "lib/buf.h"

/* Writes the name of the configuration into the lock; that it cannot be written does not matter. */
void kept_note(int lock, const char *config);

/*
 * Adds the command that makes the map (with or without suffix) again, such as "ldapsync -f FILE -1".  False if none keeps it.
 */
bool kept_add_command(const char *map, struct buf *out);

/* Adds that command, or `otherwise`. */
void kept_add_maker(const char *map, const char *otherwise, struct buf *out);

#endif
