/*
 * PostgreSQL, by libpq's calls that do not wait: the deadlines are ours.
 */
#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <libpq-fe.h>

#include "db/sql/driver/host.h"
#include "lib/alloc.h"
#include "lib/clock.h"
#include "lib/hash.h"
#include "lib/module.h"
#include "lib/text.h"

extern char **environ;

/* Queries that are kept prepared in one session; more are asked as text. */
#define STATEMENTS 16

struct statement {
	char *text;
	char name[24];
	bool is_usable;
};

struct session {
	PGconn *c;
	struct statement statements[STATEMENTS];
	unsigned count;
	struct statement *current;              /* that ask() is about */
};

static bool wait_for(PGconn *c, short events, int64_t deadline)
{
	struct pollfd p = { .fd = PQsocket(c), .events = events };

	/* a signal is no reason: the caller looks again */
	return clock_ms() < deadline && (poll(&p, 1, clock_poll_timeout(deadline)) != 0 || clock_ms() < deadline);
}

/* libpq takes what is not given from PGHOST and its kin; the file alone counts. */
static void forget_environment(void)
{
	for (size_t i = 0; environ != NULL && environ[i] != NULL;) {
		char name[64];
		size_t n = strcspn(environ[i], "=");

		i++;
		if (strncmp(environ[i - 1], "PG", 2) != 0 || n >= sizeof name)
			continue;
		memcpy(name, environ[i - 1], n);
		name[n] = '\0';
		unsetenv(name);
		i = 0;
	}
}

static bool parse_host(const char *host, struct sql_host *h, struct sql_error *error)
{
	static const char prefix[] = "/.s.PGSQL.";
	char *p;

	PQconninfoOption *options;

	if (host != NULL && strstr(host, "://") != NULL) {
		options = PQconninfoParse(host, NULL);
		PQconninfoFree(options);
		/* libpq's own words have the URI in them, and the password in it */
		return options != NULL || sql_fail(error, true, "no URI as libpq reads them");
	}
	if (!sql_host_parse(h, host, error))
		return false;
	/* the directory and the port of a socket that is named as a file, /run/postgresql/.s.PGSQL.5432; libpq wants them so */
	p = h->is_socket ? strstr(h->name, prefix) : NULL;
	if (p != NULL && strlen(p + sizeof prefix - 1) < sizeof h->port) {
		strcpy(h->port, p + sizeof prefix - 1);
		*p = '\0';
	}
	return true;
}

static PGconn *start(const struct sql_access *a, const char *host, const struct sql_host *h)
{
	const bool is_uri = host != NULL && strstr(host, "://") != NULL;
	const char *names[16], *values[16];
	const char *const all[][2] = {
		{ "dbname", a->dbname }, { "user", a->user }, { "password", a->password }, { "sslmode", a->sslmode },
		{ "sslrootcert", a->tls_ca_file }, { "sslcert", a->tls_cert_file }, { "sslkey", a->tls_key_file },
		{ "application_name", "zlmtp" },
		{ "host", is_uri || h->name[0] == '\0' ? NULL : h->name },
		{ "port", is_uri || h->port[0] == '\0' ? NULL : h->port },
		/* what is behind it holds, whatever a URI says */
		{ "dbname", is_uri ? host : NULL }, { "client_encoding", "UTF8" },
	};
	size_t n = 0;

	for (size_t i = 0; i < sizeof all / sizeof all[0]; i++) {
		if (all[i][1] == NULL || (is_uri && i == 0))
			continue;
		names[n] = all[i][0];
		values[n++] = all[i][1];
	}
	names[n] = values[n] = NULL;
	forget_environment();
	return PQconnectStartParams(names, values, 1);
}

static bool fail(PGconn *c, int64_t deadline, struct sql_error *error)
{
	const char *text = PQerrorMessage(c);

	if (clock_ms() >= deadline)
		return sql_fail(error, true, "no answer in time");
	return sql_fail(error, PQstatus(c) != CONNECTION_OK, "%s", text[0] != '\0' ? text : "the connection is lost");
}

static bool ignore_row(void *context, unsigned columns, const char *const *values, const size_t *lengths)
{
	(void)context;
	(void)columns;
	(void)values;
	(void)lengths;
	return true;
}

static bool ask_text(PGconn *c, const char *text, const int64_t *deadline, sql_row *row, void *context,
                     struct sql_error *error);

/* RAISE NOTICE and the like: libpq's own way is to print them to standard error as they come. */
static void ignore_notice(void *context, const PGresult *result)
{
	(void)context;
	(void)result;
}

