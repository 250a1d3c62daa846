/*
 * Relations of dbases.conf that no router asks (maps.md section 3.2): a mistyped name is a map whose users do not exist.
 */
#ifndef ZL_DB_ROUTE_UNASKED_H
#define ZL_DB_ROUTE_UNASKED_H

#include "db/route/dbases.h"

/*
 * Reports a warning, with line and column, for each relation that has a map and that neither this router nor the scripts
 * of ZMailer ask.  `is_slip` is set if the name is nearly that of one they do ask; else the relation may be wanted:
 * dblookup, dbserve and a site's own scripts ask any by its name.
 */
typedef void unasked_report(void *context, const struct fault *fault, bool is_slip);
void unasked_warn(const struct dbases *dbases, unasked_report *report, void *context);

/* The same for one line of it, and only if the name is nearly that of one that is asked. */
void unasked_warn_of_slip(const struct dbases *dbases, const struct dbases_map *map, fault_report *report, void *context);

/*
 * For programs that ask maps and do not look after them.  Adds a line, ended by LF, for each relation with a map whose name is
 * nearly that of one that is asked, and for each that ZMailer's scripts ask and this router does not.
 */
void unasked_note(const struct dbases *dbases, struct buf *notes);

#endif
