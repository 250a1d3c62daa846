#include "channel/queue/verdict.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "channel/queue/reports.h"
#include "channel/queue/retire.h"
#include "channel/spool/agent_protocol.h"
#include "channel/spool/control.h"
#include "channel/spool/diagnostic.h"
#include "channel/spool/event.h"
#include "lib/log.h"
#include "lib/text.h"

#define ENDED "the transport agent ended"

#define HELD_PAUSE (32 * 1000)             /* a living process holds a lock: ZMailer waits as long */
#define MAX_RESYNCS 30                     /* then an agent and we will never agree */
#define DISAGREEMENT_PAUSE (10 * 60 * 1000)
/* Of very many messages that begin to wait at once the lines would stop us, and log daemons drop them. */
#define WAIT_LINES_A_SECOND 1000

/* ---- log lines ---- */

static void say(const struct scheduler *s, const struct message *m, const struct recipient *r, const char *outcome,
                const char *text)
{
	const struct destination *d = m->groups[r->group].destination;
	struct buf line = { 0 };

	if (!s->verbose)
		return;
	message_add_id(&line, m);
	buf_addc(&line, ' ');
	text_add_clean_string(&line, r->user, 500);
	buf_addc(&line, ' ');
	text_add_clean_string(&line, d->channel, 100);
	buf_addc(&line, '/');
	text_add_clean_string(&line, d->host, 300);
	buf_addf(&line, " %s: ", outcome);
	text_add_clean_string(&line, diagnostic_answer(text), 1000);
	puts(buf_str(&line));
	buf_free(&line);
}

/* ---- time ---- */

/* The next pause of a sequence of retries; behind its end it goes on somewhere in it, as ZMailer does. */
static int64_t next_pause(const struct clause *c, uint32_t *retry)
{
	int64_t seconds;

	if (*retry >= c->retry_count)
		*retry = c->retry_count > 1 ? (uint32_t)((size_t)random() % (c->retry_count - 1)) : 0;
	seconds = c->interval * c->retries[(*retry)++];
	return (seconds > 0 ? seconds : 1) * 1000;
}

/* Fails what is open in a group that no agent has if it waited more than `limit` seconds.  True if that closed it. */
static bool expire(struct scheduler *s, struct group *g, int64_t limit)
{
	struct message *m = g->message;
	int64_t age = message_age(m, s->now.ms);

	size_t expired = limit > 0 && age > limit ? retire_expired(m, g, age, s->now.wall, s->json) : 0;

	if (expired == 0)
		return false;
	s->failed += expired;
	reports_after_round(s, m);
	if (g->open > 0)
		return false;
	if (s->verbose)
		for (uint32_t i = g->first; i != NO_RECIPIENT; i = m->recipients[i].next)
			if (m->recipients[i].state == RECIPIENT_FAILED)
				say(s, m, &m->recipients[i], "expired", g->text ? g->text : "never tried");
	queue_close(&s->queue, g);
	if (m->open == 0)
		scheduler_retire(s, m);
	return true;
}

/* ---- the end of a round ---- */

/*
 * A group came back from its agent.  What is open in it sleeps for `pause` milliseconds; if that is negative, until its
 * next retry; if it is 0, not at all.
 */
static void round_over(struct scheduler *s, struct group *g, int64_t pause)
{
	const struct clause *c = g->destination->clause;
	struct message *m = g->message;
	int64_t now = s->now.ms;

	verdict_write_results(s);
	if (m->vanished) {
		/* the control file is not there any more: so is the message, as soon as no agent works on it */
		if (message_is_fed(m))
			return;
		if (s->verbose) {
			struct buf id = { 0 };

			message_add_id(&id, m);
			printf("%s: its files were removed from the spool\n", buf_str(&id));
			buf_free(&id);
		}
		queue_remove(&s->queue, m);
		return;
	}
	reports_after_round(s, m);
	if (g->open == 0) {
		if (m->open == 0)
			scheduler_retire(s, m);
		return;
	}
	if (pause < 0) {
		g->attempts++;
		if (expire(s, g, c->expiry))
			return;
		reports_ask_moved(s, m);
		/* if it is the destination's fault, the message waits no longer than that */
		if (g->unreachable && g->destination->blocked_until > now)
			pause = g->destination->blocked_until - now;
		else
			pause = next_pause(c, &g->retry);
	}
	if (pause == 0)
		queue_ready(&s->queue, g);
	else
		queue_sleep(&s->queue, g, now + pause);
}

