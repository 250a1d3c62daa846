/*
 * ZMailer's settings shared by all programs: zmailer.conf, which ZCONFIG names (maps.md section 2).
 *
 * Its readers disagree about quotes, blanks and repeated names, so only what all of them understand is taken:
 * NAME=value from column 1.  A value that they would read differently is an error, but only when somebody asks for
 * it.
 */
#ifndef ZL_DB_ROUTE_ZENV_H
#define ZL_DB_ROUTE_ZENV_H

#include <stdbool.h>

#include "lib/buf.h"

struct zenv {
	char *file;            /* NULL: there is none, the environment alone counts */
	struct buf text;
};

/* Reads zenv_path(), if there is one.  0, or EX_NOINPUT with `why`. */
int zenv_read(struct zenv *zenv, struct buf *why);

/*
 * Adds the value of `name` to `value`: from the file, else from the environment.  *is_set tells whether there is one.
 * 0, or EX_CONFIG with `why` naming file and line.
 */
int zenv_get(const struct zenv *zenv, const char *name, struct buf *value, bool *is_set, struct buf *why);

/*
 * Adds `text` with $MAILVAR, $MAILBIN and $MAILSHARE, the variables that newdb knows, put in; braces may stand
 * round the names.  0, or EX_CONFIG with `why` for another variable, one that is not set, and bytes that mean
 * something to a shell: ZMailer has one expand such names.
 */
int zenv_expand(const struct zenv *zenv, const char *text, struct buf *out, struct buf *why);

void zenv_free(struct zenv *zenv);

/*
 * The type of maps whose makers do not say one: DBTYPE, or "btree".  0 with *type, which lives as long as the program;
 * else as zenv_read() and zenv_get().
 */
int zenv_default_type(const char **type, struct buf *why);

#endif
