/*
 * What a database's own part must do: one shared object per database (zlmtp-pgsql.so, zlmtp-mysql.so, zlmtp-sqlite.so), loaded
 * when a map of that type is opened (lib/module).
 * All deadlines are in clock_ms() and hold whatever the server does.
 */
#ifndef ZL_DB_SQL_DRIVER_H
#define ZL_DB_SQL_DRIVER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lib/buf.h"

/* How to reach a database.  Texts are NULL where nothing was said. */
struct sql_access {
	char **hosts;            /* one server each, tried in this order: HOST[:PORT], inet:HOST[:PORT], unix:PATH */
	char *dbname;            /* or the path of the SQLite file */
	char *user;
	char *password;
	char *option_file;       /* of the MySQL client library */
	char *option_group;
	char *tls_key_file;
	char *tls_cert_file;
	char *tls_ca_file;
	char *tls_ca_path;
	char *tls_ciphers;
	bool tls_verify_cert;
	char *sslmode;           /* libpq's */
	long network_timeout;    /* seconds to connect to one server */
	long timeout;            /* seconds for a whole lookup */
	long retry_interval;     /* the longest time that a server which failed is left alone */
	long idle_interval;      /* a connection that was idle for longer is replaced */
};

struct sql_error {
	bool is_lost;            /* the session can only be closed */
	bool is_unprepared;      /* what was prepared is not there any more: query() can still be asked */
	char text[512];
};

/* One row; a value of NULL is SQL's NULL.  False: no more rows are wanted, and what follows is passed over. */
typedef bool sql_row(void *context, unsigned columns, const char *const *values, const size_t *lengths);

#define SQL_DRIVER_VERSION 6

struct sql_driver {
	unsigned version;

	/* A session with one of access->hosts (NULL: the library's default), or NULL with `error`. */
	void *(*connect)(const struct sql_access *access, const char *host, int64_t deadline, struct sql_error *error);

	/*
	 * Writes `n` bytes, escaped by the library for a string of this session, to `to`, which has room for 2n + 1; returns
	 * their number, or -1 with `error`.
	 */
	long (*escape)(void *session, char *to, const char *from, size_t n, struct sql_error *error);

	/*
	 * True if the server has executed the query and given all rows, or as many as were wanted (error->is_lost then, if the
	 * session cannot be used any more); else `error`.  A query without a result set is an error.  `row` may put the
	 * deadline off.
	 */
	bool (*query)(void *session, const char *text, const int64_t *deadline, sql_row *row, void *context,
	              struct sql_error *error);

	/*
	 * True unless what query() has just given may be cut off, or if there were rows, another key's, as this database
	 * compares text with number by those of its bytes that are one; else `error`.  `key` is NULL where none was in the
	 * query.  NULL: this database does neither.
	 */
	bool (*is_certain)(void *session, const char *key, size_t n, bool has_rows, int64_t deadline, struct sql_error *error);

	/*
	 * Prepares a query with ?1, ?2 ... ($1, $2 ... of PostgreSQL) in the places of strings, once for a session, for the
	 * next ask(); false if that cannot be done, which query() may explain, or with error->is_lost.  Both NULL: this
	 * database asks by query() alone.
	 */
	bool (*prepare)(void *session, const char *text, int64_t deadline, struct sql_error *error);

	/* As query(), for what was prepared. */
	bool (*ask)(void *session, const char *const *strings, const size_t *lengths, unsigned count, const int64_t *deadline,
	            sql_row *row, void *context, struct sql_error *error);

	/* Has the session told of notifications on `channel`.  False with `error`.  NULL: this database has none. */
	bool (*listen)(void *session, const char *channel, int64_t deadline, struct sql_error *error);

	/* What a session that listens waits on. */
	int (*socket)(void *session);

	/*
	 * Takes in what has come and never waits; *notified: there was a notification.  False with `error` if the session is
	 * lost.
	 */
	bool (*take_news)(void *session, bool *notified, struct sql_error *error);

	void (*close)(void *session);
};

/* What each shared object exports under the name "zlmtp_sql_driver". */
extern const struct sql_driver zlmtp_sql_driver;

/* The driver of "pgsql", "mysql" or "sqlite", loaded once.  NULL with `why`. */
const struct sql_driver *driver_load(const char *type, struct buf *why);

#endif
