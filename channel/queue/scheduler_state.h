/*
 * What a scheduler knows, and the few acts on it that reports.c, verdict.c and scheduler.c share: below all three.
 */
#ifndef ZL_CHANNEL_QUEUE_SCHEDULER_STATE_H
#define ZL_CHANNEL_QUEUE_SCHEDULER_STATE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "channel/queue/agent.h"
#include "channel/queue/arrivals.h"
#include "channel/queue/queue.h"
#include "channel/queue/remover.h"
#include "channel/queue/reporter.h"
#include "channel/queue/retire.h"
#include "channel/queue/schedconf.h"
#include "lib/clock.h"

/* In ms; lmtp itself gives up a transaction after 4 h (its -O max-time). */
#define SCHEDULER_SILENCE (5 * 3600 * 1000)

struct scheduler {
	const struct schedconf *conf;
	const char *report_directory; /* of report files */
	bool json;                    /* form of log lines */
	bool once;                    /* every message is tried once, nothing is waited for */
	bool verbose;                 /* a line on stdout for each outcome */
	int64_t silence;              /* ms: an agent that has mail and says nothing for so long is ended */
	size_t delivered, failed;     /* recipients, since we run */
	size_t deferred;              /* how often a recipient was deferred */
	size_t removed;               /* messages */
	bool stopping;                /* nothing is fed any more */
	bool read_whole;              /* the whole spool was read since we run */
	bool trouble;                 /* something could not be read, run, written or removed */
	bool attention;               /* something may have become possible since the last scheduler_work() */
	int64_t unblock_at;           /* the first destination in trouble is tried again (clock_ms()) */
	int64_t wait_second;          /* the last second (clock_ms()) in which verdict_log_wait() wrote lines, and how many */
	unsigned wait_lines;
	struct moment now;            /* of the last call; nothing here asks a clock itself */
	struct queue queue;
	struct arrivals arrivals;
	struct remover *remover;
	struct retire_results results; /* that are to be written down before scheduler_read() or scheduler_buried() returns */
	struct agent *agents;
	size_t agent_count;
	struct reporter *reporter;    /* the caller's; NULL: failures are told in report files alone */
	struct reports {
		struct pending_report *pending;
		size_t count, capacity;
		int64_t delays_at;        /* clock_ms(): the next look for delays */
		bool last_look;           /* with `once`: it was made */
	} reports;
	struct message *retiring, **retiring_end;  /* all their recipients are settled */
};

/* Is the spool still being read? */
bool scheduler_is_scanning(const struct scheduler *s);

/*
 * True if mail of this destination stays in the queue as things are: no clause, no command, queueonly, or its channel or
 * host cannot stand in the command; then *unfit says why not, else it is NULL.
 */
bool scheduler_holds(const struct destination *d, const char **unfit);

/* Why mail of a destination waits, clean text; NULL if nothing is known that keeps it. */
const char *scheduler_reason(const struct scheduler *s, const struct destination *d);

/*
 * What was said of a recipient; without that, what keeps its destination; NULL if nothing is known.  *answered: since when, 0
 * if unknown.
 */
const char *scheduler_answer(const struct scheduler *s, const struct message *m, const struct recipient *r, int64_t *answered);

/* All recipients of a message are settled: it will be removed. */
void scheduler_retire(struct scheduler *s, struct message *m);

/* The same after the reporter has answered: at once, or, if that was not possible (`told` false), later. */
void scheduler_retire_again(struct scheduler *s, struct message *m, bool told);

/* scheduler_retire() again after the next pause of a sequence that doubles. */
void scheduler_retire_later(struct scheduler *s, struct message *m);

/* It will not, for the time being.  False if it was not about to be. */
bool scheduler_retire_not(struct scheduler *s, struct message *m);

#endif
