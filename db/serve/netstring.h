/*
 * Netstrings: "LENGTH:BYTES,", the frame of the socketmap protocol (sendmail's, and Postfix's socketmap_table(5)).
 */
#ifndef ZL_DB_SERVE_NETSTRING_H
#define ZL_DB_SERVE_NETSTRING_H

#include <stdbool.h>
#include <stddef.h>

#include "lib/buf.h"

/* The longest that is taken and sent. */
#define NETSTRING_MAX 100000

enum netstring_result {
	NETSTRING_WHOLE,       /* *content and *length; *used bytes of the input are done with */
	NETSTRING_MORE,        /* the rest has not come */
	NETSTRING_BAD,         /* no netstring, or longer than NETSTRING_MAX */
};

/* Reads one from the first of `n` bytes; *content points into them.  A length with a zero in front is bad, too. */
enum netstring_result netstring_read(const char *bytes, size_t n, const char **content, size_t *length, size_t *used);

/* Adds `n` bytes as a netstring. */
void netstring_add(struct buf *out, const char *bytes, size_t n);

#endif
