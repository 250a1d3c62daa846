#include "channel/queue/reports.h"

#include <stdlib.h>

#include "lib/alloc.h"
#include "lib/text.h"

/* After a round, so that what fails with another destination of the same message comes into the same report. */
#define ROUND_PAUSE (5 * 1000)
/* After a report that was not possible. */
#define LATER_PAUSE (20 * 1000)
/* Between two looks for delays at all messages, of which there may be very many. */
#define DELAY_PAUSE (2 * 1000)
/* So many recipients in a question; the others are asked for after the next try. */
#define QUESTIONS_MAX 1000
/* A message that has just come is tried before its delay is told. */
#define FIRST_TRY_PAUSE (60 * 1000)

struct pending_report {
	uint64_t id;
	int64_t due;
};

static void pend(struct scheduler *s, struct message *m, int64_t due)
{
	struct reports *r = &s->reports;

	if (m->report_pending)
		return;
	m->report_pending = true;
	r->pending = xgrow(r->pending, r->count, &r->capacity, sizeof *r->pending);
	r->pending[r->count++] = (struct pending_report){ m->id, due };
}

void reports_free(struct scheduler *s)
{
	free(s->reports.pending);
	s->reports.pending = NULL;
}

/* ---- what became of recipients ---- */

static void ask_results(struct scheduler *s, struct message *m, bool final)
{
	const struct reporter_request request = { .id = m->id, .inode = m->inode, .final = final };
	struct buf text = { 0 };

	buf_addf(&text, "settled %s %llu %s\n", m->name, (unsigned long long)m->inode, final ? "final" : "early");
	m->asked++;
	m->untold = false;
	reporter_ask(s->reporter, &request, &text, s->now.ms);
	buf_free(&text);
}

void reports_ask_final(struct scheduler *s, struct message *m)
{
	ask_results(s, m, true);
}

void reports_after_round(struct scheduler *s, struct message *m)
{
	if (s->reporter != NULL && m->untold && m->open > 0 && !m->null_sender)
		pend(s, m, s->now.ms + ROUND_PAUSE);
}

static void ask_pending(struct scheduler *s)
{
	struct reports *r = &s->reports;
	/* after them nothing more will happen to the messages */
	bool last = (s->once || s->stopping) && s->agents == NULL;
	size_t kept = 0;

	for (size_t i = 0; i < r->count; i++) {
		struct message *m = queue_find(&s->queue, r->pending[i].id);

		if (m == NULL || !m->report_pending)
			continue;
		/* without open recipients it will be removed, and all is reported then */
		if (m->open > 0 && !last && r->pending[i].due > s->now.ms) {
			r->pending[kept++] = r->pending[i];
			continue;
		}
		m->report_pending = false;
		if (m->open > 0 && reporter_can(s->reporter))
			ask_results(s, m, false);
	}
	r->count = kept;
}

/* ---- recipients that have moved ---- */

bool reports_ask_moved(struct scheduler *s, struct message *m)
{
	const struct reporter_request request = { .id = m->id, .inode = m->inode, .waiting = true };
	struct buf text = { 0 };

	if (s->reporter == NULL || s->stopping || reporter_waiting(s->reporter) >= QUESTIONS_MAX ||
	    !reporter_is_there(s->reporter))
		return false;
	/* one answer at a time may change the file */
	if (m->asked > 0)
		return true;
	buf_addf(&text, "waiting %s %llu\n", m->name, (unsigned long long)m->inode);
	m->asked++;
	reporter_ask(s->reporter, &request, &text, s->now.ms);
	buf_free(&text);
	return true;
}

/* ---- delays ---- */

/* The next age at which a delay of the group is told; 0 if there is none. */
static int64_t next_age(const struct group *g)
{
	const struct clause *c = g->destination->clause;
	const int64_t *times = c != NULL ? c->report_times : schedconf_report_times;
	size_t count = c != NULL ? c->report_time_count : sizeof schedconf_report_times / sizeof *schedconf_report_times;

	for (size_t i = 0; i < count; i++)
		if (times[i] > g->delay_told)
			return times[i];
	return 0;
}