/*
 * `g`: the part of a message that waits, or NULL; `begun`: an agent that is gone had begun it, so that a server may have some of it,
 * and no agent logs that.
 */
static void log_wait(const struct scheduler *s, const struct destination *d, const struct group *g, const char *words, bool begun)
{
	struct logline line = { 0 };
	struct buf id = { 0 };

	if (g != NULL)
		message_add_id(&id, g->message);
	event_begin(&line, s->json, "deferred", g != NULL ? buf_str(&id) : "-");
	if (g != NULL)
		logline_number(&line, "recipients", g->open);
	logline_add(&line, "channel", d->channel);
	logline_add(&line, "host", d->host);
	logline_add(&line, "words", words);
	if (begun)
		logline_bool(&line, "maybe_duplicate", true);
	if (d->blocked_until > s->now.ms)
		logline_number(&line, "next", (uint64_t)(s->now.wall + (d->blocked_until - s->now.ms) / 1000));
	logline_end(&line);
	logline_send(&line);
	logline_free(&line);
	buf_free(&id);
}

void verdict_log_wait(struct scheduler *s, struct group *g)
{
	const char *words;

	if (s->wait_second != s->now.ms / 1000) {
		s->wait_second = s->now.ms / 1000;
		s->wait_lines = 0;
	}
	if (g->wait_logged || s->wait_lines >= WAIT_LINES_A_SECOND)
		return;
	words = scheduler_reason(s, g->destination);
	if (words == NULL)
		return;
	log_wait(s, g->destination, g, words, false);
	g->wait_logged = true;
	s->wait_lines++;
}

void verdict_log_begun(const struct scheduler *s, const struct group *g)
{
	log_wait(s, g->destination, g, ENDED, true);
}

void verdict_log_waiting(struct scheduler *s, struct destination *d)
{
	log_wait(s, d, NULL, scheduler_reason(s, d), false);
	for (struct group *g = d->ready.first; g != NULL; g = g->after)
		verdict_log_wait(s, g);
}

void verdict_block(struct scheduler *s, struct destination *d, const char *notary, const char *text)
{
	const struct clause *c = d->clause;
	int64_t now = s->now.ms;

	if (d->blocked_until > now)
		return;
	d->blocked_until = now + next_pause(c, &d->retry);
	s->queue.changes++;
	/* of a destination once for each state: what its recipients hear is in the lines of their agent */
	if (destination_reason(d, text, s->now.wall))
		verdict_log_waiting(s, d);
	if (d->blocked_until < s->unblock_at)
		s->unblock_at = d->blocked_until;
	for (const struct group *g = d->ready.first; g != NULL && reports_ask_moved(s, g->message);)
		g = g->after;
	if (c->expiry <= 0)
		return;
	/* what waits here counts as tried: it would fare no better */
	for (struct group *g = d->ready.first, *after; g != NULL; g = after) {
		after = g->after;
		if (message_age(g->message, now) > c->expiry) {
			group_deferred(g, notary, text);
			expire(s, g, c->expiry);
		}
	}
}

static void reached(struct scheduler *s, struct destination *d)
{
	d->retry = 0;
	destination_reason(d, NULL, s->now.wall);
	if (d->blocked_until != 0 && !s->once) {
		d->blocked_until = 0;
		s->attention = true;
	}
}

/* ---- what an agent says ---- */

void verdict_write_results(struct scheduler *s)
{
	if (s->results.count > 0 && !retire_write_results(&s->results))
		s->trouble = true;
}

/* The agent has not written it down itself. */
static void write_down(struct scheduler *s, const struct message *m, const struct recipient *r, const struct agent_answer *a)
{
	if (s->results.message != m)
		verdict_write_results(s);
	retire_add_result(&s->results, m, r->offset, a->notary, a->text, s->now.wall);
}

