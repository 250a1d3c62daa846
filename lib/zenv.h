/*
 * ZENV, the NAME=value file that all programs of a ZMailer installation share: zmailer.conf
 * (maps.md section 2, transport-agent.md section 1).
 *
 * A line counts if the name stands in column one, directly followed by '='; blanks behind that are skipped.  A value that
 * is empty, or empty quotes, means that the variable is not set: ZMailer's own file has such lines.
 */
#ifndef ZL_LIB_ZENV_H
#define ZL_LIB_ZENV_H

#include <stdbool.h>

#include "lib/buf.h"

/*
 * The path of ZENV: the environment variable ZCONFIG; where it is not set or empty, zlmtp/zmailer.conf below the
 * sysconfdir of configure, or else ZMailer's /etc/zmailer.conf, if there is one.  NULL if there is none.
 */
const char *zenv_path(void);

/* For -v: one line to the log that names the file, if there is one. */
void zenv_tell(void);

/*
 * The value of `name`: the first line wins, the rest of the line is the value.  NULL if it is not set.  A file that
 * cannot be read ends the program with EX_NOINPUT, a value that means nothing (a directory that is no absolute path, say),
 * and a line with a NUL byte or an invisible character, with EX_CONFIG: ask before anything is done.  The file is read once;
 * the value lives as long as the program.
 */
const char *zenv(const char *name);

/* The path of the file `name` below the directory that `variable` is in ZENV, to be freed; NULL if it is not set. */
char *zenv_below(const char *variable, const char *name);

/*
 * The same where all readers of ZMailer must agree, which disagree about quotes, blanks and repeated names:
 * a value that they would read differently is an error, but only when it is asked for.
 */
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

/* The levels of directories in the queue that SCHEDULERDIRHASH names; 0 without. */
unsigned zenv_levels(void);

/* Is there a router of ZMailer, or its configuration?  The second reads ZENV itself, and says no if it cannot. */
bool zenv_has_router(const struct zenv *zenv);
bool zenv_router_is_here(void);

/*
 * The type of maps whose makers do not say one: DBTYPE, or "btree".  It lives as long as the program, which ends with a line as
 * zenv_read() and zenv_get() give it if the file is of no use.
 */
const char *zenv_default_type(void);

#endif
