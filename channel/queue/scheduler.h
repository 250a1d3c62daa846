/*
 * What a scheduler decides: which mail is tried, which agent gets it, and what becomes of it
 * after a report (transport-agent.md sections 2 and 4).  No waiting in here: the program that owns the scheduler
 * polls its agents' sockets and calls in.
 */
#ifndef ZL_CHANNEL_QUEUE_SCHEDULER_H
#define ZL_CHANNEL_QUEUE_SCHEDULER_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "channel/queue/operate.h"
#include "channel/queue/scheduler_state.h"
#include "lib/clock.h"

void scheduler_init(struct scheduler *s, const struct schedconf *conf, const char *report_directory);
/* Waits until everything that was to be removed is. */
void scheduler_free(struct scheduler *s);

/*
 * Looks for new mail in the whole spool; forgets what is not needed any more; expires what was never tried.  If it
 * takes long, scheduler_work() goes on with it.
 */
void scheduler_scan(struct scheduler *s, struct moment now);

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
 * The reporter has answered: a reporter_told, whose context is the scheduler.  Where recipients have another place in the maps
 * by now, a new message takes the place of theirs.
 */
void scheduler_answered(void *scheduler, const struct reporter_request *request, enum reporter_answer answer, char *words);

/* How many recipients wait, and how many are held as nothing delivers them. */
void scheduler_count(const struct scheduler *s, size_t *waiting, size_t *held);

/* Does all that can be done now: wakes, feeds, starts, dismisses and removes. */
void scheduler_work(struct scheduler *s, struct moment now);

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
