/*
 * What becomes of mail after an agent has spoken, or has not (transport-agent.md
 * sections 2 and 4).
 */
#ifndef ZL_CHANNEL_QUEUE_VERDICT_H
#define ZL_CHANNEL_QUEUE_VERDICT_H

#include <stdint.h>

#include "channel/queue/scheduler_state.h"

/* One line of an agent, to be cut up at will.  Some results are gathered, for verdict_write_results(). */
void verdict_line(struct scheduler *s, struct agent *w, char *line);
void verdict_write_results(struct scheduler *s);

/*
 * An agent has ended, and may not have reported everything: the control files are asked instead, and what is open there is
 * tried again later; what it had not begun is for another one at once.  Returns how many messages are
 * open of which it gave no report.
 */
size_t verdict_ended(struct scheduler *s, struct agent *w);

/* The destination cannot be served now: it is left alone for its next retry interval. */
void verdict_block(struct scheduler *s, struct destination *d, const char *notary, const char *text);

/*
 * What keeps mail that is not tried goes into the log: once for each state of a destination, with all that is ready there, and
 * for each message once, with its id, so that the log can be searched for it.
 */
void verdict_log_waiting(struct scheduler *s, struct destination *d);
void verdict_log_wait(struct scheduler *s, struct group *g);

/* A group whose agent ended with all of us, or with the system: one line, as when it ends while we run. */
void verdict_log_begun(const struct scheduler *s, const struct group *g);

/*
 * Fails what a group has open if no clause serves its destination (or its command cannot take it) and the message is older
 * than `expiry`: it would be tried in vain.  Without a clause that of the clause of defaults counts.
 */
void verdict_expire_unserved(struct scheduler *s, struct group *g);

/* Fails what has waited beyond expiry and expiry2 without an attempt, and what verdict_expire_unserved() fails. */
void verdict_expire_untried(struct scheduler *s);

#endif
