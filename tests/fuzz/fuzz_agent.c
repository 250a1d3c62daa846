/*
 * Any bytes as what an agent says to its scheduler, line by line: no answer points outside of its line, and whatever is
 * said, a scheduler's picture of two messages stays consistent, and nobody is settled who was not reported so.
 */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "channel/queue/scheduler.h"
#include "channel/queue/verdict.h"
#include "channel/spool/agent_protocol.h"
#include "lib/alloc.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const char control[] =
	"@ 0x00000007\ni 1\no 1\nl <x>\ns local - a 1\nr           lmtp - b 1\nr           lmtp - c 1\nm\n\n";

static void check_inside(const char *s, const char *line, size_t n)
{
	if (s != NULL && *s != '\0' && (s < line || s > line + n))
		abort();
}

static void check_answer(const char *line)
{
	size_t n = strlen(line);
	char *copy = xstrdup(line);
	struct agent_answer a = agent_answer(copy);

	check_inside(a.text, copy, n);
	check_inside(a.notary, copy, n);
	check_inside(a.name, copy, n);
	if (a.kind == ANSWER_REPORT && (a.text == NULL || a.notary == NULL || a.offset < 0))
		abort();
	free(copy);
}

static void add_message(struct queue *q, const char *name, struct agent *w, const struct clause *clause)
{
	struct buf why = { 0 };
	struct control *c;
	struct message *m;

	if (control_parse(name, xstrdup(control), sizeof control - 1, &c, &why) != CONTROL_OK)
		abort();
	m = queue_add(q, c, "/nowhere", &(struct timespec){ 0 });
	m->groups[0].destination->clause = clause;
	queue_feed(q, &m->groups[0], &w->fed, w);
	agent_job(w, m->name, "-", 0);
	control_close(&c);
}

static void check_message(const struct message *m)
{
	size_t open = 0;

	for (size_t i = 0; i < m->count; i++)
		open += m->recipients[i].state == RECIPIENT_OPEN;
	if (open != m->open || m->groups[0].awaited > m->groups[0].open)
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const unsigned retries[] = { 1 };
	const struct clause clause = { .channel = (char *)"lmtp", .host = (char *)"*", .command = "/x", .interval = 60,
	                               .retries = retries, .retry_count = 1 };
	struct agent w = { .fd = -1, .clause = &clause, .channel = xstrdup("lmtp"), .outstanding = 1 };
	char *text = xstrndup((const char *)data, size), *rest = text, *line;
	struct scheduler s = { .unblock_at = INT64_MAX };

	/* it has said enough: nothing of it is wanted in the log of the fuzzer */
	w.lines = (struct loglimit){ .most = 0, .end = INT64_MAX };
	queue_init(&s.queue);
	s.retiring_end = &s.retiring;
	add_message(&s.queue, "1", &w, &clause);
	add_message(&s.queue, "A/2", &w, &clause);
	w.destination = s.queue.all_destinations;
	while ((line = strsep(&rest, "\n")) != NULL) {
		check_answer(line);
		verdict_line(&s, &w, line);
		for (uint64_t id = 1; id <= 2; id++)
			if (queue_find(&s.queue, id) != NULL)
				check_message(queue_find(&s.queue, id));
	}
	verdict_ended(&s, &w);
	if (w.fed.count != 0)
		abort();
	queue_free(&s.queue);
	free(w.channel);
	free(w.words);
	buf_free(&w.in);
	buf_free(&w.out);
	free(text);
	return 0;
}
