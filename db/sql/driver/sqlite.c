/*
 * SQLite: the file is opened for reading alone; a file that was written or replaced is opened again.
 */
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#include <sqlite3.h>

#include "db/sql/driver/host.h"
#include "lib/clock.h"
#include "lib/file.h"
#include "lib/module.h"

/* The virtual machine looks at the clock after so many steps. */
#define STEPS 10000

/* A file that was written just now may be written again without a later time. */
#define SETTLED_MS 100

struct session {
	sqlite3 *db;
	const char *path;        /* of the sql_access, which outlives it */
	struct stat file;        /* as it was before it was opened */
	bool is_settled;         /* it had not just been written then */
	bool is_spent;           /* else it is good for one answer */
	sqlite3_stmt *kept;      /* what was prepared last, */
	char *text;              /* of this text */
};

/* The library would wait for ever for the other end of a pipe.  What is not there is its own to complain about. */
static bool is_file(const char *path, const char *suffix, struct sql_error *error)
{
	char *whole = sqlite3_mprintf("%s%s", path, suffix);
	struct stat st;
	bool ok = whole == NULL || stat(whole, &st) < 0 || S_ISREG(st.st_mode);

	if (!ok)
		sql_fail(error, true, "%s: not a regular file", whole);
	sqlite3_free(whole);
	return ok;
}

