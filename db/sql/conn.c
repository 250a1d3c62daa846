#include "db/sql/conn.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "db/sql/access.h"
#include "lib/alloc.h"
#include "lib/backoff.h"
#include "lib/clock.h"
#include "lib/module.h"

#define SHORTEST_DELAY_MS 1000

struct server {
	const char *host;        /* NULL: the library's default */
	int64_t not_before;      /* clock_ms() of the next attempt */
	int64_t delay;           /* ms between the last two */
	struct buf trouble;      /* why the last attempt failed */
};

struct sqlconn {
	struct sqlconn *next;
	unsigned users;
	char *type;
	struct sql_access access;
	struct buf identity;
	struct server *servers;
	size_t count;
	size_t current;          /* the server that is asked first: the one that answered last */
	const struct sql_driver *driver;
	void *session;           /* NULL while there is no connection */
	unsigned process;        /* that has made the session, as `forks` counts: a child must not talk on its parent's */
	int64_t used;            /* clock_ms() of its last query */
	const char *channel;     /* that each session listens to; NULL: none */
};

static struct sqlconn *connections;

/* How many times from the first process to this one; to ask the system at each lookup costs a call. */
static unsigned forks;

static void count_fork(void)
{
	forks++;
}

/* ---- who shares a connection ---------------------------------------------- */

static struct sqlconn *create(const char *type, const struct sql_access *access, const struct buf *identity)
{
	static bool counts;
	struct sqlconn *c = xcalloc(1, sizeof *c);

	if (!counts)
		pthread_atfork(NULL, NULL, count_fork);
	counts = true;
	c->type = xstrdup(type);
	sql_access_copy(&c->access, access);
	buf_reserve(&c->identity, identity->len);
	buf_add(&c->identity, buf_str(identity), identity->len);
	while (c->access.hosts != NULL && c->access.hosts[c->count] != NULL)
		c->count++;
	c->servers = xcalloc(c->count + 1, sizeof *c->servers);
	for (size_t i = 0; i < c->count; i++)
		c->servers[i].host = c->access.hosts[i];
	if (c->count == 0)
		c->count = 1;
	c->next = connections;
	connections = c;
	return c;
}

struct sqlconn *sqlconn_get(const char *type, const struct sql_access *access)
{
	struct sqlconn *c = connections;
	struct buf identity = { 0 };

	buf_reserve(&identity, 8192);
	sql_access_identity(access, &identity);
	while (c != NULL && (strcmp(c->type, type) != 0 || strcmp(buf_str(&c->identity), buf_str(&identity)) != 0))
		c = c->next;
	if (c == NULL)
		c = create(type, access, &identity);
	c->users++;
	buf_wipe(&identity);
	return c;
}

static void close_session(struct sqlconn *c)
{
	if (c->session != NULL && c->process == forks)
		c->driver->close(c->session);
	c->session = NULL;
}

void sqlconn_release(struct sqlconn **connection)
{
	struct sqlconn *c = *connection, **link = &connections;

	*connection = NULL;
	if (c == NULL || --c->users > 0)
		return;
	while (*link != c)
		link = &(*link)->next;
	*link = c->next;
	close_session(c);
	for (size_t i = 0; i < c->count; i++)
		buf_free(&c->servers[i].trouble);
	free(c->servers);
	free(c->type);
	buf_wipe(&c->identity);
	sql_access_free(&c->access);
	free(c);
}

/* ---- one server ----------------------------------------------------------- */

static bool is_connected(struct sqlconn *c, struct server *s, int64_t deadline, struct sql_error *error)
{
	const int64_t now = clock_ms(), patience = now + c->access.network_timeout * 1000;
	const int64_t until = patience < deadline ? patience : deadline;

	if (c->session != NULL && (c->process != forks ||
	                           (c->channel == NULL && now - c->used > c->access.idle_interval * 1000)))
		close_session(c);
	if (c->session == NULL) {
		c->session = c->driver->connect(&c->access, s->host, until, error);
		c->process = forks;
		if (c->session != NULL && c->channel != NULL && !c->driver->listen(c->session, c->channel, until, error))
			close_session(c);
	}
	c->used = now;
	return c->session != NULL;
}

struct asking {
	const struct sql_question *question;
	int64_t deadline;
	bool has_rows;
};

static bool pass_row(void *context, unsigned columns, const char *const *values, const size_t *lengths)
{
	struct asking *a = context;

	a->has_rows = true;
	if (a->question->silence > 0)
		a->deadline = clock_ms() + a->question->silence;
	return a->question->row(a->question->context, columns, values, lengths);
}