static void settle(struct scheduler *s, struct message *m, struct recipient *r, const struct agent_answer *a)
{
	struct group *g = &m->groups[r->group];

	switch (a->verdict) {
	case VERDICT_OK:
		say(s, m, r, "ok", a->text);
		if (!a->logged && r->wants_success)
			write_down(s, m, r, a);
		queue_settle(m, r, RECIPIENT_DONE);
		s->delivered++;
		reached(s, g->destination);
		return;
	case VERDICT_ERROR:
		say(s, m, r, "failed", a->text);
		if (!a->logged)
			write_down(s, m, r, a);
		queue_settle(m, r, RECIPIENT_FAILED);
		s->failed++;
		reached(s, g->destination);
		return;
	case VERDICT_DEFERRED:
		say(s, m, r, "deferred", a->text);
		reached(s, g->destination);
		break;
	case VERDICT_RETRY_ALL:
		say(s, m, r, "deferred", a->text);
		g->unreachable = true;
		verdict_block(s, g->destination, a->notary, a->text);
		break;
	}
	s->deferred++;
	group_deferred(g, a->notary, a->text);
	recipient_deferred(r, a->text, s->now.wall);
	r->awaited = false;
	g->awaited--;
}

static void report(struct scheduler *s, struct agent *w, const struct agent_answer *a)
{
	struct message *m = queue_find(&s->queue, a->id);
	struct recipient *r = m != NULL ? message_recipient(m, a->offset) : NULL;
	struct group *g = r != NULL ? &m->groups[r->group] : NULL;

	if (g == NULL || g->state != GROUP_FED || g->agent != w || !r->awaited) {
		if (!agent_may_tell(w, s->now.ms))
			return;
		complain("agent %ld (%s) reports on %llu/%lld, which it was not asked for", (long)w->pid, w->channel,
		         (unsigned long long)a->id, (long long)a->offset);
		return;
	}
	w->useful = true;
	w->answered = s->now.ms;
	settle(s, m, r, a);
	if (g->awaited > 0)
		return;
	queue_take_back(g, &w->fed);
	/* without open recipients the message is removed now, by what the file says */
	if (m->open > 0)
		retire_mend_marks(m, g);
	round_over(s, g, -1);
}

/*
 * Asks the control file about a fed group, and takes it back.  What is open sleeps for `pause`; what was not
 * even begun for `untouched_pause` (see round_over()).  True if something is open.
 */
static bool ask_file(struct scheduler *s, struct agent *w, struct group *g, int64_t pause, int64_t untouched_pause,
                     const char *reason)
{
	struct message *m = g->message;
	enum retire_found found = retire_look_again(m, g);
	size_t deferred = s->deferred;
	bool is_open = found != FOUND_GONE && g->open > 0;

	m->vanished |= found == FOUND_GONE;
	if (found == FOUND_UNTOUCHED)
		pause = untouched_pause;
	else if (found == FOUND_HELD)
		pause = HELD_PAUSE;
	if (found != FOUND_GONE && pause != 0) {
		const struct message *message = g->message;

		if (s->verbose) {
			for (uint32_t i = g->first; i != NO_RECIPIENT; i = message->recipients[i].next)
				if (message->recipients[i].state == RECIPIENT_OPEN && message->recipients[i].awaited)
					say(s, message, &message->recipients[i], "deferred", reason);
		}
		if (g->open > 0 && g->text == NULL)
			group_deferred(g, "", reason);
	}
	for (uint32_t i = g->first; i != NO_RECIPIENT; i = m->recipients[i].next) {
		struct recipient *r = &m->recipients[i];

		if (r->awaited && r->state == RECIPIENT_OPEN && pause != 0) {
			recipient_deferred(r, reason, s->now.wall);
			s->deferred++;
		}
		r->awaited = false;
	}
	/* no agent has logged that */
	if (s->deferred > deferred)
		log_wait(s, g->destination, g, reason, found == FOUND_BEGUN);
	g->awaited = 0;
	queue_take_back(g, &w->fed);
	round_over(s, g, pause);
	return is_open;
}

