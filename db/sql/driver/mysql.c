/*
 * MySQL and MariaDB, by libmariadb's calls that do not wait: the deadlines are ours.
 */
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <mysql.h>

#include "db/sql/driver/host.h"
#include "lib/alloc.h"
#include "lib/clock.h"
#include "lib/module.h"

/* So often the library hears that it is late before its session is left as it is. */
#define LATE_TURNS 10

/* What keys are. */
#define CHARSET "utf8mb4"

#define USUAL_PORT "3306"

/* So many warnings of a query a server can remember; what an answer is not to be believed for may be the last of them. */
#define WARNINGS 65535

/* Waits for what the library wants; what has happened, MYSQL_WAIT_TIMEOUT at the deadline. */
static int wait_for(MYSQL *m, int wanted, int64_t deadline)
{
	struct pollfd p = { .fd = mysql_get_socket(m) };
	int64_t until = deadline;
	int happened = 0;

	if ((wanted & MYSQL_WAIT_TIMEOUT) != 0 && clock_ms() + mysql_get_timeout_value_ms(m) < until)
		until = clock_ms() + mysql_get_timeout_value_ms(m);
	p.events = (short)(((wanted & MYSQL_WAIT_READ) != 0 ? POLLIN : 0) | ((wanted & MYSQL_WAIT_WRITE) != 0 ? POLLOUT : 0)
	                   | ((wanted & MYSQL_WAIT_EXCEPT) != 0 ? POLLPRI : 0));
	if (poll(&p, 1, clock_poll_timeout(until)) <= 0)
		return clock_ms() >= until ? MYSQL_WAIT_TIMEOUT : 0;
	if ((p.revents & (POLLIN | POLLHUP | POLLERR)) != 0)
		happened |= MYSQL_WAIT_READ & wanted;
	if ((p.revents & (POLLOUT | POLLHUP | POLLERR)) != 0)
		happened |= MYSQL_WAIT_WRITE & wanted;
	if ((p.revents & POLLPRI) != 0)
		happened |= MYSQL_WAIT_EXCEPT & wanted;
	return happened;
}

/* Runs a call of the library to its end: `start` and `next` are its two halves, `happened` is what the second one is given. */
#define FINISH(m, deadline, start, next) do { \
	int late_ = 0, status_ = (start); \
	while (status_ != 0 && late_ < LATE_TURNS) { \
		int happened = wait_for((m), status_, (deadline)); \
		late_ += clock_ms() >= (deadline); \
		status_ = (next); \
	} \
} while (0)

static bool fail(MYSQL *m, int64_t deadline, struct sql_error *error)
{
	const unsigned code = mysql_errno(m);

	if (clock_ms() >= deadline)
		return sql_fail(error, true, "no answer in time");
	/* 2000 to 2999 are faults of the connection; 1053, 1927 and 3169 say that the server ends it */
	return sql_fail(error, code == 0 || (code >= 2000 && code < 3000) || code == 1053 || code == 1927 || code == 3169, "%s",
	                mysql_error(m));
}

static bool wants_tls(const struct sql_access *a)
{
	return a->tls_key_file != NULL || a->tls_cert_file != NULL || a->tls_ca_file != NULL || a->tls_ca_path != NULL ||
	       a->tls_ciphers != NULL || a->tls_verify_cert;
}

static void set_options(MYSQL *m, const struct sql_access *a)
{
	const unsigned seconds = (unsigned)a->network_timeout, none = 0;
	const my_bool yes = 1, verify = a->tls_verify_cert;

	mysql_options(m, MYSQL_OPT_NONBLOCK, 0);
	mysql_options(m, MYSQL_OPT_CONNECT_TIMEOUT, &seconds);
	mysql_options(m, MYSQL_OPT_WRITE_TIMEOUT, &seconds);
	mysql_options(m, MYSQL_OPT_LOCAL_INFILE, &none);
	mysql_options(m, MYSQL_SET_CHARSET_NAME, CHARSET);
	if (a->option_file != NULL)
		mysql_options(m, MYSQL_READ_DEFAULT_FILE, a->option_file);
	if (a->option_group != NULL)
		mysql_options(m, MYSQL_READ_DEFAULT_GROUP, a->option_group);
	if (wants_tls(a)) {
		mysql_ssl_set(m, a->tls_key_file, a->tls_cert_file, a->tls_ca_file, a->tls_ca_path, a->tls_ciphers);
		mysql_options(m, MYSQL_OPT_SSL_ENFORCE, &yes);
		mysql_options(m, MYSQL_OPT_SSL_VERIFY_SERVER_CERT, &verify);
	}
}

/* Sends a query and waits until the server has begun to answer. */
static bool send_query(MYSQL *m, const char *text, int64_t deadline, struct sql_error *error)
{
	int code = -1;

	FINISH(m, deadline, mysql_real_query_start(&code, m, text, strlen(text)), mysql_real_query_cont(&code, m, happened));
	return code == 0 || fail(m, deadline, error);
}

static bool query(void *session, const char *text, const int64_t *deadline, sql_row *row, void *context,
                  struct sql_error *error);

