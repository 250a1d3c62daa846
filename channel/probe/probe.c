#include "channel/probe/probe.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "channel/net/tls.h"
#include "lib/alloc.h"
#include "lib/clock.h"

struct prober {
	const struct lmtp_settings *settings;
	bool keeps;                    /* sessions, from one prober_ask() to the next */
	struct question **questions;
	size_t count, capacity;
	struct server_check *check;    /* what a transaction for nobody finds out; NULL when asking */
	struct session_owner owner;
	struct session sessions[CONNECTIONS_MAX];
};

/* ---- what sessions tell ---- */

static void on_settled(void *context, struct session *s, struct transaction *t, size_t recipient,
                       const struct result *result)
{
	const struct place *asked = t->recipients[recipient].owner;
	struct prober *p = context;

	(void)s;
	for (size_t i = 0; i < p->count; i++) {
		for (size_t k = 0; k < p->questions[i]->count; k++) {
			struct place *place = &p->questions[i]->places[k];

			/* a question for the same recipient behind this RCPT gets a RCPT of its own */
			if (place == asked || place->asked_as == asked)
				place_settle(place, result);
		}
	}
}

/* Its transaction is over, and that of all recipients in it. */
static void free_place(struct prober *p, struct place *asked)
{
	for (size_t i = 0; i < p->count; i++) {
		for (size_t k = 0; k < p->questions[i]->count; k++) {
			struct place *place = &p->questions[i]->places[k];

			if (place != asked && place->asked_as != asked)
				continue;
			place->under_way = false;
			place->asked_as = NULL;
		}
	}
}

static void on_done(void *context, struct session *s, struct transaction *t)
{
	struct prober *p = context;

	for (size_t i = 0; i < t->count; i++) {
		struct place *place = t->recipients[i].owner;

		free_place(p, place);
		place->retried = place->retried || !t->recipients[i].later;
	}
	if (p->check != NULL) {
		struct server_check *check = p->check;
		const struct record_connection connection = session_record(s);

		check->ready = s->state == SESSION_READY;
		check->failure = s->peer->failure;
		check->tls = xstrdup(connection.tls);
		check->verified = check->ready && s->stream.tls != NULL && tls_verified(s->stream.tls);
		check->authenticated = check->ready && s->opening.demands.auth != NULL;
		check->session = xstrdup(connection.session);
		check->caps = s->opening.caps;
		check->connect_ms = connection.connect_ms;
		check->opening_ms = connection.opening_ms;
	}
	free(t->recipients);
	free(t);
}

static bool on_prepare(void *context, struct transaction *t, const struct caps *caps, struct buf *why)
{
	(void)context;
	(void)t;
	(void)caps;
	(void)why;
	return true;
}

static void on_content(void *context, struct transaction *t, struct source *source)
{
	(void)context;
	(void)t;
	(void)source;
}

/* ---- transactions ---- */

static bool is_waiting(const struct place *place)
{
	return !place->settled && !place->under_way;
}

static struct transaction *new_transaction(const struct prober *p, size_t capacity)
{
	struct transaction *t = xcalloc(1, sizeof *t);

	t->probe = true;
	t->hello = p->keeps ? p->settings->session.opening.name : NULL;
	t->envelope.sender = p->settings->probe.sender;
	t->recipients = xcalloc(capacity + 1, sizeof *t->recipients);
	return t;
}

/* Several addresses may lead to one recipient, which is asked for once: the place that stands for it. */
static const struct place *find_recipient(const struct transaction *t, const struct place *place)
{
	for (size_t i = 0; i < t->count; i++) {
		const struct place *asked = t->recipients[i].owner;

		if (asked->peer == place->peer && strcmp(asked->user, place->user) == 0)
			return asked;
	}
	return NULL;
}

/* All that waits for `peer`, as much of it as one transaction may hold. */
static struct transaction *take(struct prober *p, const struct peer *peer)
{
	size_t most = p->settings->jobs.max_recipients;
	struct transaction *t = new_transaction(p, most);

