/*
 * A query with pieces of the key in it (lib/pattern.h), and the text made of a row.
 *
 * A key can only match itself: within quotes it is escaped by the library of the database, where no quotes stand it gets them.
 * What would make more of a key than a string is refused when the file is read: a key in a comment, in the name of a column,
 * behind a backslash, in a list or a path; and LIKE and similar operators with anything but one constant text behind them, as a
 * key may come there by a function, by a name, or from the table.
 */
#ifndef ZL_DB_SQL_QUERY_H
#define ZL_DB_SQL_QUERY_H

#include <stdbool.h>
#include <stddef.h>

#include "db/sql/driver.h"
#include "lib/buf.h"
#include "lib/pattern.h"

enum sql_dialect {
	SQL_PGSQL,
	SQL_MYSQL,
	SQL_SQLITE,
};

struct sql_query {
	struct pattern pattern;
	bool *bare;              /* per piece: a key that stands outside of quotes */
	char *bound;             /* the query with ?1, ?2 ... or $1, $2 ... for the keys, where each of them is a string of its own;
	                          * else, and for MySQL, NULL */
};

/* Keys of a query that can be bound. */
#define SQL_BOUND_MAX 16

/* What is wrong with a query that shall give rows, by its first word: it changes the database.  NULL: nothing. */
const char *sql_query_change(const char *text);

/* False with `why` (what was expected).  Free by sql_query_free() in either case. */
bool sql_query_parse(struct sql_query *query, enum sql_dialect dialect, const char *text, struct buf *why);
void sql_query_free(struct sql_query *query);

/* Adds the query for `key`, which must fit (pattern_fits).  False with `error`. */
bool sql_query_fill(const struct sql_query *query, const char *key, size_t n, const struct sql_driver *driver, void *session,
                    struct buf *out, struct sql_error *error);

/* The strings for query->bound; returns how many. */
unsigned sql_query_strings(const struct sql_query *query, const char *key, size_t n, const char *strings[SQL_BOUND_MAX],
                           size_t lengths[SQL_BOUND_MAX]);

/*
 * Adds what result_format makes of a value: %s %u %d are parts of the value, capitals and digits parts of the key.  If it has a
 * reference %0 to %9 for the relation (written %%1), "%" in values is doubled.  False if value or key lacks the part.
 */
bool sql_format_value(const struct pattern *format, const char *key, size_t key_length, const char *value, size_t n,
                      struct buf *out);

#endif