/* Modes by which quotes or backslashes mean something else, and those that stand for several, with one of these among them. */
static bool is_unwanted(const char *mode, size_t n)
{
	static const char *const modes[] = {
		"ANSI_QUOTES", "NO_BACKSLASH_ESCAPES", "ANSI", "ORACLE", "MSSQL", "DB2", "MAXDB", "POSTGRESQL",
	};

	for (size_t i = 0; i < sizeof modes / sizeof modes[0]; i++)
		if (strlen(modes[i]) == n && strncmp(modes[i], mode, n) == 0)
			return true;
	return false;
}

struct modes {
	char wanted[1024];      /* those of the session, without the unwanted */
	bool are_wanted;        /* there were no others, the server remembers all warnings and gives all rows */
};

static bool take_modes(void *context, unsigned columns, const char *const *values, const size_t *lengths)
{
	struct modes *modes = context;
	const char *mode = columns == 3 && values[0] != NULL ? values[0] : "";
	size_t at = 0;

	/* sql_select_limit is 4294967295 at least where none was set */
	modes->are_wanted = columns == 3 && values[0] != NULL && values[1] != NULL && atol(values[1]) == WARNINGS
		&& values[2] != NULL && lengths[2] >= 10;
	for (size_t n; *mode != '\0'; mode += n + (mode[n] == ',')) {
		n = strcspn(mode, ",");
		if (is_unwanted(mode, n)) {
			modes->are_wanted = false;
		} else if (at + n + 2 < sizeof modes->wanted) {
			if (at > 0)
				modes->wanted[at++] = ',';
			memcpy(modes->wanted + at, mode, n);
			at += n;
		}
	}
	modes->wanted[at] = '\0';
	return true;
}

static bool has_wanted_modes(MYSQL *m, struct modes *modes, int64_t deadline, struct sql_error *error)
{
	static const char text[] = "SELECT @@SESSION.sql_mode, @@SESSION.max_error_count, @@SESSION.sql_select_limit";

	*modes = (struct modes){ 0 };
	return query(m, text, &deadline, take_modes, modes, error) && modes->are_wanted;
}

/*
 * Has quotes and backslashes mean what the reader of the query takes them for (db/sql/query.c), and the bytes of a key what the
 * library takes them for when it escapes them, all rows and warnings come, and each query sees what is committed when it
 * begins, not more and not what was there before, whatever server and option file have set for new sessions.
 */
static bool settle_session(MYSQL *m, int64_t deadline, struct sql_error *error)
{
	const my_bool no = 0;
	struct modes modes;
	char text[sizeof modes.wanted + 120];
	int code = -1;

	/* an option file may want it; what is settled here would be lost in silence */
	mysql_options(m, MYSQL_OPT_RECONNECT, &no);
	FINISH(m, deadline, mysql_set_character_set_start(&code, m, CHARSET), mysql_set_character_set_cont(&code, m, happened));
	if (code != 0)
		return fail(m, deadline, error);
	snprintf(text, sizeof text, "SET SESSION autocommit=1, SESSION sql_select_limit=18446744073709551615, SESSION max_error_count=%d", WARNINGS);
	if (!send_query(m, text, deadline, error) ||
	    !send_query(m, "SET SESSION TRANSACTION ISOLATION LEVEL REPEATABLE READ", deadline, error))
		return false;
	if (has_wanted_modes(m, &modes, deadline, error))
		return true;
	if (error->text[0] != '\0')
		return false;
	snprintf(text, sizeof text, "SET SESSION sql_mode='%s'", modes.wanted);
	if (!send_query(m, text, deadline, error))
		return false;
	if (has_wanted_modes(m, &modes, deadline, error))
		return true;
	return error->text[0] == '\0'
		&& sql_fail(error, true, "the server keeps a sql_mode in which quotes mean something else, or its sql_select_limit");
}

static void *connect_server(const struct sql_access *access, const char *host, int64_t deadline, struct sql_error *error)
{
	struct sql_host h;
	MYSQL *m, *connected = NULL;
	const unsigned tcp = MYSQL_PROTOCOL_TCP;
	const char *name;

	if (!sql_host_parse(&h, host, error))
		return NULL;
	m = mysql_init(NULL);
	if (m == NULL) {
		sql_fail(error, true, "out of memory");
		return NULL;
	}
	set_options(m, access);
	/* it would take "localhost" for its usual socket, behind which another server may be than at this port */
	if (!h.is_socket && h.port[0] != '\0' && strcmp(h.port, USUAL_PORT) != 0)
		mysql_options(m, MYSQL_OPT_PROTOCOL, &tcp);
	name = h.is_socket ? "localhost" : h.name[0] != '\0' ? h.name : NULL;
	FINISH(m, deadline,
	       mysql_real_connect_start(&connected, m, name, access->user, access->password, access->dbname,
	                                (unsigned)atoi(h.port), h.is_socket ? h.name : NULL, 0),
	       mysql_real_connect_cont(&connected, m, happened));
	if (connected == NULL)
		fail(m, deadline, error);
	/* without a certificate to be verified, libmariadb goes on in clear where the server has no TLS, "enforced" or not */
	else if (!h.is_socket && wants_tls(access) && mysql_get_ssl_cipher(m) == NULL)
		sql_fail(error, true, "the server offers no TLS, which the TLS settings of this file require");
	else if (settle_session(m, deadline, error))
		return m;
	error->is_lost = true;
	mysql_close(m);
	return NULL;
}

