/*
 * MySQL and MariaDB, by libmariadb's calls that do not wait: the deadlines are ours.
 */
#include <poll.h>
#include <stdlib.h>
#include <string.h>

#include <mysql.h>

#include "db/sql/driver/host.h"
#include "lib/clock.h"
#include "lib/module.h"

/* So often the library is told that it is late before its session is left as it is. */
#define LATE_TURNS 10

/* Quotes and backslashes mean in every session what the reader of the query takes them for (db/sql/query.c). */
#define INIT_COMMAND "SET SESSION sql_mode=REPLACE(REPLACE(@@SESSION.sql_mode,'NO_BACKSLASH_ESCAPES',''),'ANSI_QUOTES','')"

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

/* Runs a call of the library to its end: `start` and `next` are its two halves, `happened` is what the second one is told. */
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
	return sql_fail(error, code == 0 || (code >= 2000 && code < 3000) || code == 1053 || code == 1927 || code == 3169, "%s", mysql_error(m));
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
	mysql_options(m, MYSQL_SET_CHARSET_NAME, a->charset != NULL ? a->charset : "utf8mb4");
	mysql_options(m, MYSQL_INIT_COMMAND, INIT_COMMAND);
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

static void *connect_server(const struct sql_access *access, const char *host, int64_t deadline, struct sql_error *error)
{
	struct sql_host h;
	MYSQL *m, *connected = NULL;
	const char *name;

	if (!sql_host_parse(&h, host, error))
		return NULL;
	m = mysql_init(NULL);
	if (m == NULL) {
		sql_fail(error, true, "out of memory");
		return NULL;
	}
	set_options(m, access);
	name = h.is_socket ? "localhost" : h.name[0] != '\0' ? h.name : NULL;
	FINISH(m, deadline,
	       mysql_real_connect_start(&connected, m, name, access->user, access->password, access->dbname,
	                                (unsigned)atoi(h.port), h.is_socket ? h.name : NULL, 0),
	       mysql_real_connect_cont(&connected, m, happened));
	/* without a certificate to be verified, libmariadb goes on in clear where the server has no TLS, "enforced" or not */
	if (connected != NULL && (h.is_socket || !wants_tls(access) || mysql_get_ssl_cipher(m) != NULL))
		return m;
	if (connected != NULL)
		sql_fail(error, true, "the server offers no TLS, which the file wants by its settings of TLS");
	else
		fail(m, deadline, error);
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

static bool give_rows(MYSQL *m, MYSQL_RES *result, const int64_t *deadline, sql_row *row, void *context, struct sql_error *error)
{
	const unsigned columns = mysql_num_fields(result);
	size_t *lengths = calloc(columns, sizeof *lengths);
	bool wanted = lengths != NULL, done = false;

	while (lengths != NULL && !done) {
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

static bool query(void *session, const char *text, const int64_t *deadline, sql_row *row, void *context, struct sql_error *error)
{
	MYSQL *m = session;
	MYSQL_RES *result;
	int code = -1;
	bool done;

	FINISH(m, *deadline, mysql_real_query_start(&code, m, text, strlen(text)), mysql_real_query_cont(&code, m, happened));
	if (code != 0)
		return fail(m, *deadline, error);
	result = mysql_use_result(m);
	if (result == NULL)
		return mysql_errno(m) != 0 ? fail(m, *deadline, error) : sql_fail(error, false, "the query gives no rows; expected SELECT");
	done = give_rows(m, result, deadline, row, context, error);
	mysql_free_result(result);
	/* as CALL has them: what follows would be taken for the next answer */
	if (mysql_more_results(m))
		error->is_lost = true;
	return done;
}

static void close_connection(void *session)
{
	mysql_close(session);
}

MODULE_EXPORT const struct sql_driver zlmtp_sql_driver = {
	.version = SQL_DRIVER_VERSION, .connect = connect_server, .escape = escape, .query = query, .close = close_connection,
};