	for (size_t i = 0; i < p->count; i++) {
		for (size_t k = 0; k < p->questions[i]->count; k++) {
			struct place *place = &p->questions[i]->places[k];

			if (place->peer != peer || !is_waiting(place))
				continue;
			place->asked_as = find_recipient(t, place);
			place->under_way = place->asked_as != NULL || t->count < most;
			if (place->asked_as != NULL || t->count == most)
				continue;
			t->recipients[t->count++] = (struct transaction_recipient){
				.to = { .address = place->user, .ignore_quota = p->settings->jobs.ignore_quota },
				.owner = place,
			};
			t->retried = t->retried || place->retried;
		}
	}
	return t;
}

/* The one session for a peer, or one that has nothing to do, rather one without a connection; NULL if it has to wait. */
static struct session *session_for(struct prober *p, const struct peer *peer)
{
	struct session *found = NULL;

	for (size_t i = 0; i < CONNECTIONS_MAX; i++)
		if (p->sessions[i].peer == peer)
			return session_idle(&p->sessions[i]) ? &p->sessions[i] : NULL;
	for (size_t i = 0; i < CONNECTIONS_MAX; i++)
		if (session_idle(&p->sessions[i]) && (found == NULL || found->state != SESSION_CLOSED))
			found = &p->sessions[i];
	return found;
}

/* ---- the loop ---- */

static bool has_work(const struct prober *p)
{
	for (size_t i = 0; i < CONNECTIONS_MAX; i++)
		if (!session_idle(&p->sessions[i]))
			return true;
	for (size_t i = 0; i < p->count; i++)
		for (size_t k = 0; k < p->questions[i]->count; k++)
			if (!p->questions[i]->places[k].settled)
				return true;
	return false;
}

bool prober_wait(struct prober *p, int fd, int64_t deadline)
{
	struct pollfd fds[CONNECTIONS_MAX * CONNECT_ATTEMPTS + 1];
	size_t at[CONNECTIONS_MAX + 1], n = 0;

	for (size_t i = 0; i < CONNECTIONS_MAX; i++) {
		int64_t d = session_deadline(&p->sessions[i]);

		deadline = d < deadline ? d : deadline;
		at[i] = n;
		n += session_poll(&p->sessions[i], fds + n);
	}
	at[CONNECTIONS_MAX] = n;
	fds[n] = (struct pollfd){ .fd = fd, .events = POLLIN };
	if (poll(fds, n + 1, clock_poll_timeout(deadline)) < 0)
		return false;
	for (size_t i = 0; i < CONNECTIONS_MAX; i++)
		session_polled(&p->sessions[i], fds + at[i], at[i + 1] - at[i]);
	return fds[n].revents != 0;
}

/* Ends a session, and says what was waited for. */
static void break_off(struct session *s, const char *why)
{
	struct buf missing = { 0 }, words = { 0 };

	session_add_missing(s, &missing);
	buf_addf(&words, "%s%s%s", why, missing.len > 0 ? ": " : "", buf_str(&missing));
	session_abort(s, buf_str(&words));
	buf_free(&missing);
	buf_free(&words);
}

void prober_give_up(struct prober *p, struct question *question)
{
	char *why = xasprintf("not finished within %" PRId64 " s", p->settings->probe.time / 1000);

	for (size_t k = 0; k < question->count; k++)
		for (size_t i = 0; i < CONNECTIONS_MAX; i++)
			if (question->places[k].under_way && p->sessions[i].peer == question->places[k].peer &&
			    !session_idle(&p->sessions[i]))
				break_off(&p->sessions[i], why);
	for (size_t k = 0; k < question->count; k++)
		place_say(&question->places[k], ANSWER_UNCLEAR, "4.4.7", why);
	free(why);
}

static void run_sessions(struct prober *p)
{
	for (size_t i = 0; i < CONNECTIONS_MAX; i++)
		session_run(&p->sessions[i]);
}

/* Whoever waits goes to a session that can take it. */
static void begin_waiting(struct prober *p)
{
	for (size_t i = 0; i < p->count; i++) {
		for (size_t k = 0; k < p->questions[i]->count; k++) {
			struct place *place = &p->questions[i]->places[k];
			struct session *s;

			if (!is_waiting(place))
				continue;
			/* a peer that failed once is not tried again for those it was not asked about */
			if (place->peer->failed) {
				place_settle(place, &place->peer->failure);
				continue;
			}
			s = session_for(p, place->peer);
			if (s != NULL && session_wants(s, place->peer))
				session_begin(s, place->peer, take(p, place->peer));
		}
	}
}

