#include "channel/operator/status.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "channel/operator/queue_state.h"
#include "channel/queue/control_line.h"
#include "channel/spool/spoolid.h"
#include "lib/alloc.h"
#include "lib/clock.h"
#include "lib/parse.h"
#include "lib/text.h"

/* Counting may take a hundredth of our time and no more. */
#define PAUSE_PER_EFFORT 100
#define NAME_BYTES_MAX 300
#define REASON_BYTES_MAX 300

/* ---- runqueue's side ---- */

bool status_is_request(char *line, const char **tag, size_t *rows)
{
	size_t digits = strspn(line, "0123456789");
	uint64_t n;

	if (digits == 0 || digits > 20 || strncmp(line + digits, "\tstatus\t", 8) != 0 ||
	    !parse_number(line + digits + 8, STATUS_ROWS_MAX, &n))
		return false;
	line[digits] = '\0';
	*tag = line;
	*rows = (size_t)n;
	return true;
}

static void count_message(struct status_sums *sums, const struct message *m)
{
	if (m->look_again != 0 || m->open == 0)
		return;
	sums->messages++;
	sums->recipients += m->open;
	for (size_t i = 0; i < m->group_count; i++) {
		const struct group *g = &m->groups[i];

		if (g->state == GROUP_FED)
			sums->fed += g->open;
		if (g->state == GROUP_ASLEEP && (g->destination->first_due == 0 || g->due < g->destination->first_due))
			g->destination->first_due = g->due;
	}
	for (uint32_t i = 0; i < m->count; i++) {
		const struct recipient *r = &m->recipients[i];
		struct destination *d = m->groups[r->group].destination;

		if (r->state != RECIPIENT_OPEN || r->answer == NULL || (d->answer != NULL && r->answered <= d->answered))
			continue;
		free(d->answer);
		d->answer = xstrdup(r->answer);
		d->answered = r->answered;
	}
	if (sums->oldest.tv_sec == 0 || m->arrived.tv_sec < sums->oldest.tv_sec ||
	    (m->arrived.tv_sec == sums->oldest.tv_sec && m->arrived.tv_nsec < sums->oldest.tv_nsec)) {
		sums->oldest = m->arrived;
		sums->oldest_inode = m->file_inode;
	}
}

static void add_sums(struct buf *out, const char *tag, const struct scheduler *s, const struct status_sums *sums, int64_t began)
{
	const struct stat oldest = { .st_ino = sums->oldest_inode, .st_mtim = sums->oldest };
	size_t unserved = 0;
	const char *unfit;

	for (const struct destination *d = s->queue.all_destinations; d != NULL; d = d->next)
		unserved += d->groups > 0 && scheduler_holds(d, &unfit) ? d->groups : 0;
	buf_addf(out, "%s\tsums\t%ld\t%" PRId64 "\t%" PRIu64 "\t%zu\t%zu\t%zu\t%zu\t%zu\t%zu\t%zu\t%zu\t%jd\t", tag,
	         (long)getpid(),
	         (clock_ms() - began) / 1000, s->queue.serial, s->removed, s->delivered, s->failed, s->deferred, sums->messages,
	         sums->recipients, sums->fed, unserved, (intmax_t)sums->oldest.tv_sec);
	if (sums->oldest.tv_sec != 0 && sums->oldest_inode != 0)
		spoolid_add(out, &oldest);
	else
		buf_addc(out, '-');
	buf_addc(out, '\n');
}

static const char *state_of(const struct agent *w)
{
	switch (w->state) {
	case AGENT_BUSY: return w->fed.count > 0 ? "delivering" : "starting";
	case AGENT_HUNGRY: return "ready";
	case AGENT_IDLE: return "idle";
	case AGENT_LEAVING: return "leaving";
	case AGENT_SILENT: return "ending";
	}
	return "-";
}

static int busiest_first(const void *a, const void *b)
{
	const struct agent *x = *(const struct agent *const *)a, *y = *(const struct agent *const *)b;

	if (x->fed.count != y->fed.count)
		return x->fed.count > y->fed.count ? -1 : 1;
	return x->pid < y->pid ? -1 : x->pid > y->pid;
}

