#include "channel/queue/scheduler.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <sysexits.h>

#include "channel/queue/control_line.h"
#include "channel/queue/launch.h"
#include "channel/queue/reports.h"
#include "channel/queue/retire.h"
#include "channel/queue/verdict.h"
#include "channel/spool/control.h"
#include "channel/spool/event.h"
#include "lib/alloc.h"
#include "lib/child.h"
#include "lib/clock.h"
#include "lib/log.h"
#include "lib/logline.h"
#include "lib/text.h"

#define SILENT_PAUSE (10 * 1000)           /* from closing its socket to its end; then it is helped */
#define LEAVING_PAUSE (30 * 1000)          /* from its last job to its end, if it was told to go; then it is told again */
#define HURRY_PAUSE (10 * 1000)            /* from that to its being killed */
#define READ_AGAIN_PAUSE (5 * 60 * 1000)         /* for a message whose agent reports what is not so */
#define LAST_RETIRE_TRY 6                  /* with `once` */
/* A queue that is read in so much time is fed oldest first; a longer one goes out while it is read, in such slices. */
#define FIRST_SLICE 400
#define SLICE 50

void scheduler_init(struct scheduler *s, const struct schedconf *conf, const char *report_directory)
{
	*s = (struct scheduler){
		.conf = conf, .report_directory = report_directory, .unblock_at = CLOCK_NEVER, .silence = SCHEDULER_SILENCE,
	};
	s->reports.delays_at = CLOCK_NEVER;
	queue_init(&s->queue);
	s->arrivals.queue = &s->queue;
	s->remover = remover_create();
	s->retiring_end = &s->retiring;
}

static int64_t sooner(int64_t a, int64_t b)
{
	return a < b ? a : b;
}

/* ---- mail that comes ---- */

/* Mail that nothing delivers stays; the log says so once, and it is a fault where it is not meant so. */
static bool is_deliverable(struct scheduler *s, struct destination *d)
{
	const char *unfit = NULL;
	bool meant = d->clause != NULL && d->clause->queue_only;

	if (!meant && !scheduler_holds(d, &unfit))
		return true;
	if (!d->complained)
		verdict_log_waiting(s, d);
	if (!d->complained && !meant) {
		struct buf where = { 0 };

		buf_adds(&where, "channel ");
		text_add_clean_string(&where, d->channel, 200);
		buf_adds(&where, ", host ");
		text_add_clean_string(&where, d->host, 300);
		if (unfit != NULL)
			complain("no command for %s, as %s: %zu message%s left in the queue", buf_str(&where), unfit, d->groups,
			         d->groups == 1 ? " is" : "s are");
		else
			complain("no clause of scheduler.conf serves %s: %zu message%s left in the queue", buf_str(&where),
			         d->groups, d->groups == 1 ? " is" : "s are");
		buf_free(&where);
	}
	d->complained = true;
	s->trouble = s->trouble || !meant;
	return false;
}

void scheduler_count(const struct scheduler *s, size_t *waiting, size_t *held)
{
	const struct queue *q = &s->queue;
	const char *unfit;

	*waiting = *held = 0;
	for (size_t i = 0; i < q->message_buckets; i++)
		for (const struct message *m = q->messages[i]; m != NULL; m = m->same_bucket)
			for (size_t k = 0; k < m->group_count; k++)
				*(scheduler_holds(m->groups[k].destination, &unfit) ? held : waiting) += m->groups[k].open;
}

/* Puts what was read into its destinations, oldest first. */
static void take_in(struct scheduler *s)
{
	struct arrivals *in = &s->arrivals;

	arrivals_sort(in);
	for (size_t i = 0; i < in->count; i++) {
		struct message *m = in->taken[i];

		for (size_t j = 0; j < m->group_count; j++) {
			struct destination *d = m->groups[j].destination;

			if (d->clause == NULL)
				d->clause = schedconf_match(s->conf, d->channel, d->host);
			if (m->groups[j].begun)
				verdict_log_begun(s, &m->groups[j]);
			queue_ready(&s->queue, &m->groups[j]);
			verdict_expire_unserved(s, &m->groups[j]);
			if (m->groups[j].state == GROUP_READY)
				verdict_log_wait(s, &m->groups[j]);
		}
		reports_taken_in(s, m);
	}
	for (size_t i = 0; i < in->finished_count; i++)
		scheduler_retire(s, in->finished[i]);
	s->trouble |= in->trouble;
	arrivals_clear(in);
	s->attention = true;
}