static void *connect_file(const struct sql_access *access, const char *host, int64_t deadline, struct sql_error *error)
{
	struct session *s = calloc(1, sizeof *s);

	(void)host;
	(void)deadline;
	if (!is_file(access->dbname, "", error) || !is_file(access->dbname, "-journal", error) ||
	    !is_file(access->dbname, "-wal", error)) {
		free(s);
		return NULL;
	}
	if (s != NULL) {
		struct timespec now;

		s->path = access->dbname;
		clock_gettime(CLOCK_REALTIME, &now);
		s->is_settled = stat(s->path, &s->file) == 0 &&
			(now.tv_sec - s->file.st_ctim.tv_sec) * 1000 + (now.tv_nsec - s->file.st_ctim.tv_nsec) / 1000000 > SETTLED_MS;
		if (sqlite3_open_v2(s->path, &s->db, SQLITE_OPEN_READONLY, NULL) == SQLITE_OK)
			return s;
	}
	sql_fail(error, true, "%s: %s", access->dbname, s != NULL && s->db != NULL ? sqlite3_errmsg(s->db) : "out of memory");
	if (s != NULL)
		sqlite3_close(s->db);
	free(s);
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

/*
 * False if the file ends within a page, as one that is still being copied: the library takes what is missing there for zeros,
 * and finds nothing in them.  Files that lack whole pages it calls malformed itself.
 */
static bool is_whole(sqlite3 *db, struct sql_error *error)
{
	sqlite3_file *file = NULL;
	sqlite3_int64 size = 0;
	unsigned char head[18];
	unsigned page;

	if (sqlite3_file_control(db, "main", SQLITE_FCNTL_FILE_POINTER, &file) != SQLITE_OK || file == NULL ||
	    file->pMethods == NULL || file->pMethods->xFileSize(file, &size) != SQLITE_OK)
		return sql_fail(error, true, "the size of the file cannot be read");
	/* a database without a table */
	if (size == 0)
		return true;
	if (file->pMethods->xRead(file, head, sizeof head, 0) == SQLITE_OK) {
		if (memcmp(head, "SQLite format 3", 16) != 0)
			return sql_fail(error, true, "the file is not a database of SQLite");
		page = (unsigned)head[16] << 8 | head[17];
		page = page == 1 ? 65536 : page;
		if (page != 0 && size % page == 0)
			return true;
	}
	return sql_fail(error, true, "the file ends within a page: it is still being copied, or was cut off");
}

/*
 * The library goes on with the pages that it has as long as a counter in the file is the same, as it is in two files that were
 * made in the same way; and it does not see that a link leads elsewhere.
 */
static bool is_usable(const struct session *s, struct sql_error *error)
{
	struct stat now;

	if (s->is_spent || stat(s->path, &now) < 0 || !file_is_unchanged(&now, &s->file))
		return sql_fail(error, true, "the file was written, moved or removed");
	return is_whole(s->db, error);
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

/* Runs a statement; `code` is what its preparation came to.  False with `error`. */
static bool run(struct session *s, sqlite3_stmt *statement, int code, const int64_t *deadline, sql_row *row, void *context,
                struct sql_error *error)
{
	sqlite3 *db = s->db;

	sqlite3_busy_timeout(db, clock_poll_timeout(*deadline));
	sqlite3_progress_handler(db, STEPS, is_late, (void *)(uintptr_t)deadline);
	if (code == SQLITE_OK)
		code = give_rows(statement, row, context);
	if (code == SQLITE_INTERRUPT)
		sql_fail(error, true, "no answer in time");
	else if (code == SQLITE_CANTOPEN || code == SQLITE_NOTADB || code == SQLITE_IOERR || code == SQLITE_BUSY ||
	         code == SQLITE_CORRUPT)
		sql_fail(error, true, "%s", sqlite3_errmsg(db));
	else if (code != SQLITE_OK && code != SQLITE_DONE && code != SQLITE_ROW)
		sql_fail(error, false, "%s", sqlite3_errmsg(db));
	sqlite3_progress_handler(db, 0, NULL, NULL);
	s->is_spent = !s->is_settled;
	return (code == SQLITE_DONE || code == SQLITE_ROW) && is_whole(db, error);
}

static bool query(void *session, const char *text, const int64_t *deadline, sql_row *row, void *context,
                  struct sql_error *error)
{
	struct session *s = session;
	sqlite3_stmt *statement = NULL;
	const char *rest = "";
	bool done = false;
	int code;

	if (!is_usable(s, error))
		return false;
	sqlite3_busy_timeout(s->db, clock_poll_timeout(*deadline));
	code = sqlite3_prepare_v2(s->db, text, -1, &statement, &rest);
	if (code == SQLITE_OK && (statement == NULL || sqlite3_column_count(statement) == 0))
		sql_fail(error, false, "the query gives no rows; expected SELECT");
	else if (code == SQLITE_OK && rest[strspn(rest, " \t;")] != '\0')
		sql_fail(error, false, "the query is more than one; expected one SELECT");
	else
		done = run(s, statement, code, deadline, row, context, error);
	sqlite3_finalize(statement);
	return done;
}

static void forget_prepared(struct session *s)
{
	sqlite3_finalize(s->kept);
	free(s->text);
	s->kept = NULL;
	s->text = NULL;
}

static bool prepare(void *session, const char *text, int64_t deadline, struct sql_error *error)
{
	struct session *s = session;
	const char *rest = "";

	(void)deadline;
	(void)error;
	if (s->text != NULL && strcmp(s->text, text) == 0)
		return s->kept != NULL;
	forget_prepared(s);
	/* a text that cannot be prepared is not tried each time */
	s->text = strdup(text);
	if (sqlite3_prepare_v3(s->db, text, -1, SQLITE_PREPARE_PERSISTENT, &s->kept, &rest) != SQLITE_OK || s->kept == NULL ||
	    sqlite3_column_count(s->kept) == 0 || rest[strspn(rest, " \t;")] != '\0') {
		sqlite3_finalize(s->kept);
		s->kept = NULL;
	}
	return s->kept != NULL;
}

static bool ask(void *session, const char *const *strings, const size_t *lengths, unsigned count, const int64_t *deadline,
                sql_row *row, void *context, struct sql_error *error)
{
	struct session *s = session;
	int code = SQLITE_OK;
	bool done;

	if (!is_usable(s, error))
		return false;
	for (unsigned i = 0; i < count && code == SQLITE_OK; i++)
		code = sqlite3_bind_text(s->kept, (int)i + 1, strings[i], (int)lengths[i], SQLITE_STATIC);
	done = run(s, s->kept, code, deadline, row, context, error);
	sqlite3_reset(s->kept);
	sqlite3_clear_bindings(s->kept);
	if (!done)
		forget_prepared(s);
	return done;
}

static void close_file(void *session)
{
	struct session *s = session;

	forget_prepared(s);
	sqlite3_close(s->db);
	free(s);
}

MODULE_EXPORT const struct sql_driver zlmtp_sql_driver = {
	.version = SQL_DRIVER_VERSION, .connect = connect_file, .escape = escape, .query = query,
	.prepare = prepare, .ask = ask, .close = close_file,
};