static void *connect_server(const struct sql_access *access, const char *host, int64_t deadline, struct sql_error *error)
{
	PostgresPollingStatusType status = PGRES_POLLING_WRITING;
	struct sql_host h = { .name = "" };
	struct session *s;
	PGconn *c;

	if (!parse_host(host, &h, error))
		return NULL;
	c = start(access, host, &h);
	if (c == NULL) {
		sql_fail(error, true, "out of memory");
		return NULL;
	}
	PQsetNoticeReceiver(c, ignore_notice, NULL);
	while (PQstatus(c) != CONNECTION_BAD && (status == PGRES_POLLING_READING || status == PGRES_POLLING_WRITING)
		&& wait_for(c, status == PGRES_POLLING_READING ? POLLIN : POLLOUT, deadline))
		status = PQconnectPoll(c);
	if (status != PGRES_POLLING_OK || PQstatus(c) != CONNECTION_OK) {
		fail(c, deadline, error);
	} else {
		const char *conforming = PQparameterStatus(c, "standard_conforming_strings");

		PQsetnonblocking(c, 1);
		/*
		 * Backslashes mean what the reader of the query takes them for (db/sql/query.c).  With a stricter isolation a
		 * query that has waited for the lock of a table that was truncated and filled again sees it empty: its snapshot
		 * is older than the lock.
		 */
		if ((conforming == NULL || strcmp(conforming, "on") == 0
		     || ask_text(c, "SELECT set_config('standard_conforming_strings','on',false)", &deadline, ignore_row, NULL,
		                 error))
		    && ask_text(c, "SELECT set_config('default_transaction_isolation','read committed',false)", &deadline,
		                ignore_row, NULL, error)) {
			s = xcalloc(1, sizeof *s);
			s->c = c;
			return s;
		}
	}
	error->is_lost = true;
	PQfinish(c);
	return NULL;
}

static long escape(void *session, char *to, const char *from, size_t n, struct sql_error *error)
{
	PGconn *c = ((struct session *)session)->c;
	int fault = 0;
	const size_t length = PQescapeStringConn(c, to, from, n, &fault);

	if (fault != 0)
		sql_fail(error, false, "the key cannot be escaped: %s", PQerrorMessage(c));
	return fault != 0 ? -1 : (long)length;
}

static bool give_row(const PGresult *result, sql_row *row, void *context)
{
	const int columns = PQnfields(result);
	const char **values = xcalloc((size_t)columns + 1, sizeof *values);
	size_t *lengths = xcalloc((size_t)columns + 1, sizeof *lengths);
	bool wanted;

	for (int i = 0; i < columns; i++) {
		values[i] = PQgetisnull(result, 0, i) ? NULL : PQgetvalue(result, 0, i);
		lengths[i] = (size_t)PQgetlength(result, 0, i);
	}
	wanted = row(context, (unsigned)columns, values, lengths);
	free(values);
	free(lengths);
	return wanted;
}

/* Sends all of the query and reads until a result is there; false at the deadline or if the connection is lost. */
static bool has_result(PGconn *c, int64_t deadline)
{
	for (;;) {
		const int unsent = PQflush(c);

		if (unsent < 0)
			return false;
		if (unsent == 0 && !PQisBusy(c))
			return true;
		if (!wait_for(c, (short)(POLLIN | (unsent > 0 ? POLLOUT : 0)), deadline) || !PQconsumeInput(c))
			return false;
	}
}

/* What comes after a query was sent. */
static bool take_rows(PGconn *c, const int64_t *deadline, sql_row *row, void *context, struct sql_error *error)
{
	bool wanted = true, done = false, failed = false;
	const char *code;

	for (;;) {
		PGresult *result;

		if (!has_result(c, *deadline)) {
			failed = !fail(c, *deadline, error);
			error->is_lost = true;
			break;
		}
		result = PQgetResult(c);
		if (result == NULL)
			break;
		switch (PQresultStatus(result)) {
		case PGRES_SINGLE_TUPLE:
			wanted = wanted && give_row(result, row, context);
			break;
		case PGRES_TUPLES_OK:
			done = true;
			break;
		case PGRES_COMMAND_OK:
		case PGRES_EMPTY_QUERY:
			failed = !sql_fail(error, false, "the query gives no rows; expected SELECT");
			break;
		case PGRES_COPY_OUT:
		case PGRES_COPY_IN:
		case PGRES_COPY_BOTH:
			/* the same comes again and again */
			PQclear(result);
			return sql_fail(error, true, "the query gives no rows; expected SELECT");
		default:
			failed = !sql_fail(error, PQstatus(c) != CONNECTION_OK, "%s", PQresultErrorMessage(result));
			/* not there any more, with other tables, or of a kind without parameters */
			code = PQresultErrorField(result, PG_DIAG_SQLSTATE);
			error->is_unprepared = code != NULL && (strcmp(code, "26000") == 0 || strcmp(code, "0A000") == 0 ||
			                                        strcmp(code, "08P01") == 0);
		}
		PQclear(result);
	}
	if (!wanted)
		return true;
	if (!done && !failed)
		sql_fail(error, true, "the connection is lost");
	return done && !failed;
}

static bool ask_text(PGconn *c, const char *text, const int64_t *deadline, sql_row *row, void *context, struct sql_error *error)
{
	/* with parameters, of which there are none: so it cannot be two queries */
	if (!PQsendQueryParams(c, text, 0, NULL, NULL, NULL, NULL, 0) || !PQsetSingleRowMode(c))
		return fail(c, *deadline, error);
	return take_rows(c, deadline, row, context, error);
}

