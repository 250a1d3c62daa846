/*
 * Routing as lines of text, or of JSON, for dblookup -r.
 */
#ifndef ZL_DB_ROUTE_PRINT_H
#define ZL_DB_ROUTE_PRINT_H

#include <stdbool.h>

#include "db/route/route.h"
#include "lib/buf.h"

/*
 * Routes one recipient and adds, per result, "ADDRESS TAB CHANNEL TAB HOST TAB USER LF"; with `json` one object in one
 * line instead: {"address", "answer", "results": [{"channel", "host", "user"}]}.  Bytes that are not
 * printable become blanks and '?', as text.h has it.  `explain` may be NULL.  Returns the answer to the address.
 */
enum map_answer route_print(struct router *router, const char *address, size_t length, struct explain *explain,
                            bool json, struct buf *out) MAP_MUST_LOOK;

#endif
