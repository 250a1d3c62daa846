/*
 * The scripts that ZMailer's router sources at its start: RELATION.zmsh (maps.md section 3.9).
 */
#ifndef ZL_DB_ROUTE_ZMSH_H
#define ZL_DB_ROUTE_ZMSH_H

#include "db/route/dbases.h"
#include "lib/buf.h"

/*
 * Adds the script of a relation.  False with `why` if ZMailer's router cannot have one: it has a map of a type that is
 * ours alone.
 */
bool zmsh_script(const struct dbases *dbases, const char *relation, struct buf *out, struct buf *why);

/*
 * Writes DIRECTORY/RELATION.zmsh unless it has that content already; *written tells.  0, or an exit code with
 * `why`; then the file is as it was.  0 with `why` if there can be no script and is none.
 */
int zmsh_write(const struct dbases *dbases, const char *relation, bool *written, struct buf *why);

#endif
