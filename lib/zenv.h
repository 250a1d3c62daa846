/*
 * ZENV, the NAME=value file that all programs of a ZMailer installation share
 * (maps.md section 2, transport-agent.md section 1).
 */
#ifndef ZL_LIB_ZENV_H
#define ZL_LIB_ZENV_H

/*
 * The path of ZENV: the environment variable ZCONFIG; where it is not set or empty, zlmtp/zmailer.conf below the
 * sysconfdir of configure, or else ZMailer's /etc/zmailer.conf, if there is one.  NULL if there is none.
 */
const char *zenv_path(void);

/* For -v: one line to the log that names the file, if there is one. */
void zenv_tell(void);

/*
 * The value of `name` in ZENV.  A line counts if the name stands in column one, directly followed by '='; blanks after that are skipped, the rest of the line
 * is the value; the first such line wins.  NULL if there is no file or no such
 * line; a file that cannot be read is complained about.  The file is read once; the value lives as long as the program.
 */
const char *zenv(const char *name);

/* The path of the file `name` below the directory that `variable` is in ZENV, to be freed; NULL if it is not set. */
char *zenv_below(const char *variable, const char *name);

#endif
