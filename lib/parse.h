/*
 * Numbers, intervals and words of tables from command lines and configuration files.
 * Every function takes the whole string: nothing may follow, not even a blank.
 */
#ifndef ZL_LIB_PARSE_H
#define ZL_LIB_PARSE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/* Decimal digits only; false if empty, not a number, or beyond `max`. */
bool parse_number(const char *s, uint64_t max, uint64_t *value);

/* Up to five octal digits. */
bool parse_mode(const char *s, mode_t *mode);

/*
 * An interval of ZMailer: pieces of digits and a unit d, h, m or s, which add
 * up ("1h30m"); bare digits are seconds; blanks may stand between the pieces.
 * Result in seconds.  False if damaged or beyond 1000 years.
 */
bool parse_interval(const char *s, int64_t *seconds);

/* The row of a table with this name, where each row begins with its name (const char *); NULL if there is none. */
#define PARSE_ROW(table, name) parse_row(table, sizeof (table) / sizeof (table)[0], sizeof (table)[0], name)
const void *parse_row(const void *table, size_t count, size_t size, const char *name);

#endif
