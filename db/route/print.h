/*
 * Routing as lines of text, or of JSON, for dblookup -r.
 */
#ifndef ZL_PRINT_H
#define ZL_PRINT_H

#include <stdbool.h>

#include "db/route/route.h"
#include "lib/buf.h"

/*
 * Routes one recipient and adds, per result, "ADDRESS TAB CHANNEL TAB HOST TAB USER LF"; with `explain` every step in front of
 * them, in lines that begin with '#'.  With `json` it is one object in one line instead:
 *   {"address", "answer", "results": [{"channel", "host", "user"}], "explanation": [lines]}
 * Bytes that are not printable become blanks and '?', as text.h has it.  Returns the answer to the address.
 */
enum map_answer route_print(struct router *router, const char *address, size_t length, bool explain, bool json,
                            struct buf *out);

#endif
