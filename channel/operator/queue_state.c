#include "channel/operator/queue_state.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "channel/spool/control.h"
#include "lib/alloc.h"
#include "lib/clock.h"
#include "lib/file.h"
#include "lib/log.h"
#include "lib/parse.h"
#include "lib/process.h"

#define HEAD "zlmtp-runqueue-state"
/* A line for each of 5 million recipients: more is not read. */
#define QUEUE_STATE_LARGEST ((size_t)512 * 1024 * 1024)
#define SHORTEST_PAUSE 3000
/* Written in parts of that size: a long queue, each with its reason, is not kept in memory a second time. */
#define PART ((size_t)256 * 1024)
/* Writing may take a hundredth of our time and no more. */
#define PAUSE_PER_EFFORT 100

/* ---- writing ---- */

/* A moment of clock_ms() in seconds since 1970, at least 1. */
static int64_t wall_time(const struct scheduler *s, int64_t when)
{
	int64_t seconds = s->now.wall + (when - s->now.ms + 999) / 1000;

	return seconds > 0 ? seconds : 1;
}

int64_t queue_state_next(const struct scheduler *s, const struct group *g)
{
	const char *unfit;

	if (scheduler_holds(g->destination, &unfit))
		return NEXT_HELD;
	if (s->once || s->stopping)
		return g->state == GROUP_FED || (g->state == GROUP_READY && !s->stopping) ? NEXT_NOW : NEXT_UNKNOWN;
	if (g->state == GROUP_ASLEEP)
		return wall_time(s, g->due);
	if (g->state == GROUP_READY && g->destination->blocked_until > s->now.ms)
		return wall_time(s, g->destination->blocked_until);
	return NEXT_NOW;
}

/* A line up to the next try: `offset` is the place of a recipient, or QUEUE_STATE_REPORT. */
static void add_line(struct buf *out, const struct message *m, off_t offset, int64_t next)
{
	buf_addf(out, "%s\t%jd.%09ld\t%jd\t", m->name, (intmax_t)m->arrived.tv_sec, m->arrived.tv_nsec, (intmax_t)offset);
	if (next == NEXT_HELD)
		buf_adds(out, "held");
	else if (next == NEXT_UNKNOWN)
		buf_addc(out, '-');
	else
		buf_addf(out, "%" PRId64, next);
}

static void add_group(struct buf *out, const struct scheduler *s, const struct group *g)
{
	const struct message *m = g->message;
	int64_t next = queue_state_next(s, g);
	bool reason = scheduler_reason(s, g->destination) != NULL;

	for (uint32_t i = g->first; i != NO_RECIPIENT; i = m->recipients[i].next) {
		const struct recipient *r = &m->recipients[i];

		/* most of a long queue is simply due: not a word about it */
		if (r->state == RECIPIENT_OPEN && (next != NEXT_NOW || r->answer != NULL || reason)) {
			int64_t answered;
			const char *answer = scheduler_answer(s, m, r, &answered);

			add_line(out, m, r->offset, next);
			buf_addf(out, "\t%jd\t%s\n", (intmax_t)answered, answer != NULL ? answer : "");
		}
	}
}

static void add_message(struct buf *out, const struct scheduler *s, const struct message *m)
{
	for (size_t i = 0; i < m->group_count; i++)
		if (m->groups[i].open > 0)
			add_group(out, s, &m->groups[i]);
	if (m->open == 0 && m->untold_why != NULL) {
		int64_t next = s->once || s->stopping ? NEXT_UNKNOWN : m->retire_at > s->now.ms ? wall_time(s, m->retire_at)
		               : NEXT_NOW;

		add_line(out, m, QUEUE_STATE_REPORT, next);
		buf_addf(out, "\t%jd\t%s\n", (intmax_t)m->untold_at, m->untold_why);
	}
}

static bool compose(void *scheduler, int fd)
{
	const struct scheduler *s = scheduler;
	const struct queue *q = &s->queue;
	struct buf part = { 0 };
	bool ok = true;

	buf_addf(&part, HEAD " 1\t%ld\t%jd\n", (long)getpid(), (intmax_t)s->now.wall);
	for (size_t i = 0; ok && i < q->message_buckets; i++) {
		for (const struct message *m = q->messages[i]; m != NULL; m = m->same_bucket)
			add_message(&part, s, m);
		if (part.len >= PART || i + 1 == q->message_buckets) {
			ok = file_write(fd, part.data, part.len);
			buf_clear(&part);
		}
	}
	buf_free(&part);
	return ok;
}

int64_t queue_state_deadline(const struct queue_state_writer *w, const struct scheduler *s)
{
	return w->begun && w->changes == s->queue.changes ? CLOCK_NEVER : w->next;
}

void queue_state_write(struct queue_state_writer *w, struct scheduler *s, bool last)
{
	int64_t now = clock_ms(), pause;
	bool ok;

	if (!last && queue_state_deadline(w, s) > now)
		return;
	/* the owner of the post office may list the queue, whichever user runs it */
	file_as_owner("../.");
	ok = file_replace_by(QUEUE_STATE_FILE, 0640, compose, s);
	file_as_oneself();
	if (!ok && !w->failed) {
		complain("cannot write %s for runqueue -l: %s", QUEUE_STATE_NAME, strerror(errno));
		w->failed = true;
	}
	pause = (clock_ms() - now) * PAUSE_PER_EFFORT;
	w->next = clock_ms() + (pause > SHORTEST_PAUSE ? pause : SHORTEST_PAUSE);
	w->changes = s->queue.changes;
	w->begun = true;
}

/* ---- reading ---- */

/* Cuts off the word up to the next TAB; an empty one at the end of the line. */
static char *next_word(char **at)
{
	char *word = *at, *end = word + strcspn(word, "\t");

	*at = *end != '\0' ? end + 1 : end;
	*end = '\0';
	return word;
}