/* What is removed is known no more, so that the next message may have its name; it may have come already. */
static void forget_removed(struct scheduler *s)
{
	struct message *m;
	bool gone;

	while ((m = remover_removed(s->remover, &gone)) != NULL) {
		char *again = m->came_again && !s->stopping ? xstrdup(m->name) : NULL;

		if (gone && logline_is_heard()) {
			struct logline line = { 0 };
			struct buf id = { 0 };

			message_add_id(&id, m);
			event_begin(&line, s->json, "done", buf_str(&id));
			logline_number(&line, "recipients", m->count);
			logline_end(&line);
			logline_send(&line);
			logline_free(&line);
			buf_free(&id);
		}
		queue_remove(&s->queue, m);
		if (again != NULL)
			arrivals_file(&s->arrivals, again, s->now);
		free(again);
	}
	if (s->arrivals.count + s->arrivals.finished_count > 0)
		take_in(s);
}

void scheduler_free(struct scheduler *s)
{
	s->stopping = true;
	remover_finish(s->remover);
	forget_removed(s);
	/* the next runqueue knows what the files say */
	for (size_t i = 0; i < s->queue.message_buckets; i++)
		for (struct message *m = s->queue.messages[i]; m != NULL; m = m->same_bucket)
			if (m->unmarked)
				retire_mend_marks(m, NULL);
	remover_destroy(&s->remover);
	arrivals_free(&s->arrivals);
	reports_free(s);
	queue_free(&s->queue);
}

static void read_on(struct scheduler *s, int64_t slice)
{
	forget_removed(s);
	arrivals_go_on(&s->arrivals, s->now, slice);
	take_in(s);
	if (!scheduler_is_scanning(s))
		queue_sweep(&s->queue);
	s->read_whole |= s->arrivals.walk == NULL;
}

void scheduler_scan(struct scheduler *s, struct moment now)
{
	s->now = now;
	/* before the new ones come: each gets its chance */
	verdict_expire_untried(s);
	arrivals_begin(&s->arrivals);
	read_on(s, FIRST_SLICE);
}

void scheduler_arrived(struct scheduler *s, const char *name, struct moment now)
{
	s->now = now;
	forget_removed(s);
	arrivals_file(&s->arrivals, name, s->now);
	take_in(s);
}

/* ---- what operators ask for ---- */

static struct message *find_job(const struct scheduler *s, const char *job)
{
	uint64_t id;
	struct message *m = control_id(job, &id) ? queue_find(&s->queue, id) : NULL;

	return m != NULL && strcmp(m->name, job) == 0 ? m : NULL;
}

void scheduler_unpark(struct scheduler *s, const char *job)
{
	struct message *m = find_job(s, job);

	if (m == NULL || !m->parked)
		return;
	queue_unpark(&s->queue, m, s->now.ms);
	s->attention = true;
}

/* What is known of the old recipients and destinations holds for those of the message as it was read once more. */
static void inherit(struct scheduler *s, const struct message *old, struct message *m)
{
	for (size_t i = 0; i < m->group_count; i++) {
		struct group *g = &m->groups[i];

		for (size_t k = 0; k < old->group_count; k++) {
			const struct group *before = &old->groups[k];

			if (before->destination != g->destination)
				continue;
			g->retry = before->retry;
			g->attempts = before->attempts;
			if (before->text != NULL)
				group_deferred(g, before->notary, before->text);
			if (g->state == GROUP_READY && before->due > s->now.ms)
				queue_sleep(&s->queue, g, before->due);
		}
	}
	/* both in the order of the file */
	for (size_t i = 0, k = 0; i < m->count; i++) {
		while (k < old->count && strcmp(old->recipients[k].user, m->recipients[i].user) != 0)
			k++;
		if (k == old->count)
			break;
		if (old->recipients[k].answer != NULL)
			recipient_deferred(&m->recipients[i], old->recipients[k].answer, old->recipients[k].answered);
		k++;
	}
}

