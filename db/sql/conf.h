/*
 * The file of an SQL map: that of Postfix's pgsql_table(5), mysql_table(5) and sqlite_table(5), described in sql_map(5).
 */
#ifndef ZL_DB_SQL_CONF_H
#define ZL_DB_SQL_CONF_H

#include "db/sql/driver.h"
#include "db/sql/query.h"
#include "lib/buf.h"
#include "lib/pattern.h"
#include "lib/settings.h"

struct sqlconf {
	enum sql_dialect dialect;
	struct sql_access access;
	struct sql_query query;
	struct pattern result_format;
	unsigned long expansion_limit;    /* results of a lookup; 0: none */
	char **domains;                   /* of the keys that are looked up at all; NULL: any */
};

/* The dialect of map type `type`: "pgsql", "mysql" or "sqlite". */
enum sql_dialect sql_dialect_of(const char *type);

/*
 * Reads `path`.  0, or EX_NOINPUT (unreadable) or EX_CONFIG with `why` naming file and line.  Free by sqlconf_free() in either
 * case.
 */
int sqlconf_read(struct sqlconf *conf, const char *type, const char *path, struct buf *why);

/* The same from `n` bytes of text, and `path` is only named; without text from the file. */
int sqlconf_parse(struct sqlconf *conf, const char *type, const char *path, const char *text, size_t n, struct buf *why);

void sqlconf_free(struct sqlconf *conf);

/* True if the lookup of `key` can find anything: right domain, all parts that the query wants. */
bool sqlconf_fits(const struct sqlconf *conf, const char *key, size_t n);

/* The value of result_format, also of sqlsync; NULL: %s.  What *format was is freed. */
int sqlconf_take_format(struct pattern *format, const struct setting *s, struct buf *why);

#endif
