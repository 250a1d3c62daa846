/*
 * Texts that an administrator wrote, line by line, and the one form of what is said of a wrong line:
 *
 *   FILE:LINE: SUBJECT: expected WHAT, found "BYTES"
 *
 * Each kind of file has its own syntax (settings.h, zenv.h, env_config, tls.conf, secrets, router.conf, dbases.conf).
 */
#ifndef ZL_LIB_CONF_H
#define ZL_LIB_CONF_H

#include <stdbool.h>
#include <stddef.h>

#include "lib/buf.h"

struct conf_text {
	const char *path;        /* for messages */
	const char *next, *end;
	size_t number;           /* of the line, from 1 */
	const char *line;        /* without its LF; not terminated */
	size_t length;
	struct buf *why;         /* where messages go */
};

/* Begins in front of the first line of n bytes. */
struct conf_text conf_begin(const char *path, const char *text, size_t n, struct buf *why);

/* Goes on to the next line.  False at the end. */
bool conf_next(struct conf_text *text);

/* True if the line holds a NUL byte: what follows it would be forgotten. */
bool conf_has_nul(const struct conf_text *text);

/* Adds "FILE:LINE: message" to text->why.  Returns EX_CONFIG. */
int conf_error(const struct conf_text *text, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* The same as "expected WHAT, found "BYTES"", of these n bytes made printable.  Returns EX_CONFIG. */
int conf_expected(const struct conf_text *text, const char *what, const char *found, size_t n);

/* Adds bytes that were found as "BYTES" in quotes: printable, and cut where they are many. */
void conf_add_found(struct buf *out, const char *bytes, size_t n);

#endif