/* Asks by what was prepared.  False with error->is_unprepared if the text of the query must be asked instead. */
static bool ask_prepared(struct sqlconn *c, struct asking *a, struct sql_error *error)
{
	const struct sql_question *q = a->question;
	const char *strings[SQL_BOUND_MAX];
	size_t lengths[SQL_BOUND_MAX];
	unsigned count;

	error->is_unprepared = q->query == NULL || q->query->bound == NULL || c->driver->prepare == NULL;
	if (error->is_unprepared)
		return false;
	if (!c->driver->prepare(c->session, q->query->bound, a->deadline, error)) {
		error->is_unprepared = !error->is_lost;
		return false;
	}
	count = sql_query_strings(q->query, q->key, q->key_length, strings, lengths);
	return c->driver->ask(c->session, strings, lengths, count, &a->deadline, pass_row, a, error);
}

static bool ask_session(struct sqlconn *c, struct asking *a, struct sql_error *error)
{
	const struct sql_question *q = a->question;
	struct buf text = { 0 };
	bool done = ask_prepared(c, a, error);

	if (!error->is_unprepared)
		return done;
	*error = (struct sql_error){ .text = "" };
	q->restart(q->context);
	a->has_rows = false;
	if (q->query == NULL)
		buf_adds(&text, q->text);
	done = (q->query == NULL || sql_query_fill(q->query, q->key, q->key_length, c->driver, c->session, &text, error))
		&& c->driver->query(c->session, buf_str(&text), &a->deadline, pass_row, a, error);
	if (done && !error->is_lost && c->driver->is_certain != NULL)
		done = c->driver->is_certain(c->session, q->key, q->key_length, a->has_rows, a->deadline, error);
	buf_free(&text);
	return done;
}

/* Asks one server, on a new connection if the one that is open turns out to be dead.  False with s->trouble. */
static bool ask_server(struct sqlconn *c, struct server *s, const struct sql_question *q, int64_t deadline)
{
	const int64_t started = clock_ms();
	struct sql_error error = { .text = "" };
	bool done = false, again = false;

	do {
		const bool was_open = c->session != NULL;
		struct asking asking = { .question = q, .deadline = deadline };

		error = (struct sql_error){ .text = "" };
		q->restart(q->context);
		if (!is_connected(c, s, deadline, &error)) {
			error.is_lost = true;
			break;
		}
		done = ask_session(c, &asking, &error);
		again = !done && error.is_lost && was_open && clock_ms() < deadline;
		if (error.is_lost)
			close_session(c);
	} while (again);
	if (!done && error.is_lost) {
		const int64_t lost = clock_ms() - started;

		s->delay = backoff_next(s->delay, lost > SHORTEST_DELAY_MS ? lost : SHORTEST_DELAY_MS,
		                        c->access.retry_interval * 1000);
		s->not_before = clock_ms() + s->delay;
	} else {
		s->delay = 0;
	}
	buf_clear(&s->trouble);
	buf_adds(&s->trouble, error.text);
	return done;
}

static void explain(const struct server *s, struct buf *why)
{
	if (why->len > 0)
		buf_adds(why, "; ");
	if (s->host != NULL) {
		sql_host_show(s->host, why);
		buf_adds(why, ": ");
	}
	buf_adds(why, buf_str(&s->trouble));
}

const struct sql_driver *driver_load(const char *type, struct buf *why)
{
	return module_load(type, "zlmtp_sql_driver", SQL_DRIVER_VERSION, why);
}

bool sqlconn_ask(struct sqlconn *connection, const struct sql_question *question, struct buf *why)
{
	struct sqlconn *c = connection;
	const size_t first = c->current;

	if (c->driver == NULL && (c->driver = driver_load(c->type, why)) == NULL)
		return false;
	if (c->channel != NULL && c->driver->listen == NULL) {
		buf_adds(why, "this database sends no notifications; remove \"listen\"");
		return false;
	}
	for (size_t i = 0; i < c->count; i++) {
		const size_t number = (first + i) % c->count;
		struct server *s = &c->servers[number];
		const int64_t now = clock_ms();

		if (number != c->current)
			close_session(c);
		if (now < s->not_before) {
			explain(s, why);
			continue;
		}
		c->current = number;
		if (ask_server(c, s, question, now + (question->deadline - now) / (int64_t)(c->count - i)))
			return true;
		explain(s, why);
	}
	return false;
}

void sqlconn_listen(struct sqlconn *connection, const char *channel)
{
	connection->channel = channel;
}

int sqlconn_socket(const struct sqlconn *connection)
{
	return connection->channel != NULL && connection->session != NULL ? connection->driver->socket(connection->session)
	       : -1;
}

bool sqlconn_has_news(struct sqlconn *connection)
{
	struct sql_error error;
	bool notified = false;

	if (sqlconn_socket(connection) < 0)
		return false;
	if (connection->driver->take_news(connection->session, &notified, &error))
		return notified;
	close_session(connection);
	return true;
}
