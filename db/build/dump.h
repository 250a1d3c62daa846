/*
 * A map as text, from which newdb makes an equal map, and dbupdate a live one.
 */
#ifndef ZL_DB_BUILD_DUMP_H
#define ZL_DB_BUILD_DUMP_H

#include <stdio.h>

#include "db/map/map.h"
#include "lib/buf.h"

/*
 * Writes all records of `map` to `out`, after a comment that says with which options of newdb to build, how a live map
 * (`is_live`) is made of them, or which program makes one that is the copy of something.  Plain
 * syntax where it can hold the records, alias syntax otherwise; where neither can, lines for "dbupdate apply".  A key
 * whose quotes are not needed (text_unquote()) comes back without them.  0; EX_DATAERR with `why` naming a record that no
 * text can hold, or not together with those before; EX_TEMPFAIL if the map cannot be read; EX_IOERR if `out` cannot
 * be written.  Nothing is written before all records were seen.
 */
int dump_map(struct map *map, bool is_live, FILE *out, struct buf *why);

#endif