/* A write that broke has given a question back that can be asked at once: nothing else may wake us. */
static bool can_begin(struct prober *p)
{
	for (size_t i = 0; i < p->count; i++) {
		for (size_t k = 0; k < p->questions[i]->count; k++) {
			const struct place *place = &p->questions[i]->places[k];
			const struct session *s = is_waiting(place) ? session_for(p, place->peer) : NULL;

			if (is_waiting(place) && (place->peer->failed || (s != NULL && session_wants(s, place->peer))))
				return true;
		}
	}
	return false;
}

void prober_go(struct prober *p)
{
	do {
		run_sessions(p);
		begin_waiting(p);
		for (size_t i = 0; i < CONNECTIONS_MAX; i++)
			session_flush(&p->sessions[i]);
	} while (can_begin(p));
}

static void run(struct prober *p, int64_t deadline)
{
	char *why;

	while (has_work(p)) {
		if (clock_ms() >= deadline) {
			/* what has come until now counts */
			prober_wait(p, -1, deadline);
			run_sessions(p);
			break;
		}
		prober_go(p);
		/* what was written may have ended a session */
		if (has_work(p))
			prober_wait(p, -1, deadline);
	}
	if (!has_work(p))
		return;
	/* time is up for everything, also for a transaction without recipients */
	why = xasprintf("not finished within %" PRId64 " s", p->settings->probe.time / 1000);
	for (size_t i = 0; i < CONNECTIONS_MAX; i++)
		if (!session_idle(&p->sessions[i]))
			break_off(&p->sessions[i], why);
	free(why);
	for (size_t i = 0; i < p->count; i++)
		prober_give_up(p, p->questions[i]);
}

struct prober *prober_create(const struct lmtp_settings *settings, bool keeps)
{
	struct prober *p = xcalloc(1, sizeof *p);

	*p = (struct prober){ .settings = settings, .keeps = keeps,
	                      .owner = { p, on_settled, on_done, on_prepare, on_content, NULL } };
	for (size_t i = 0; i < CONNECTIONS_MAX; i++)
		session_init(&p->sessions[i], &settings->session, &p->owner);
	return p;
}

void prober_add(struct prober *p, struct question *question)
{
	p->questions = xgrow(p->questions, p->count, &p->capacity, sizeof *p->questions);
	p->questions[p->count++] = question;
	/* that a server was away when others were asked for is some time ago */
	for (size_t k = 0; k < question->count; k++)
		if (question->places[k].peer != NULL)
			question->places[k].peer->failed = false;
}

void prober_remove(struct prober *p, const struct question *question)
{
	size_t kept = 0;

	for (size_t i = 0; i < p->count; i++)
		if (p->questions[i] != question)
			p->questions[kept++] = p->questions[i];
	p->count = kept;
}

bool prober_is_done(const struct question *question)
{
	for (size_t k = 0; k < question->count; k++)
		if (!question->places[k].settled || question->places[k].under_way)
			return false;
	return true;
}

void prober_ask(struct prober *p, struct question *questions, size_t count, int64_t deadline)
{
	for (size_t i = 0; i < count; i++)
		prober_add(p, &questions[i]);
	run(p, deadline);
	p->count = 0;
}

void prober_destroy(struct prober **p)
{
	for (size_t i = 0; i < CONNECTIONS_MAX; i++) {
		session_quit(&(*p)->sessions[i]);
		session_free(&(*p)->sessions[i]);
	}
	free((*p)->questions);
	free(*p);
	*p = NULL;
}

void probe_server(const struct lmtp_settings *settings, struct peer *peer, int64_t deadline, struct server_check *check)
{
	struct prober *p = prober_create(settings, false);

	*check = (struct server_check){ 0 };
	p->check = check;
	/* a transaction without recipients needs a ready connection and says nothing on it */
	session_begin(&p->sessions[0], peer, new_transaction(p, 0));
	run(p, deadline);
	prober_destroy(&p);
}
