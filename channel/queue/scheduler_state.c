#include "channel/queue/scheduler_state.h"

#include "channel/queue/launch.h"
#include "lib/backoff.h"

#define FIRST_RETIRE_PAUSE 100
#define LONGEST_RETIRE_PAUSE (60 * 1000)

bool scheduler_is_scanning(const struct scheduler *s)
{
	return s->arrivals.walk != NULL && !s->stopping;
}

bool scheduler_holds(const struct destination *d, const char **unfit)
{
	const struct clause *c = d->clause;

	*unfit = NULL;
	if (c == NULL || c->command == NULL)
		return true;
	*unfit = launch_unfit(c, d->channel, d->host);
	return *unfit != NULL || c->queue_only;
}

const char *scheduler_reason(const struct scheduler *s, const struct destination *d)
{
	const char *unfit;

	if (scheduler_holds(d, &unfit))
		return unfit != NULL ? unfit : d->clause != NULL && d->clause->command != NULL ? "queueonly"
		       : SCHEDCONF_UNSERVED;
	return d->blocked_until != 0 && (s->once || d->blocked_until > s->now.ms) ? d->reason : NULL;
}

const char *scheduler_answer(const struct scheduler *s, const struct message *m, const struct recipient *r, int64_t *answered)
{
	const struct destination *d = m->groups[r->group].destination;
	const char *answer = r->answer != NULL ? r->answer : scheduler_reason(s, d);

	*answered = r->answer != NULL ? r->answered : answer != NULL && answer == d->reason ? d->reason_since : 0;
	return answer;
}

void scheduler_retire(struct scheduler *s, struct message *m)
{
	m->next_retiring = NULL;
	*s->retiring_end = m;
	s->retiring_end = &m->next_retiring;
}

bool scheduler_retire_not(struct scheduler *s, struct message *m)
{
	struct message **at = &s->retiring;

	while (*at != NULL && *at != m)
		at = &(*at)->next_retiring;
	if (*at == NULL)
		return false;
	*at = m->next_retiring;
	if (s->retiring_end == &m->next_retiring)
		s->retiring_end = at;
	return true;
}

void scheduler_retire_later(struct scheduler *s, struct message *m)
{
	m->retire_at = s->now.ms + backoff_after(m->retire_tries, FIRST_RETIRE_PAUSE, LONGEST_RETIRE_PAUSE);
	m->retire_tries++;
	scheduler_retire(s, m);
}

void scheduler_retire_again(struct scheduler *s, struct message *m, bool told)
{
	if (told) {
		scheduler_retire(s, m);
		return;
	}
	s->trouble = true;
	/* with `once` it stays for the next time */
	if (!s->once)
		scheduler_retire_later(s, m);
}