/* The files have changed: the message is read once more, if it is still in the queue. */
static void read_again(struct scheduler *s, struct message *old, const struct operation *o)
{
	struct message *m;

	if (old != NULL)
		queue_detach(&s->queue, old);
	if (o->verb != OPERATION_HOLD && o->verb != OPERATION_REMOVE) {
		scheduler_arrived(s, o->job, s->now);
		m = find_job(s, o->job);
		if (old != NULL && m != NULL)
			inherit(s, old, m);
	}
	if (old != NULL)
		message_free(old);
}

/* All recipients are settled: there is the report that may be tried again, or given up with the message. */
static enum operation_result operate_on_settled(struct scheduler *s, struct message *m, const struct operation *o,
                                                size_t *changed, struct buf *why)
{
	enum operation_result result;
	bool retiring;

	if (m->leaving || (o->verb != OPERATION_RETRY && o->verb != OPERATION_REMOVE)) {
		buf_adds(why, m->leaving ? "all its recipients are settled; it is being removed" :
		         "all its recipients are settled; it waits for its report");
		return OPERATION_NOTHING;
	}
	if (o->verb == OPERATION_REMOVE && m->asked > 0) {
		buf_adds(why, "zlmtp-report is making its report and has not answered yet");
		return OPERATION_BUSY;
	}
	if (o->verb == OPERATION_RETRY) {
		m->retire_at = 0;
		m->retire_tries = 0;
		s->queue.changes++;
		return operate(o, s->now.wall, changed, why);
	}
	retiring = scheduler_retire_not(s, m);
	result = operate(o, s->now.wall, changed, why);
	if (result == OPERATION_DONE)
		read_again(s, m, o);
	else if (retiring)
		scheduler_retire(s, m);
	return result;
}

/* It may be tried now, and so may its destination.  Returns how many recipients wait in it. */
static size_t hurry(struct scheduler *s, struct group *g)
{
	g->retry = g->destination->retry = 0;
	g->destination->blocked_until = 0;
	if (g->state == GROUP_ASLEEP)
		queue_ready(&s->queue, g);
	return g->open;
}

/* The recipients that an operation names, or all of them, are tried now. */
static enum operation_result retry_now(struct scheduler *s, struct message *m, const struct operation *o, size_t *changed,
                                       struct buf *why)
{
	for (size_t i = 0; i < m->group_count && o->count == 0; i++)
		*changed += hurry(s, &m->groups[i]);
	for (size_t i = 0; i < o->count; i++) {
		const struct recipient *r = message_recipient(m, o->recipients[i].offset);

		if (r != NULL && r->state == RECIPIENT_OPEN) {
			hurry(s, &m->groups[r->group]);
			*changed += 1;
		}
	}
	if (*changed == 0)
		buf_adds(why, "its recipients are settled already");
	s->attention = true;
	return *changed > 0 ? OPERATION_DONE : OPERATION_NOTHING;
}

enum operation_result scheduler_operate(struct scheduler *s, const struct operation *o, struct moment now, size_t *changed,
                                        struct buf *why)
{
	struct message *m;
	enum operation_result result;

