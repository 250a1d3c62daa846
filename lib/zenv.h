/*
 * ZENV, the NAME=value file that all programs of a ZMailer installation share
 * (maps.md section 2, transport-agent.md section 1).
 */
#ifndef ZL_LIB_ZENV_H
#define ZL_LIB_ZENV_H

/*
 * The value of `name` in the file that the environment variable ZCONFIG names.  A line counts if the
 * name stands in column one, directly followed by '='; blanks after that are skipped, the rest of the line
 * is the value; the first such line wins.  NULL if there is no ZCONFIG, no such file or no such
 * line; a file that cannot be read is complained about.  The file is read once; the value lives as long as the program.
 */
const char *zenv(const char *name);

#endif
