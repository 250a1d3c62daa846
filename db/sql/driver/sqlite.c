/*
 * SQLite: the file is opened for reading alone; a file that was replaced is opened again.
 */
#include <stdlib.h>
#include <string.h>

#include <sqlite3.h>

#include "db/sql/driver/host.h"
#include "lib/clock.h"
#include "lib/module.h"

/* The virtual machine looks at the clock after so many steps. */
#define STEPS 10000

static void *connect_file(const struct sql_access *access, const char *host, int64_t deadline, struct sql_error *error)
{
	sqlite3 *db = NULL;

	(void)host;
	(void)deadline;
	if (sqlite3_open_v2(access->dbname, &db, SQLITE_OPEN_READONLY, NULL) == SQLITE_OK)
		return db;
	sql_fail(error, true, "%s: %s", access->dbname, db != NULL ? sqlite3_errmsg(db) : "out of memory");
	sqlite3_close(db);
	return NULL;
}

static long escape(void *session, char *to, const char *from, size_t n, struct sql_error *error)
{
	(void)session;
	(void)error;
	sqlite3_snprintf((int)(2 * n + 1), to, "%.*q", (int)n, from);
	return (long)strlen(to);
}

static int is_late(void *context)
{
	return clock_ms() >= *(const int64_t *)context;
}

static bool has_moved(sqlite3 *db)
{
	int moved = 0;

	return sqlite3_file_control(db, "main", SQLITE_FCNTL_HAS_MOVED, &moved) == SQLITE_OK && moved != 0;
}

static int give_rows(sqlite3_stmt *statement, sql_row *row, void *context)
{
	const int columns = sqlite3_column_count(statement);
	const char **values = calloc((size_t)columns, sizeof *values);
	size_t *lengths = calloc((size_t)columns, sizeof *lengths);
	bool wanted = values != NULL && lengths != NULL;
	int code = wanted ? SQLITE_DONE : SQLITE_NOMEM;

	while (wanted && (code = sqlite3_step(statement)) == SQLITE_ROW) {
		for (int i = 0; i < columns; i++) {
			values[i] = (const char *)sqlite3_column_text(statement, i);
			lengths[i] = (size_t)sqlite3_column_bytes(statement, i);
		}
		wanted = row(context, (unsigned)columns, values, lengths);
	}
	free(values);
	free(lengths);
	return code;
}

static bool query(void *session, const char *text, const int64_t *deadline, sql_row *row, void *context, struct sql_error *error)
{
	sqlite3 *db = session;
	sqlite3_stmt *statement = NULL;
	const char *rest = "";
	int code;

	if (has_moved(db))
		return sql_fail(error, true, "the file was moved or removed");
	sqlite3_busy_timeout(db, clock_poll_timeout(*deadline));
	sqlite3_progress_handler(db, STEPS, is_late, (void *)(uintptr_t)deadline);
	code = sqlite3_prepare_v2(db, text, -1, &statement, &rest);
	if (code == SQLITE_OK && (statement == NULL || sqlite3_column_count(statement) == 0))
		sql_fail(error, false, "the query gives no rows; expected SELECT");
	else if (code == SQLITE_OK && rest[strspn(rest, " \t;")] != '\0')
		sql_fail(error, false, "the query is more than one; expected one SELECT");
	else if (code == SQLITE_OK)
		code = give_rows(statement, row, context);
	if (code == SQLITE_INTERRUPT)
		sql_fail(error, true, "no answer in time");
	else if (code == SQLITE_CANTOPEN || code == SQLITE_NOTADB || code == SQLITE_IOERR || code == SQLITE_BUSY)
		sql_fail(error, true, "%s", sqlite3_errmsg(db));
	else if (code != SQLITE_OK && code != SQLITE_DONE && code != SQLITE_ROW)
		sql_fail(error, false, "%s", sqlite3_errmsg(db));
	sqlite3_finalize(statement);
	sqlite3_progress_handler(db, 0, NULL, NULL);
	return code == SQLITE_DONE || code == SQLITE_ROW;
}

static void close_file(void *session)
{
	sqlite3_close(session);
}

MODULE_EXPORT const struct sql_driver zlmtp_sql_driver = {
	.version = SQL_DRIVER_VERSION, .connect = connect_file, .escape = escape, .query = query, .close = close_file,
};