static void resync(struct scheduler *s, struct agent *w, const char *name)
{
	struct message *m;
	uint64_t id;
	int64_t pause;

	if (!control_id(name, &id) || (m = queue_find(&s->queue, id)) == NULL || strcmp(m->name, name) != 0)
		return;
	m->resyncs++;
	pause = m->resyncs > MAX_RESYNCS ? DISAGREEMENT_PAUSE : m->resyncs * 1000;
	if (m->resyncs == MAX_RESYNCS + 1)
		complain("%s: agents report again and again that it has nothing to deliver (#resync)", m->name);
	/* an agent has one destination at a time, and so one group of a message */
	for (struct group *g = w->fed.first, *after; g != NULL; g = after) {
		after = g->after;
		if (g->message == m) {
			ask_file(s, w, g, pause, pause, "the transport agent reports that nothing is to be delivered");
			return;
		}
	}
}

void verdict_line(struct scheduler *s, struct agent *w, char *line)
{
	struct agent_answer a = agent_answer(line);
	size_t missing = 0;

	switch (a.kind) {
	case ANSWER_HUNGRY:
		if (!agent_hungry(w, s->now.ms) || w->outstanding > 0)
			return;
		/* what it has not reported is asked of the control files; what is open there is tried again later */
		while (w->fed.first != NULL)
			missing += ask_file(s, w, w->fed.first, -1, -1, "the transport agent gave no report");
		/* a transport agent reports on whatever it is given, or says #resync */
		s->trouble = s->trouble || missing > 0;
		if (missing > 0 && agent_may_tell(w, s->now.ms))
			complain("agent %ld (%s) said #hungry without a report on %zu message%s", (long)w->pid, w->channel,
			         missing, missing == 1 ? "" : "s");
		s->attention = true;
		break;
	case ANSWER_RESYNC:
		w->useful = true;
		resync(s, w, a.name);
		break;
	case ANSWER_COMMENT:
		if (a.text[0] == '\0')
			break;
		agent_said(w, a.text);
		if (agent_may_tell(w, s->now.ms))
			complain("agent %ld (%s): %s", (long)w->pid, w->channel, a.text);
		break;
	case ANSWER_GARBAGE:
		agent_said(w, a.text);
		if (agent_may_tell(w, s->now.ms))
			complain("agent %ld (%s) said: %s", (long)w->pid, w->channel, a.text);
		break;
	case ANSWER_REPORT:
		report(s, w, &a);
		break;
	}
}

size_t verdict_ended(struct scheduler *s, struct agent *w)
{
	size_t missing = 0;

	while (w->fed.first != NULL)
		missing += ask_file(s, w, w->fed.first, -1, 0, ENDED);
	return missing;
}

void verdict_expire_unserved(struct scheduler *s, struct group *g)
{
	const struct destination *d = g->destination;
	const struct clause *c = d->clause != NULL ? d->clause : &s->conf->defaults;
	const char *unfit;

	if (c->expiry <= 0 || message_age(g->message, s->now.ms) <= c->expiry)
		return;
	/* will mail of this destination be tried as things are, or is it meant to wait? */
	if ((d->clause != NULL && d->clause->queue_only) || !scheduler_holds(d, &unfit))
		return;
	if (g->text == NULL)
		group_deferred(g, "", unfit != NULL ? unfit : SCHEDCONF_UNSERVED);
	expire(s, g, c->expiry);
}

void verdict_expire_untried(struct scheduler *s)
{
	for (struct destination *d = s->queue.first_busy, *next; d != NULL; d = next) {
		const struct clause *c = d->clause;
		int64_t limit = c != NULL && c->expiry > 0 && c->expiry2 > 0 ? c->expiry + c->expiry2 : 0;

		next = d->busy_next;
		for (struct group *g = d->ready.first, *after; g != NULL; g = after) {
			after = g->after;
			if (limit <= 0 || !expire(s, g, limit))
				verdict_expire_unserved(s, g);
		}
	}
}