static long escape(void *session, char *to, const char *from, size_t n, struct sql_error *error)
{
	const unsigned long length = mysql_real_escape_string(session, to, from, n);

	if (length == (unsigned long)-1)
		sql_fail(error, false, "the key cannot be escaped: %s", mysql_error(session));
	return length == (unsigned long)-1 ? -1 : (long)length;
}

static bool give_rows(MYSQL *m, MYSQL_RES *result, const int64_t *deadline, sql_row *row, void *context,
                      struct sql_error *error)
{
	const unsigned columns = mysql_num_fields(result);
	size_t *lengths = xcalloc(columns, sizeof *lengths);
	bool wanted = true, done = false;

	while (!done) {
		MYSQL_ROW values = NULL;

		FINISH(m, *deadline, mysql_fetch_row_start(&values, result), mysql_fetch_row_cont(&values, result, happened));
		if (values == NULL && mysql_errno(m) == 0 && clock_ms() < *deadline) {
			done = true;
		} else if (values == NULL) {
			fail(m, *deadline, error);
			break;
		} else if (wanted) {
			const unsigned long *n = mysql_fetch_lengths(result);

			for (unsigned i = 0; i < columns; i++)
				lengths[i] = n[i];
			wanted = row(context, columns, (const char *const *)values, lengths);
		}
	}
	free(lengths);
	/* the caller has had what it wanted */
	return done || !wanted;
}

static bool query(void *session, const char *text, const int64_t *deadline, sql_row *row, void *context,
                  struct sql_error *error)
{
	MYSQL *m = session;
	MYSQL_RES *result;
	bool done;

	if (!send_query(m, text, *deadline, error))
		return false;
	result = mysql_use_result(m);
	if (result == NULL)
		return mysql_errno(m) != 0 ? fail(m, *deadline, error) : sql_fail(error, false,
		                                                                  "the query gives no rows; expected SELECT");
	done = give_rows(m, result, deadline, row, context, error);
	mysql_free_result(result);
	/* as CALL has them: what follows would be taken for the next answer */
	if (mysql_more_results(m))
		error->is_lost = true;
	return done;
}

struct doubt {
	const char *key;        /* NULL: it does not matter */
	size_t length;
	struct sql_error *error;
};

/* True if the key was taken for a number.  The message may be translated, but not the types. */
static bool is_about_key(const struct doubt *d, const char *text)
{
	const char *value = strchr(text, '\''), *end = strrchr(text, '\'');
	const size_t n = value != end ? (size_t)(end - value) - 1 : 0;

	if (d->key == NULL || (strstr(text, "DECIMAL") == NULL && strstr(text, "DOUBLE") == NULL &&
	                       strstr(text, "INTEGER") == NULL))
		return false;
	/* else it may be a value in the table; what is long is cut, and what is no ASCII written otherwise */
	return d->length >= 100 || n == 0 || strchr(text, '\\') != NULL || memmem(d->key, d->length, value + 1, n) != NULL;
}

/* A row of SHOW WARNINGS: level, code, message. */
static bool take_warning(void *context, unsigned columns, const char *const *values, const size_t *lengths)
{
	struct doubt *d = context;
	const int code = columns == 3 && values[1] != NULL && values[2] != NULL ? atoi(values[1]) : 0;

	(void)lengths;
	if (code == 1260)
		return sql_fail(d->error, false, "a value was cut off (%s); raise group_concat_max_len", values[2]);
	if (code == 1931)
		return sql_fail(d->error, false, "the answer may be cut off (%s)", values[2]);
	if (code == 1292 && is_about_key(d, values[2]))
		return sql_fail(d->error, false,
		                "a key was compared with a number (%s); in the query, write CAST(COLUMN AS CHAR) = '%%s'",
		                values[2]);
	return true;
}

static bool is_certain(void *session, const char *key, size_t n, bool has_rows, int64_t deadline, struct sql_error *error)
{
	struct doubt doubt = { .key = has_rows ? key : NULL, .length = n, .error = error };
	const unsigned count = mysql_warning_count(session);

	if (count >= WARNINGS)
		return sql_fail(error, false, "the server counts more warnings of this query than it lists; run the query by hand, then SHOW WARNINGS");
	return count == 0 || (query(session, "SHOW WARNINGS", &deadline, take_warning, &doubt, error) &&
	                      error->text[0] == '\0');
}

static void close_connection(void *session)
{
	mysql_close(session);
}

MODULE_EXPORT const struct sql_driver zlmtp_sql_driver = {
	.version = SQL_DRIVER_VERSION, .connect = connect_server, .escape = escape, .query = query, .is_certain = is_certain,
	.close = close_connection,
};