	s->now = now;
	*changed = 0;
	forget_removed(s);
	m = o->held ? NULL : find_job(s, o->job);
	if (m != NULL && m->look_again == 0 && m->open == 0)
		return operate_on_settled(s, m, o, changed, why);
	if (o->verb == OPERATION_RETRY && m != NULL && m->look_again == 0 && m->inode == o->inode)
		return retry_now(s, m, o, changed, why);
	if (m != NULL && message_is_fed(m)) {
		queue_park(&s->queue, m);
		buf_adds(why, "a transport agent is delivering it and has not reported yet");
		return OPERATION_BUSY;
	}
	/* it will be read once more, and whom the file does not mark as delivered gets it again */
	if (m != NULL && m->unmarked && o->verb != OPERATION_REMOVE && !retire_mend_marks(m, NULL)) {
		buf_adds(why, "marks of recipients cannot be written into its control file: see the log");
		result = OPERATION_TROUBLE;
	} else {
		result = operate(o, now.wall, changed, why);
	}
	if (result == OPERATION_DONE)
		read_again(s, m, o);
	else if (result != OPERATION_BUSY)
		scheduler_unpark(s, o->job);
	return result;
}

/*
 * Recipients have another place in the maps by now: the message goes there, and is another one by then.  `words` has the
 * request, to be cut up at will.  False if that is not possible now.
 */
static bool move(struct scheduler *s, struct message *m, char *words)
{
	struct control_request r;
	struct buf why = { 0 };
	enum operation_result result = OPERATION_BUSY;
	size_t changed, failed = 0;
	bool understood = control_line_parse_request(words, &r, &why) && r.operation.verb == OPERATION_REROUTE;

	r.operation.refused = true;
	r.operation.by = "runqueue";
	r.operation.json = s->json;
	for (size_t i = 0; understood && i < r.operation.count; i++) {
		int64_t offset = r.operation.recipients[i].offset;
		const struct recipient *to = message_recipient(m, offset);

		failed += to != NULL && to->state == RECIPIENT_FAILED &&
		          (i == 0 || r.operation.recipients[i - 1].offset != offset);
	}
	if (!understood)
		complain("zlmtp-report sent an unknown answer to a reroute: %s", buf_str(&why));
	/* one that is about to be removed, or that an agent or an operator has, is asked about again */
	else if (!message_is_fed(m) && !m->parked && (m->open > 0 || m->awaits_report) &&
	         (!m->unmarked || retire_mend_marks(m, NULL)))
		result = operate(&r.operation, s->now.wall, &changed, &why);
	if (result == OPERATION_TROUBLE)
		complain("%s: recipients that have moved cannot be given their new places: %s", m->name, buf_str(&why));
	if (result == OPERATION_DONE) {
		s->failed -= failed;
		if (s->verbose) {
			struct buf id = { 0 };

			message_add_id(&id, m);
			printf("%s: %zu recipient%s rerouted, as the maps have another place now\n", buf_str(&id), changed,
			       changed == 1 ? "" : "s");
			buf_free(&id);
		}
		read_again(s, m, &r.operation);
	}
	free(r.operation.recipients);
	buf_free(&why);
	return result == OPERATION_DONE;
}

void scheduler_answered(void *context, const struct reporter_request *request, enum reporter_answer answer, char *words)
{
	struct scheduler *s = context;
	struct message *m = queue_find(&s->queue, request->id);

	if (m == NULL || m->inode != request->inode || m->asked == 0)
		return;
	m->asked--;
	if (answer != REPORTER_MOVED)
		reports_answered(s, m, request, answer, words);
	else if (m->asked > 0 || !move(s, m, words))
		reports_answered(s, m, request, REPORTER_LATER, "a recipient has moved, and cannot go there now");
}

static void wake(struct scheduler *s)
{
	int64_t now = s->now.ms;
	struct group *g;

	if (s->once || s->stopping)
		return;
	s->attention |= s->unblock_at <= now;
	while ((g = queue_first_asleep(&s->queue)) != NULL && g->due <= now) {
		queue_ready(&s->queue, g);
		s->attention = true;
	}
}

/* ---- agents and what they get ---- */

static bool is_blocked(const struct scheduler *s, const struct destination *d)
{
	/* with `once` there is no second try */
	return d->blocked_until != 0 && (s->once || d->blocked_until > s->now.ms);
}

static bool has_work(const struct scheduler *s, const struct destination *d)
{
	return !s->stopping && d->ready.count > 0 && !is_blocked(s, d);
}

