/*
 * Questions to databases.
 *
 * All maps of a process that want the same access share one connection.  The servers are tried in turn; a connection that is
 * lost is replaced once.  A server that failed is left alone for a while (as long as the attempt took, at least 1 s; then twice
 * as long each time, up to retry_interval), so that a dead server costs one timeout per while and not one per address.
 *
 * A connection that listens (sqlconn_listen) is kept however long it is idle.
 */
#ifndef ZL_DB_SQL_CONN_H
#define ZL_DB_SQL_CONN_H

#include <stdint.h>

#include "db/sql/driver.h"
#include "db/sql/query.h"
#include "lib/buf.h"

struct sqlconn;

/* The connection of this access; it is made by the first query.  Give it back by sqlconn_release(). */
struct sqlconn *sqlconn_get(const char *type, const struct sql_access *access);
void sqlconn_release(struct sqlconn **connection);

struct sql_question {
	const struct sql_query *query;  /* NULL: `text` is asked */
	const char *key;
	size_t key_length;
	const char *text;
	int64_t deadline;               /* clock_ms() */
	int64_t silence;                /* ms: each row puts the deadline off, so far from now; 0: none does */
	sql_row *row;
	void (*restart)(void *context); /* forget the rows so far: the query is asked again */
	void *context;
};

/* True if a server has executed the query and given all rows; else `why` (not yet cleaned). */
bool sqlconn_ask(struct sqlconn *connection, const struct sql_question *question, struct buf *why);

/* From now on each session listens to `channel`, which must live as long, before its first query. */
void sqlconn_listen(struct sqlconn *connection, const char *channel);

/* What a session that listens waits on; -1 if there is none. */
int sqlconn_socket(const struct sqlconn *connection);

/* True if there was a notification, or if one may have been missed because the session is lost. */
bool sqlconn_has_news(struct sqlconn *connection);

#endif
