/*
 * The settings about servers, TLS, authentication and patience, which SQL maps and sqlsync have in common (sql_map(5)).
 */
#ifndef ZL_DB_SQL_ACCESS_H
#define ZL_DB_SQL_ACCESS_H

#include "db/sql/driver.h"
#include "db/sql/query.h"
#include "lib/buf.h"
#include "lib/settings.h"

/* The settings_name of these settings. */
const char *sql_access_name(const char *word);

/*
 * Takes those of `settings` that sql_access_name() knows, and checks what belongs together.  `file` is named where no single
 * line is to blame.  0, EX_CONFIG or EX_NOINPUT with `why`; sql_access_free() in either case.
 */
int sql_access_take(struct sql_access *access, enum sql_dialect dialect, const struct settings *settings, const char *file,
                    struct buf *why);

/* Adds all of it to `out`, so that two texts are the same if one connection can serve both.  It holds the password. */
void sql_access_identity(const struct sql_access *access, struct buf *out);

/* Adds what may be told of one of access->hosts: a URI without user, password and options. */
void sql_host_show(const char *host, struct buf *out);

void sql_access_copy(struct sql_access *to, const struct sql_access *from);
void sql_access_free(struct sql_access *access);

#endif