static void let_go(struct agent *w)
{
	if (w->destination == NULL)
		return;
	w->destination->agents--;
	w->destination = NULL;
}

static void give(struct agent *w, struct destination *d)
{
	w->destination = d;
	w->probe = true;
	d->agents++;
}

/* One burst: a single job while it is unknown how the destination does, then overfeed + 1. */
static void feed(struct scheduler *s, struct agent *w)
{
	struct destination *d = w->destination;
	size_t n = w->probe ? 1 : w->clause->overfeed + 1u;

	w->probe = false;
	for (; n > 0 && d->ready.count > 0; n--) {
		struct group *g = d->ready.first;

		g->unreachable = false;
		queue_feed(&s->queue, g, &w->fed, w);
		g->agent_pid = w->pid;
		agent_job(w, g->message->name, d->host, s->now.ms);
	}
}

/* The one that is parked for longest, of one channel and one clause or of all (NULL). */
static struct agent *find_parked(const struct scheduler *s, const char *channel, const struct clause *clause)
{
	struct agent *longest = NULL;

	for (struct agent *w = s->agents; w != NULL; w = w->next)
		if (w->state == AGENT_IDLE && (clause == NULL || w->clause == clause) &&
		    (channel == NULL || strcmp(w->channel, channel) == 0) && (longest == NULL || w->since < longest->since))
			longest = w;
	return longest;
}

/* False if there are as many agents as there may be; then one that is parked makes room, for when it has gone. */
static bool may_start(struct scheduler *s, const struct destination *d)
{
	const struct clause *c = d->clause;
	size_t channel = 0, ring = 0;
	struct agent *parked;

	for (const struct agent *w = s->agents; w != NULL; w = w->next) {
		channel += strcmp(w->channel, d->channel) == 0;
		ring += w->clause == c;
	}
	/* only one that counts for the limit makes room below it */
	if (ring >= c->max_ring)
		parked = find_parked(s, NULL, c);
	else if (channel >= c->max_channel)
		parked = find_parked(s, d->channel, NULL);
	else if (s->agent_count >= c->max_agents)
		parked = find_parked(s, NULL, NULL);
	else
		return true;
	if (parked != NULL)
		agent_dismiss(parked, s->now.ms);
	return false;
}

static void start_agent(struct scheduler *s, struct destination *d)
{
	struct buf why = { 0 };
	struct agent *agent = agent_launch(d->clause, d, s->now.ms, &why);

	if (agent == NULL) {
		complain("channel %s, host %s: %s", d->channel, d->host, buf_str(&why));
		s->trouble = true;
		verdict_block(s, d, "", buf_str(&why));
	} else {
		agent->next = s->agents;
		s->agents = agent;
		s->agent_count++;
		give(agent, d);
	}
	buf_free(&why);
}

/* A free agent, or a new one, for each destination that has mail and may have one more. */
static void staff(struct scheduler *s)
{
	s->unblock_at = CLOCK_NEVER;
	for (struct destination *d = s->queue.first_busy, *next; d != NULL; d = next) {
		struct agent *w;

		next = d->busy_next;
		if (is_blocked(s, d))
			s->unblock_at = sooner(s->unblock_at, d->blocked_until);
		if (!has_work(s, d) || !is_deliverable(s, d) || d->agents >= d->clause->max_destination)
			continue;
		d->blocked_until = 0;
		for (w = s->agents; w != NULL && !agent_suits(w, d);)
			w = w->next;
		if (w != NULL) {
			give(w, d);
			feed(s, w);
		} else if (may_start(s, d)) {
			start_agent(s, d);
		}
	}
}

static void feed_hungry(struct scheduler *s)
{
	for (struct agent *w = s->agents; w != NULL; w = w->next) {
		if (w->state != AGENT_HUNGRY || w->destination == NULL)
			continue;
		if (has_work(s, w->destination))
			feed(s, w);
		else
			let_go(w);
	}
}