static bool wants_delay(const struct group *g)
{
	const struct message *m = g->message;

	for (uint32_t i = g->first; i != NO_RECIPIENT; i = m->recipients[i].next)
		if (m->recipients[i].state == RECIPIENT_OPEN && m->recipients[i].wants_delay)
			return true;
	return false;
}

/* When a recipient is old enough for the next report. */
static void set_delay(struct scheduler *s, struct message *m)
{
	m->delay_at = CLOCK_NEVER;
	if (s->reporter == NULL || m->null_sender)
		return;
	for (size_t i = 0; i < m->group_count; i++) {
		const struct group *g = &m->groups[i];
		int64_t age = next_age(g), at = m->seen_at + (age - m->seen_age) * 1000;

		if (age > 0 && at < m->delay_at && wants_delay(g))
			m->delay_at = at;
	}
	if (m->delay_at < s->reports.delays_at)
		s->reports.delays_at = m->delay_at;
}

void reports_taken_in(struct scheduler *s, struct message *m)
{
	set_delay(s, m);
	reports_after_round(s, m);
}

/* Does the group wait, and was it tried, or will it not be tried soon? */
static bool is_late(const struct scheduler *s, const struct group *g, int64_t age)
{
	int64_t told = next_age(g);

	if (told == 0 || age < told || g->delay_asked != 0 || !wants_delay(g))
		return false;
	return g->state == GROUP_ASLEEP ||
	       (g->state == GROUP_READY && (s->once || s->now.ms - g->message->seen_at >= FIRST_TRY_PAUSE));
}

static size_t add_late(struct buf *lines, const struct scheduler *s, const struct group *g)
{
	const struct message *m = g->message;
	size_t count = 0;

	for (uint32_t i = g->first; i != NO_RECIPIENT; i = m->recipients[i].next) {
		const struct recipient *r = &m->recipients[i];
		int64_t answered;
		const char *said = scheduler_answer(s, m, r, &answered);

		if (r->state != RECIPIENT_OPEN || !r->wants_delay)
			continue;
		if (r->answer == NULL && g->text != NULL)
			said = g->text;
		/* one that was never tried has no time of an attempt */
		buf_addf(lines, "%lld\t%lld\t", (long long)r->offset, (long long)answered);
		buf_adds(lines, g->notary != NULL ? g->notary : "");
		buf_addc(lines, '\t');
		text_add_clean_string(lines, said != NULL ? said : "", 1000);
		buf_addc(lines, '\n');
		count++;
	}
	return count;
}

static int64_t expires(const struct scheduler *s, const struct group *g)
{
	const struct clause *c = g->destination->clause;

	return c == NULL || c->expiry <= 0 ? 0 : s->now.wall - message_age(g->message, s->now.ms) + c->expiry;
}

static void ask_delay(struct scheduler *s, struct message *m)
{
	int64_t age = message_age(m, s->now.ms), until = 0;
	struct reporter_request request = { .id = m->id, .inode = m->inode };
	struct buf text = { 0 }, lines = { 0 };
	size_t count = 0;

	for (size_t i = 0; i < m->group_count; i++) {
		struct group *g = &m->groups[i], after;

		if (!is_late(s, g, age))
			continue;
		/* the largest of its ages that is past: a scheduler that did not run tells once of all it has missed */
		after = *g;
		for (int64_t next; (next = next_age(&after)) > 0 && next <= age;)
			after.delay_told = (int32_t)next;
		g->delay_asked = after.delay_told;
		request.age = g->delay_asked > request.age ? g->delay_asked : request.age;
		if (until == 0 || expires(s, g) < until)
			until = expires(s, g);
		count += add_late(&lines, s, g);
	}
	if (count == 0) {
		/* an agent has it, or it was not tried yet */
		m->delay_at = s->now.ms + LATER_PAUSE;
		return;
	}
	buf_addf(&text, "delay %s %llu %ld %lld %zu\n", m->name, (unsigned long long)m->inode, (long)request.age,
	         (long long)until, count);
	buf_add(&text, lines.data, lines.len);
	m->delay_at = CLOCK_NEVER;
	m->asked++;
	reporter_ask(s->reporter, &request, &text, s->now.ms);
	buf_free(&lines);
	buf_free(&text);
}