static bool query(void *session, const char *text, const int64_t *deadline, sql_row *row, void *context,
                  struct sql_error *error)
{
	return ask_text(((struct session *)session)->c, text, deadline, row, context, error);
}

/* Takes the answer to what gives no rows; NULL at the deadline or if the connection is lost. */
static PGresult *take_result(PGconn *c, int64_t deadline)
{
	PGresult *first = has_result(c, deadline) ? PQgetResult(c) : NULL;

	for (PGresult *next = first; next != NULL;) {
		if (!has_result(c, deadline)) {
			PQclear(first);
			return NULL;
		}
		next = PQgetResult(c);
		PQclear(next);
	}
	return first;
}

static bool prepare(void *session, const char *text, int64_t deadline, struct sql_error *error)
{
	struct session *s = session;
	struct statement *new = &s->statements[s->count];
	const char *code;
	PGresult *result;

	for (unsigned i = 0; i < s->count; i++) {
		if (strcmp(s->statements[i].text, text) == 0) {
			s->current = &s->statements[i];
			return s->current->is_usable;
		}
	}
	if (s->count == STATEMENTS)
		return false;
	/*
	 * Behind a pooler a session may have what another client has prepared: by this name it is the same query.  A query that
	 * cannot be prepared is not tried again.
	 */
	snprintf(new->name, sizeof new->name, "zlmtp%016" PRIx64, hash_bytes(HASH_START, text, strlen(text)));
	result = PQsendPrepare(s->c, new->name, text, 0, NULL) ? take_result(s->c, deadline) : NULL;
	if (result == NULL) {
		fail(s->c, deadline, error);
		error->is_lost = true;
		return false;
	}
	code = PQresultErrorField(result, PG_DIAG_SQLSTATE);
	new->is_usable = PQresultStatus(result) == PGRES_COMMAND_OK || (code != NULL && strcmp(code, "42P05") == 0);
	PQclear(result);
	new->text = xstrdup(text);
	s->count++;
	s->current = new;
	return new->is_usable;
}

static bool ask(void *session, const char *const *strings, const size_t *lengths, unsigned count, const int64_t *deadline,
                sql_row *row, void *context, struct sql_error *error)
{
	struct session *s = session;
	struct statement *statement = s->current;
	bool done;

	(void)lengths;
	if (!PQsendQueryPrepared(s->c, statement->name, (int)count, strings, NULL, NULL, 0) || !PQsetSingleRowMode(s->c))
		return fail(s->c, *deadline, error);
	done = take_rows(s->c, deadline, row, context, error);
	statement->is_usable = statement->is_usable && !error->is_unprepared;
	return done;
}

static bool listen_as(PGconn *c, const char *channel, int64_t deadline, struct sql_error *error)
{
	char *name = PQescapeIdentifier(c, channel, strlen(channel));
	char text[256];
	PGresult *result;
	bool done = false;

	if (name == NULL || snprintf(text, sizeof text, "LISTEN %s", name) >= (int)sizeof text) {
		sql_fail(error, false, "no name of a channel");
	} else if (!PQsendQuery(c, text) || (result = take_result(c, deadline)) == NULL) {
		fail(c, deadline, error);
		error->is_lost = true;
	} else {
		const char *said = PQresultErrorField(result, PG_DIAG_MESSAGE_PRIMARY);

		done = PQresultStatus(result) == PGRES_COMMAND_OK ||
		       sql_fail(error, true, "LISTEN: %s; remove \"listen\", or ask the primary",
		                                                             said != NULL ? said : "the connection is lost");
		PQclear(result);
	}
	PQfreemem(name);
	return done;
}

/* NOTIFY Users tells "users", and pg_notify('Users', '') tells "Users": whichever the trigger has is heard. */
static bool listen_to(void *session, const char *channel, int64_t deadline, struct sql_error *error)
{
	PGconn *c = ((struct session *)session)->c;
	char *lower = xstrdup(channel);
	bool done;

	ascii_lower_string(lower);
	done = listen_as(c, channel, deadline, error) && (strcmp(lower, channel) == 0 || listen_as(c, lower, deadline, error));
	free(lower);
	return done;
}

static int socket_of(void *session)
{
	return PQsocket(((struct session *)session)->c);
}

static bool take_news(void *session, bool *notified, struct sql_error *error)
{
	PGconn *c = ((struct session *)session)->c;
	PGnotify *notification;

	*notified = false;
	if (!PQconsumeInput(c))
		return sql_fail(error, true, "%s", PQerrorMessage(c));
	while ((notification = PQnotifies(c)) != NULL) {
		*notified = true;
		PQfreemem(notification);
	}
	return true;
}

static void close_connection(void *session)
{
	struct session *s = session;

	for (unsigned i = 0; i < s->count; i++)
		free(s->statements[i].text);
	PQfinish(s->c);
	free(s);
}

MODULE_EXPORT const struct sql_driver zlmtp_sql_driver = {
	.version = SQL_DRIVER_VERSION, .connect = connect_server, .escape = escape, .query = query,
	.prepare = prepare, .ask = ask, .close = close_connection,
	.listen = listen_to, .socket = socket_of, .take_news = take_news,
};