static void park_hungry(struct scheduler *s)
{
	bool ending = s->stopping || (s->once && !scheduler_is_scanning(s));

	for (struct agent *w = s->agents; w != NULL; w = w->next) {
		if (ending && (w->state == AGENT_HUNGRY || w->state == AGENT_IDLE))
			agent_dismiss(w, s->now.ms);
		else if (w->state == AGENT_HUNGRY)
			agent_idle(w, s->now.ms);
	}
}

static void look_after_agents(struct scheduler *s)
{
	int64_t now = s->now.ms;

	for (struct agent *w = s->agents; w != NULL; w = w->next) {
		if (w->state == AGENT_IDLE && now - w->since >= w->clause->idle_max * 1000)
			agent_dismiss(w, s->now.ms);
		if (w->state == AGENT_SILENT && now - w->since >= SILENT_PAUSE)
			kill(w->pid, SIGKILL);
		/* it was told to exit, and has nothing to do */
		if (w->state == AGENT_LEAVING && w->fed.count == 0 && now - w->since >= LEAVING_PAUSE) {
			complain("agent %ld (%s) has not exited %d s after it was told to", (long)w->pid, w->channel,
			         LEAVING_PAUSE / 1000);
			kill(w->pid, w->hurried ? SIGKILL : SIGTERM);
			w->hurried = true;
			w->since = now - LEAVING_PAUSE + HURRY_PAUSE;
		}
		if (now >= agent_too_silent_at(w, s->silence))
			agent_hurry(w, s->silence, now);
		agent_tell_untold(w, now, false);
		agent_flush(w, now);
	}
}

/* ---- mail that goes ---- */

/* False if it is to be tried again later; with `once` there is not much of a later. */
static bool retire(struct scheduler *s, struct message *m)
{
	m->awaits_report = m->asked > 0;
	if (m->awaits_report)
		return true;
	switch (retire_message(m, s->reporter, s->report_directory, s->remover, s->conf, s->now.wall, s->json)) {
	case RETIRE_DONE:
		m->leaving = true;
		s->removed++;
		return true;
	case RETIRE_UNTOLD:
		m->awaits_report = true;
		reports_ask_final(s, m);
		return true;
	case RETIRE_GONE:
		queue_remove(&s->queue, m);
		return true;
	case RETIRE_READ_AGAIN: {
		char *name = xstrdup(m->name);
		uint64_t id = m->id;

		queue_remove(&s->queue, m);
		queue_put_aside(&s->queue, id, name, s->now.ms + READ_AGAIN_PAUSE);
		free(name);
		s->trouble = true;
		return true;
	}
	case RETIRE_TROUBLE:
		if (m->untold_why == NULL)
			message_untold(&s->queue, m, "its files, or one in postman/, cannot be read or written: see the log",
			               s->now.wall);
		s->trouble = true;
		return s->once;
	case RETIRE_LATER:
		break;
	}
	s->trouble |= s->once && m->retire_tries >= LAST_RETIRE_TRY;
	return s->once && m->retire_tries >= LAST_RETIRE_TRY;
}

static void retire_all(struct scheduler *s)
{
	struct message *m = s->retiring, *next;
	int64_t now = s->now.ms;

	s->retiring = NULL;
	s->retiring_end = &s->retiring;
	for (; m != NULL; m = next) {
		next = m->next_retiring;
		if (m->retire_at > now) {
			scheduler_retire(s, m);
		} else if (!retire(s, m)) {
			scheduler_retire_later(s, m);
		}
	}
}

/* ---- in and out ---- */

void scheduler_work(struct scheduler *s, struct moment now)
{
	s->now = now;
	if (scheduler_is_scanning(s))
		read_on(s, SLICE);
	wake(s);
	if (s->attention) {
		s->attention = false;
		feed_hungry(s);
		staff(s);
		park_hungry(s);
	}
	/* agents get their work before we clear up behind them */
	look_after_agents(s);
	retire_all(s);
	reports_work(s);
	remover_run(s->remover);
	forget_removed(s);
}

