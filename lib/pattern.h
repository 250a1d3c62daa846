/*
 * The key of a lookup, in pieces, and the patterns of a query in which they are put:
 *
 *   %s  the key                       %u  what stands before its last "@", or all of it
 *   %d  what stands behind that       %1 to %9  the labels of the domain from its end: %1 is "com"
 *   %%  a percent sign                %S %U %D  the same as %s %u %d, except in result_format
 *
 * A key that lacks a piece which the pattern wants ("%d" without "@", an empty local part) cannot be found.
 */
#ifndef ZL_LIB_PATTERN_H
#define ZL_LIB_PATTERN_H

#include <stdbool.h>
#include <stddef.h>

#include "lib/buf.h"

enum key_part {
	KEY_LITERAL,      /* text of the pattern */
	KEY_WHOLE,
	KEY_LOCAL,
	KEY_DOMAIN,
	KEY_LABEL,
};

struct pattern_piece {
	enum key_part part;
	unsigned label;      /* 1 to 9 for KEY_LABEL */
	bool upper;          /* written as a capital */
	char *literal;       /* for KEY_LITERAL */
};

/* A zeroed struct is an empty pattern. */
struct pattern {
	struct pattern_piece *pieces;
	size_t count;
	size_t capacity;
};

/* False with `why` (column and what was expected).  Free by pattern_free() in either case. */
bool pattern_parse(struct pattern *pattern, const char *text, struct buf *why);
void pattern_free(struct pattern *pattern);

/* True if anything of the key is in it. */
bool pattern_uses_key(const struct pattern *pattern);

/* Finds a part of `key` (`n` bytes); false if it has no such part, or an empty one. */
bool key_part(const char *key, size_t n, enum key_part part, unsigned label, const char **bytes, size_t *length);

/* True if `key` is an address, with a local part, in one of `domains` (NULL at the end), without case. */
bool key_is_in_domains(const char *key, size_t n, char *const *domains);

/* True if `key` has all parts that the pattern wants. */
bool pattern_fits(const struct pattern *pattern, const char *key, size_t n);

#endif
