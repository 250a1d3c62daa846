/*
 * Lookup options as text: the sixth field of dbases.conf (maps.md section 3.6).
 */
#ifndef ZL_DB_ROUTE_LOOKUP_H
#define ZL_DB_ROUTE_LOOKUP_H

#include <stdbool.h>

#include "db/route/relation.h"
#include "lib/buf.h"

/*
 * Reads options such as "-lm%:d pathalias -s 500 -C /path".  *config becomes the argument of -C, allocated, or
 * NULL.  False with one line in `why` for what ZMailer's "relation" command would refuse, and for what it takes
 * without doing anything sensible (-i -T -f -t).
 */
bool lookup_options_parse(const char *text, struct lookup_options *options, char **config, struct buf *why);

/* The options that only we know, for code that hands a line on to ZMailer. */
#define LOOKUP_OWN_LETTERS "L"

#endif