static void add_agents(struct buf *out, const char *tag, size_t rows, const struct scheduler *s)
{
	const struct agent **list = xcalloc(s->agent_count + 1, sizeof(const struct agent *));
	size_t n = 0;

	for (const struct agent *w = s->agents; w != NULL && n < s->agent_count; w = w->next)
		list[n++] = w;
	qsort(list, n, sizeof(const struct agent *), busiest_first);
	for (size_t i = 0; i < n && i < rows; i++) {
		const struct agent *w = list[i];

		buf_addf(out, "%s\tagent\t%ld\t", tag, (long)w->pid);
		text_add_clean_string(out, w->channel, NAME_BYTES_MAX);
		buf_addc(out, '\t');
		text_add_clean_string(out, w->destination != NULL ? w->destination->host : w->host != NULL ? w->host : "-",
		                      NAME_BYTES_MAX);
		buf_addf(out, "\t%s\t%zu\t%" PRId64 "\n", state_of(w), w->fed.count, (s->now.ms - w->since) / 1000);
	}
	free(list);
}

static bool is_longer(const struct destination *a, const struct destination *b)
{
	if (a->groups != b->groups)
		return a->groups > b->groups;
	return strcmp(a->channel, b->channel) != 0 ? strcmp(a->channel, b->channel) < 0 : strcmp(a->host, b->host) < 0;
}

static int64_t next_try(const struct scheduler *s, const struct destination *d)
{
	const char *unfit;

	if (scheduler_holds(d, &unfit))
		return NEXT_HELD;
	if (d->blocked_until > s->now.ms)
		return s->now.wall + (d->blocked_until - s->now.ms) / 1000;
	if (d->ready.count > 0 || d->agents > 0)
		return NEXT_NOW;
	return d->first_due != 0 && !s->once && !s->stopping ? s->now.wall + (d->first_due - s->now.ms) / 1000 : NEXT_UNKNOWN;
}

static void add_destinations(struct buf *out, const char *tag, size_t rows, const struct scheduler *s)
{
	const struct destination *list[STATUS_ROWS_MAX];
	size_t n;

	/* the longest ones, in order, without sorting all that there are */
	n = 0;
	for (const struct destination *d = s->queue.all_destinations; d != NULL; d = d->next) {
		size_t at;

		if (d->groups == 0 || (n == rows && (rows == 0 || !is_longer(d, list[n - 1]))))
			continue;
		n += n < rows;
		for (at = n - 1; at > 0 && is_longer(d, list[at - 1]); at--)
			list[at] = list[at - 1];
		list[at] = d;
	}
	for (size_t i = 0; i < n; i++) {
		const struct destination *d = list[i];
		const char *reason = scheduler_reason(s, d);

		/* nothing is wrong with the destination itself: what it said of its recipients */
		if (reason == NULL)
			reason = d->answer;
		buf_addf(out, "%s\tdestination\t", tag);
		text_add_clean_string(out, d->channel, NAME_BYTES_MAX);
		buf_addc(out, '\t');
		text_add_clean_string(out, d->host, NAME_BYTES_MAX);
		buf_addf(out, "\t%zu\t%zu\t%zu\t%" PRId64 "\t", d->groups, d->ready.count, d->agents, next_try(s, d));
		if (reason != NULL)
			text_add_clean_string(out, reason, REASON_BYTES_MAX);
		buf_addc(out, '\n');
	}
}

void status_add(struct buf *out, const char *tag, size_t rows, const struct scheduler *s, struct status_sums *sums,
                int64_t began)
{
	int64_t start = clock_ms();

	if (sums->next <= start) {
		*sums = (struct status_sums){ 0 };
		for (struct destination *d = s->queue.all_destinations; d != NULL; d = d->next) {
			d->first_due = 0;
			free(d->answer);
			d->answer = NULL;
		}
		for (size_t i = 0; i < s->queue.message_buckets; i++)
			for (const struct message *m = s->queue.messages[i]; m != NULL; m = m->same_bucket)
				count_message(sums, m);
		sums->next = clock_ms() + (clock_ms() - start) * PAUSE_PER_EFFORT;
	}
	add_sums(out, tag, s, sums, began);
	add_agents(out, tag, rows, s);
	add_destinations(out, tag, rows, s);
	buf_addf(out, "%s\tdone\t0\t\n", tag);
}

/* ---- the operator's side ---- */

