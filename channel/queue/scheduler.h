/*
 * What a scheduler decides: which mail is due, which agent gets it, and what becomes of it
 * after a report (transport-agent.md sections 2 and 4).  No waiting in here: the program that owns the scheduler
 * polls its agents' sockets and calls in.
 */
#ifndef ZL_CHANNEL_QUEUE_SCHEDULER_H
#define ZL_CHANNEL_QUEUE_SCHEDULER_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "channel/queue/arrivals.h"
#include "channel/queue/operate.h"
#include "channel/queue/queue.h"
#include "channel/queue/remover.h"
#include "channel/queue/reporter.h"
#include "channel/queue/retire.h"
#include "channel/queue/schedconf.h"
#include "channel/queue/agent.h"
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
	struct message *retiring, **retiring_end;  /* everybody in them is settled */
};

void scheduler_init(struct scheduler *s, const struct schedconf *conf, const char *report_directory);
/* Waits until everything that was to be removed is. */
void scheduler_free(struct scheduler *s);

/*
 * Looks for new mail in the whole spool; forgets what is not needed any more; expires what nobody ever tried.  If it
 * takes long, scheduler_work() goes on with it.
 */
void scheduler_scan(struct scheduler *s, struct moment now);
bool scheduler_is_scanning(const struct scheduler *s);

/* One message has come, by its job name. */
void scheduler_arrived(struct scheduler *s, const char *name, struct moment now);

/*
 * What an operator asks for (operate.h).  OPERATION_BUSY as long as an agent has the message: nothing of it is fed any
 * more until the same is asked again and done, or scheduler_unpark() ends it.
 */
enum operation_result scheduler_operate(struct scheduler *s, const struct operation *o, struct moment now, size_t *changed,
                                        struct buf *why);
void scheduler_unpark(struct scheduler *s, const char *job);

/*
 * A reroute that nobody asked for (reports.h): recipients have another place in the maps.  True if it was done; the message
 * is gone then, and another one in its place.
 */
bool scheduler_move(struct scheduler *s, struct message *m, const struct operation *o);

/*
 * True if mail of this destination stays in the queue as things are: no clause, no command, queueonly, or its channel or
 * host cannot stand in the command; then *unfit says why not, else it is NULL.
 */
bool scheduler_holds(const struct destination *d, const char **unfit);

/* Why mail of a destination waits, clean text; NULL if nothing is known that keeps it. */
const char *scheduler_reason(const struct scheduler *s, const struct destination *d);

/* How many recipients wait, and how many are held as nothing delivers them. */
void scheduler_count(const struct scheduler *s, size_t *waiting, size_t *held);

/* Does all that can be done now: wakes, feeds, starts, dismisses and removes. */
void scheduler_work(struct scheduler *s, struct moment now);

/* Everybody in a message is settled: it is to be removed. */
void scheduler_retire(struct scheduler *s, struct message *m);

/* The same after the reporter has answered: at once, or, if that was not possible (`told` false), later. */
void scheduler_retire_again(struct scheduler *s, struct message *m, bool told);

/* Something came from an agent. */
void scheduler_read(struct scheduler *s, struct agent *w, struct moment now);

/* A process has ended.  False if it is not one of our agents. */
bool scheduler_buried(struct scheduler *s, pid_t pid, int status, struct moment now);

/* When scheduler_work() must be called again, whatever happens (clock_ms()). */
int64_t scheduler_deadline(const struct scheduler *s);

/* Every agent is told to go, and nothing is fed any more. */
void scheduler_stop(struct scheduler *s, struct moment now);

/* True if no agent is left and, with `once` or after a stop, nothing is to be done. */
bool scheduler_finished(const struct scheduler *s);

#endif