static bool is_next_try(const char *word, int64_t *next)
{
	uint64_t n;

	if (strcmp(word, "held") == 0)
		*next = NEXT_HELD;
	else if (strcmp(word, "-") == 0)
		*next = NEXT_UNKNOWN;
	else if (parse_number(word, INT64_MAX, &n))
		*next = (int64_t)n;
	else
		return false;
	return true;
}

/* Seconds, before 1970 with a minus, a dot and nine digits. */
static bool is_moment(char *word, struct timespec *moment)
{
	char *dot = strchr(word, '.');
	bool negative = word[0] == '-';
	uint64_t seconds, fraction;

	if (dot == NULL || strlen(dot + 1) != 9)
		return false;
	*dot = '\0';
	if (!parse_number(word + negative, INT64_MAX, &seconds) || !parse_number(dot + 1, 999999999, &fraction))
		return false;
	*moment = (struct timespec){ .tv_sec = negative ? -(time_t)seconds : (time_t)seconds, .tv_nsec = (long)fraction };
	return true;
}

/* Process and time of the first line. */
static bool parse_head(char *text, uint64_t *process, int64_t *written)
{
	uint64_t seconds;

	if (strcmp(next_word(&text), HEAD " 1") != 0 || !parse_number(next_word(&text), INT32_MAX, process) ||
	    !parse_number(text, INT64_MAX, &seconds))
		return false;
	*written = (int64_t)seconds;
	return true;
}

/* The words of any other line. */
static bool parse_line(char *text, struct queue_state_line *l)
{
	uint64_t offset, answered;

	l->name = next_word(&text);
	if (!control_id(l->name, &l->id) || !is_moment(next_word(&text), &l->arrived) ||
	    !parse_number(next_word(&text), INT64_MAX, &offset) ||
	    !is_next_try(next_word(&text), &l->next) || !parse_number(next_word(&text), INT64_MAX, &answered))
		return false;
	l->offset = (off_t)offset;
	l->answered = (int64_t)answered;
	l->answer = text;
	return true;
}

static int compare(const void *a, const void *b)
{
	const struct queue_state_line *x = a, *y = b;

	if (x->id != y->id)
		return x->id < y->id ? -1 : 1;
	return x->offset < y->offset ? -1 : x->offset > y->offset;
}

/* Cuts up o->text; returns the number of the line that is wrong, 0 if there is none. */
static size_t parse_text(struct queue_state *o, uint64_t *process)
{
	char *at = o->text.data, *end = at + o->text.len;
	size_t number = 1, capacity = 0;

	for (; number == 1 || at < end; number++) {
		char *lf = memchr(at, '\n', (size_t)(end - at));

		if (lf == NULL || memchr(at, '\0', (size_t)(lf - at)) != NULL)
			return number;
		*lf = '\0';
		o->lines = xgrow(o->lines, o->count, &capacity, sizeof *o->lines);
		if (number == 1 ? !parse_head(at, process, &o->written) : !parse_line(at, &o->lines[o->count++]))
			return number;
		at = lf + 1;
	}
	if (o->count > 1)
		qsort(o->lines, o->count, sizeof *o->lines, compare);
	return 0;
}

static bool take_text(struct queue_state *o, uint64_t *process, struct buf *why)
{
	size_t wrong = parse_text(o, process);

	if (wrong == 0)
		return true;
	buf_addf(why, "%s:%zu: expected %s", QUEUE_STATE_NAME, wrong,
	         wrong == 1 ? HEAD " 1, process and time" : "name, arrival, offset, next try, time and answer");
	queue_state_free(o);
	return false;
}

bool queue_state_parse(struct queue_state *o, const char *text, size_t length, struct buf *why)
{
	uint64_t process;

	*o = (struct queue_state){ 0 };
	buf_reserve(&o->text, length + 1);
	buf_add(&o->text, text, length);
	return take_text(o, &process, why);
}

enum queue_state_result queue_state_read(struct queue_state *o, struct buf *why)
{
	uint64_t process = 0;

	*o = (struct queue_state){ .text = { .limit = QUEUE_STATE_LARGEST } };
	buf_reserve(&o->text, 1);
	if (!file_read_path(QUEUE_STATE_FILE, &o->text)) {
		int error = errno;

		queue_state_free(o);
		if (error == ENOENT)
			return QUEUE_STATE_NONE;
		buf_addf(why, "%s: %s", QUEUE_STATE_NAME, file_error(error));
		return QUEUE_STATE_UNREADABLE;
	}
	if (!take_text(o, &process, why))
		return QUEUE_STATE_UNREADABLE;
	/* the process with its number now must have had it then */
	o->process = process_lives((pid_t)process) &&
	             !process_began_after((pid_t)process, &(struct timespec){ .tv_sec = (time_t)o->written })
	             ? (pid_t)process : 0;
	return QUEUE_STATE_OK;
}

const struct queue_state_line *queue_state_find(const struct queue_state *o, const char *name, const struct timespec *arrived,
                                        off_t offset)
{
	struct queue_state_line key = { .offset = offset };
	const struct queue_state_line *found;

	if (o->count == 0 || !control_id(name, &key.id))
		return NULL;
	found = bsearch(&key, o->lines, o->count, sizeof key, compare);
	if (found == NULL || found->arrived.tv_sec != arrived->tv_sec || found->arrived.tv_nsec != arrived->tv_nsec)
		return NULL;
	return strcmp(found->name, name) == 0 ? found : NULL;
}

void queue_state_free(struct queue_state *o)
{
	free(o->lines);
	buf_free(&o->text);
	*o = (struct queue_state){ 0 };
}