static void line(void *context, struct agent *w, char *text)
{
	verdict_line(context, w, text);
}

void scheduler_read(struct scheduler *s, struct agent *w, struct moment now)
{
	s->now = now;
	/* poll tells if there is more */
	agent_read(w, s->now.ms, line, s);
	verdict_write_results(s);
}

/* `idle`: it was started, and did nothing. */
static void complain_of_end(const struct agent *w, int status, bool idle)
{
	struct buf end = { 0 };

	child_describe_end(&end, status);
	if (status == 0)
		buf_adds(&end, idle ? "ended before it did anything: is the command of its clause a transport agent?"
		                    : "ended without a report on all that it had");
	if (WIFEXITED(status) && WEXITSTATUS(status) == EX_USAGE)
		buf_adds(&end, ": it refused the options of its command; correct scheduler.conf");
	complain("agent %ld (%s) %s", (long)w->pid, w->channel, buf_str(&end));
	buf_free(&end);
}

bool scheduler_buried(struct scheduler *s, pid_t pid, int status, struct moment now)
{
	struct agent **at = &s->agents, *w;
	struct destination *d;
	bool idle;

	s->now = now;
	while (*at != NULL && (*at)->pid != pid)
		at = &(*at)->next;
	w = *at;
	if (w == NULL)
		return false;
	while (agent_read(w, s->now.ms, line, s))
		;
	verdict_write_results(s);
	agent_tell_untold(w, s->now.ms, true);
	d = w->destination;
	let_go(w);
	/* one that ends without having done anything would only do so again */
	idle = d != NULL && !w->useful && !s->stopping;
	if (idle) {
		struct buf why = { 0 };

		buf_adds(&why, "the transport agent ended before it did anything");
		if (w->words != NULL)
			buf_addf(&why, ": %s", w->words);
		verdict_block(s, d, "", buf_str(&why));
		buf_free(&why);
	}
	if (verdict_ended(s, w) != 0 || status != 0 || idle) {
		complain_of_end(w, status, idle);
		s->trouble = true;
	}
	*at = w->next;
	s->agent_count--;
	agent_free(&w);
	s->attention = true;
	return true;
}

int64_t scheduler_deadline(const struct scheduler *s)
{
	int64_t deadline = s->attention || scheduler_is_scanning(s) ? 0 : remover_deadline(s->remover);
	const struct group *g = queue_first_asleep(&s->queue);

	if (!s->once && !s->stopping) {
		deadline = sooner(deadline, s->unblock_at);
		if (g != NULL)
			deadline = sooner(deadline, g->due);
	}
	for (const struct agent *w = s->agents; w != NULL; w = w->next) {
		if (w->again != 0)
			deadline = sooner(deadline, w->again);
		deadline = sooner(deadline, agent_too_silent_at(w, s->silence));
		if (w->lines.left_out > 0)
			deadline = sooner(deadline, w->lines.end);
		if (w->state == AGENT_IDLE)
			deadline = sooner(deadline, w->since + w->clause->idle_max * 1000);
		if (w->state == AGENT_SILENT)
			deadline = sooner(deadline, w->since + SILENT_PAUSE);
		if (w->state == AGENT_LEAVING && w->fed.count == 0)
			deadline = sooner(deadline, w->since + LEAVING_PAUSE);
	}
	for (const struct message *m = s->retiring; m != NULL; m = m->next_retiring)
		deadline = sooner(deadline, m->retire_at);
	deadline = sooner(deadline, reports_deadline(s));
	return deadline;
}

void scheduler_stop(struct scheduler *s, struct moment now)
{
	s->now = now;
	s->stopping = true;
	s->attention = true;
	for (struct agent *w = s->agents; w != NULL; w = w->next)
		agent_dismiss(w, s->now.ms);
}

bool scheduler_finished(const struct scheduler *s)
{
	if (s->agents != NULL || s->attention || scheduler_is_scanning(s) || (s->once && !s->stopping && reports_pending(s)))
		return false;
	return s->stopping || (s->once && s->retiring == NULL);
}