static void ask_delays(struct scheduler *s)
{
	struct queue *q = &s->queue;
	int64_t next = CLOCK_NEVER;

	for (size_t i = 0; i < q->message_buckets; i++) {
		for (struct message *m = q->messages[i]; m != NULL; m = m->same_bucket) {
			if (m->look_again != 0 || m->open == 0)
				continue;
			if (m->delay_at <= s->now.ms && reporter_can(s->reporter))
				ask_delay(s, m);
			else if (m->delay_at <= s->now.ms)
				m->delay_at = s->now.ms + LATER_PAUSE;
			if (m->delay_at < next)
				next = m->delay_at;
		}
	}
	s->reports.delays_at = next < s->now.ms + DELAY_PAUSE ? s->now.ms + DELAY_PAUSE : next;
}

/* ---- answers ---- */

void reports_answered(struct scheduler *s, struct message *m, const struct reporter_request *request,
                      enum reporter_answer answer, const char *why)
{
	if (request->age > 0) {
		for (size_t i = 0; i < m->group_count; i++) {
			struct group *g = &m->groups[i];

			/* without a sender there is never a report */
			if (g->delay_asked != 0 && answer != REPORTER_LATER)
				g->delay_told = g->delay_asked;
			g->delay_asked = 0;
		}
		set_delay(s, m);
		if (answer == REPORTER_LATER && m->delay_at < s->now.ms + LATER_PAUSE)
			m->delay_at = s->now.ms + LATER_PAUSE;
		s->trouble |= s->once && answer == REPORTER_LATER;
	} else if (request->waiting) {
		answer = REPORTER_DONE;
	} else if (request->final) {
		m->told = answer == REPORTER_DONE ? TOLD_ALL : answer == REPORTER_FILE ? TOLD_FILE : TOLD_NOT;
		if (answer == REPORTER_LATER)
			message_untold(&s->queue, m, why != NULL ? why : "zlmtp-report gave no answer", s->now.wall);
	} else if (answer == REPORTER_LATER) {
		m->untold = true;
		s->trouble |= s->once;
		if (!s->once && !s->stopping && m->open > 0)
			pend(s, m, s->now.ms + LATER_PAUSE);
	}
	if (m->awaits_report && m->asked == 0) {
		m->awaits_report = false;
		scheduler_retire_again(s, m, answer != REPORTER_LATER);
	}
}

/* ---- in and out ---- */

void reports_work(struct scheduler *s)
{
	bool last = s->once && s->agents == NULL && !s->attention && !scheduler_is_scanning(s);

	if (s->reporter == NULL)
		return;
	if (s->reports.count > 0)
		ask_pending(s);
	if (last && !s->reports.last_look) {
		s->reports.last_look = true;
		ask_delays(s);
	} else if (!s->once && !s->stopping && s->now.ms >= s->reports.delays_at) {
		ask_delays(s);
	}
	reporter_serve(s->reporter, s->now.ms);
}

int64_t reports_deadline(const struct scheduler *s)
{
	int64_t deadline;

	if (s->reporter == NULL)
		return CLOCK_NEVER;
	deadline = reporter_deadline(s->reporter);
	if (!s->once && !s->stopping && s->reports.delays_at < deadline)
		deadline = s->reports.delays_at;
	for (size_t i = 0; i < s->reports.count; i++)
		if (s->reports.pending[i].due < deadline)
			deadline = s->reports.pending[i].due;
	return deadline;
}

bool reports_pending(const struct scheduler *s)
{
	return s->reporter != NULL && (s->reports.count > 0 || reporter_waiting(s->reporter) > 0);
}