bool status_is_whole(const struct buf *answer)
{
	const char *last = answer->len > 1 ? memrchr(answer->data, '\n', answer->len - 1) : NULL;
	const char *line = last != NULL ? last + 1 : buf_str(answer), *kind;

	if (answer->len == 0 || answer->data[answer->len - 1] != '\n')
		return false;
	kind = strchr(line, '\t');
	return kind != NULL && (strncmp(kind, "\tdone\t", 6) == 0 || strncmp(kind, "\tbad\t", 5) == 0);
}

static bool parse_sums(struct status *s, char *at)
{
	uint64_t process, *const numbers[] = {
		&process, &s->seconds, &s->arrived, &s->removed, &s->delivered, &s->failed, &s->deferred, &s->messages, &s->recipients, &s->fed,
		&s->unserved,
	};

	for (size_t i = 0; i < sizeof numbers / sizeof numbers[0]; i++)
		if (!control_line_number(&at, numbers[i]))
			return false;
	if (!control_line_time(&at, &s->oldest))
		return false;
	s->process = (pid_t)process;
	s->oldest_id = strsep(&at, "\t");
	return s->oldest_id != NULL;
}

static bool parse_agent(struct status *s, char *at)
{
	struct status_agent a = { 0 };
	uint64_t process;

	if (!control_line_number(&at, &process))
		return false;
	a.pid = (pid_t)process;
	a.channel = strsep(&at, "\t");
	a.host = strsep(&at, "\t");
	a.state = strsep(&at, "\t");
	if (a.state == NULL || !control_line_number(&at, &a.jobs) || !control_line_number(&at, &a.seconds))
		return false;
	s->agents = xgrow(s->agents, s->agent_count, &s->agent_capacity, sizeof *s->agents);
	s->agents[s->agent_count++] = a;
	return true;
}

static bool parse_destination(struct status *s, char *at)
{
	struct status_destination d = { .channel = strsep(&at, "\t") };
	const char *next;
	uint64_t n = 0;

	d.host = strsep(&at, "\t");
	if (!control_line_number(&at, &d.messages) || !control_line_number(&at, &d.ready) ||
	    !control_line_number(&at, &d.agents))
		return false;
	next = strsep(&at, "\t");
	d.reason = strsep(&at, "\t");
	if (d.reason == NULL || (next[0] != '-' && !parse_number(next, INT64_MAX, &n)))
		return false;
	d.next = next[0] != '-' ? (int64_t)n : strcmp(next, "-2") == 0 ? NEXT_HELD : NEXT_UNKNOWN;
	s->destinations = xgrow(s->destinations, s->destination_count, &s->destination_capacity, sizeof *s->destinations);
	s->destinations[s->destination_count++] = d;
	return true;
}

static bool parse_done(struct status *s, char *at)
{
	(void)s, (void)at;
	return true;
}

bool status_parse(struct status *s, const struct buf *answer)
{
	static const struct line_kind {
		const char *name;
		bool (*parse)(struct status *s, char *at);
	} kinds[] = {
		{ "sums", parse_sums }, { "agent", parse_agent }, { "destination", parse_destination }, { "done", parse_done },
	};
	const struct line_kind *kind;
	char *line, *rest, *word;
	bool ok = true;

	*s = (struct status){ 0 };
	/* the owner of the post office says what is shown, perhaps on root's terminal */
	for (size_t at = 0; at < answer->len; at++) {
		size_t n = at;

		while (n < answer->len && answer->data[n] != '\t' && answer->data[n] != '\n')
			n++;
		text_add_clean(&s->text, answer->data + at, n - at, REASON_BYTES_MAX + 100);
		if (n < answer->len)
			buf_addc(&s->text, answer->data[n]);
		at = n;
	}
	for (line = strtok_r(s->text.data, "\n", &rest); ok && line != NULL; line = strtok_r(NULL, "\n", &rest)) {
		strsep(&line, "\t");
		word = strsep(&line, "\t");
		kind = line != NULL ? PARSE_ROW(kinds, word) : NULL;
		ok = kind != NULL && kind->parse(s, line);
	}
	ok = ok && s->process > 0;
	if (!ok)
		status_free(s);
	return ok;
}

void status_free(struct status *s)
{
	free(s->agents);
	free(s->destinations);
	buf_free(&s->text);
	*s = (struct status){ 0 };
}
