/*
 * When the sender of a message is to hear of it (RFC 3461, queue of spool.md section 9): of failures and successes within
 * a minute after their round, of delays at the ages that reporttimes names, and of everything before the message goes.
 */
#ifndef ZL_CHANNEL_QUEUE_REPORTS_H
#define ZL_CHANNEL_QUEUE_REPORTS_H

#include "channel/queue/scheduler_state.h"

/* The message was taken in: what was not told yet is, and its delays are waited for. */
void reports_taken_in(struct scheduler *s, struct message *m);

/* A round is over after which others in the message wait on. */
void reports_after_round(struct scheduler *s, struct message *m);

/*
 * A destination of the message did not take it now: have waiting recipients another place in the maps by now?
 * False if nothing can be asked now, of no message.
 */
bool reports_ask_moved(struct scheduler *s, struct message *m);

/* All recipients are settled, and the sender wants a report: asks for it.  scheduler_retire() follows. */
void reports_ask_final(struct scheduler *s, struct message *m);

/*
 * The reporter has answered a request about the message, anything but REPORTER_MOVED; `why` with REPORTER_LATER, may be NULL.
 */
void reports_answered(struct scheduler *s, struct message *m, const struct reporter_request *request,
                      enum reporter_answer answer, const char *why);

/* Asks for all whose time has come. */
void reports_work(struct scheduler *s);

/* When reports_work() must be called again (clock_ms()). */
int64_t reports_deadline(const struct scheduler *s);

/* Is something asked for, or waited for? */
bool reports_pending(const struct scheduler *s);

void reports_free(struct scheduler *s);

#endif
