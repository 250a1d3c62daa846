#include "channel/operator/overview.h"

#include <inttypes.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "channel/operator/control_client.h"
#include "channel/operator/queue_state.h"
#include "channel/operator/status.h"
#include "channel/queue/control_line.h"
#include "lib/clock.h"

/* How long runqueue may be busy with something else, in milliseconds; then the files are read. */
#define PATIENCE 10000
/* A row has 500 bytes at most: no queue has more destinations. */
#define ANSWER_BYTES_MAX ((size_t)256 * 1024 * 1024)

/* ---- runqueue's side ---- */

bool overview_is_request(char *line, const char **tag)
{
	size_t digits = strspn(line, "0123456789");

	if (digits == 0 || digits > 20 || strcmp(line + digits, "\tsummary") != 0)
		return false;
	line[digits] = '\0';
	*tag = line;
	return true;
}

static void count_message(struct summary *summary, struct listing *sums, const struct scheduler *s, const struct message *m)
{
	sums->reports += m->open == 0 && m->untold_why != NULL;
	sums->finished += m->open == 0 && m->untold_why == NULL;
	if (m->open == 0 && m->untold_why == NULL)
		return;
	sums->messages += m->open > 0;
	if (sums->oldest == 0 || m->arrived.tv_sec < sums->oldest)
		sums->oldest = m->arrived.tv_sec;
	for (uint32_t i = 0; i < m->count; i++) {
		const struct recipient *r = &m->recipients[i];
		const struct destination *d = m->groups[r->group].destination;
		struct listed e = {
			.state = r->awaited ? LISTED_ACTIVE : LISTED_WAITING, .arrived = m->arrived.tv_sec,
			.channel = d->channel, .host = d->host,
		};

		if (r->state != RECIPIENT_OPEN)
			continue;
		sums->recipients++;
		sums->active += r->awaited;
		e.next = queue_state_next(s, &m->groups[r->group]);
		e.answer = scheduler_answer(s, m, r, &e.answered);
		summary_count(summary, &e);
	}
}

/* Of what cannot be read, or was put aside, the files alone can tell. */
static bool count(struct summary *summary, struct listing *sums, const struct scheduler *s)
{
	const struct queue *q = &s->queue;

	if (!s->read_whole || s->arrivals.trouble)
		return false;
	for (size_t i = 0; i < q->message_buckets; i++) {
		for (const struct message *m = q->messages[i]; m != NULL; m = m->same_bucket) {
			if (m->look_again != 0)
				return false;
			count_message(summary, sums, s, m);
		}
	}
	return true;
}

void overview_add(struct buf *out, const char *tag, const struct scheduler *s)
{
	struct summary *summary = summary_create(s->now.wall);
	struct listing sums = { 0 };

	if (count(summary, &sums, s)) {
		summary_rows(out, summary, tag);
		buf_addf(out, "%s\twaiting\t%zu\t%zu\t%zu\t%" PRId64 "\t%zu\t%zu\n%s\tdone\t0\t\n", tag, sums.messages,
		         sums.recipients, sums.active, sums.oldest, sums.finished, sums.reports, tag);
	} else {
		buf_addf(out, "%s\tbad\t0\tthe files tell more\n", tag);
	}
	summary_destroy(&summary);
}

/* ---- the operator's side ---- */

static bool take_line(struct summary *s, struct listing *sums, char *line)
{
	const char *tag = strsep(&line, "\t"), *kind = strsep(&line, "\t");

	if (tag == NULL || kind == NULL || line == NULL)
		return false;
	if (strcmp(kind, "row") == 0)
		return summary_take_row(s, line);
	if (strcmp(kind, "waiting") == 0) {
		char *at = line;
		uint64_t messages, recipients, active, finished, reports = 0;
		int64_t oldest;

		if (!control_line_number(&at, &messages) || !control_line_number(&at, &recipients) ||
		    !control_line_number(&at, &active) ||
		    !control_line_time(&at, &oldest) || !control_line_number(&at, &finished) ||
		    (at != NULL && !control_line_number(&at, &reports)))
			return false;
		sums->messages = messages;
		sums->recipients = recipients;
		sums->active = active;
		sums->oldest = oldest;
		sums->finished = finished;
		sums->reports = reports;
		return true;
	}
	return strcmp(kind, "done") == 0;
}

struct summary *overview_ask(int64_t now, struct listing *sums)
{
	struct summary *s = summary_create(now);
	struct buf answer = { 0 };
	char *line, *rest = NULL;
	static const char request[] = "1\tsummary\n";
	int64_t deadline;
	bool ok;
	int fd;

	/* sends and receives; false if no whole answer comes in time */
	deadline = clock_ms() + PATIENCE;
	fd = control_client_connect();
	ok = fd >= 0 && send(fd, request, sizeof request - 1, MSG_NOSIGNAL | MSG_DONTWAIT) == (ssize_t)sizeof request - 1;
	while (ok && !status_is_whole(&answer)) {
		struct pollfd p = { .fd = fd, .events = POLLIN };
		char bytes[64 * 1024];
		ssize_t n = poll(&p, 1, clock_poll_timeout(deadline)) > 0 ? recv(fd, bytes, sizeof bytes, MSG_DONTWAIT) : -1;

		/* nor is a piece of this size without the end of a row a part of an answer */
		ok = n > 0 && answer.len < ANSWER_BYTES_MAX && clock_ms() < deadline &&
		     ((size_t)n < sizeof bytes || memchr(bytes, '\n', sizeof bytes) != NULL);
		if (ok)
			buf_add(&answer, bytes, (size_t)n);
	}
	if (fd >= 0)
		close(fd);
	*sums = (struct listing){ 0 };
	for (line = ok ? strtok_r(answer.data, "\n", &rest) : NULL; ok && line != NULL; line = strtok_r(NULL, "\n", &rest))
		ok = take_line(s, sums, line);
	buf_free(&answer);
	if (ok)
		return s;
	*sums = (struct listing){ 0 };
	summary_destroy(&s);
	return NULL;
}
