/*
 * The configuration of sqlsync (sqlsync(8)): how to reach the database, what it is asked, which map to keep.
 */
#ifndef ZL_DB_SYNC_SQLSOURCE_H
#define ZL_DB_SYNC_SQLSOURCE_H

#include <stddef.h>

#include "db/sql/driver.h"
#include "db/sync/mapsetting.h"
#include "lib/buf.h"
#include "lib/pattern.h"

struct sqlsource {
	char *database;                /* "pgsql", "mysql" or "sqlite" */
	struct sql_access access;      /* its timeout is how long no row may come */
	char *query;
	struct pattern result_format;
	char *channel;                 /* of PostgreSQL's notifications; NULL: none */
	long interval;                 /* seconds between two comparisons */
	struct mapsetting map;
};

/* 0, or EX_NOINPUT (unreadable) or EX_CONFIG with `why` naming file and line.  Free by sqlsource_free() in either case. */
int sqlsource_read(struct sqlsource *source, const char *path, struct buf *why);

/* The same from `n` bytes of text, and `path` is only named; without text from the file. */
int sqlsource_parse(struct sqlsource *source, const char *path, const char *text, size_t n, struct buf *why);

void sqlsource_free(struct sqlsource *source);

#endif
