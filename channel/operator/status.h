/*
 * What a running runqueue tells of itself through its control socket, for zlmtp-queue watch (INTERNALS, control socket).
 * Fields are separated by TAB:
 *
 *   TAG status ROWS
 *
 *   TAG sums PROCESS SECONDS ARRIVED REMOVED DELIVERED FAILED DEFERRED MESSAGES RECIPIENTS FED UNSERVED OLDEST SPOOLID
 *   TAG agent PROCESS CHANNEL HOST STATE JOBS SECONDS
 *   TAG destination CHANNEL HOST MESSAGES READY AGENTS NEXT REASON
 *   TAG done 0
 *
 * Of agents and destinations at most ROWS each, those with most work first.
 */
#ifndef ZL_CHANNEL_OPERATOR_STATUS_H
#define ZL_CHANNEL_OPERATOR_STATUS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "channel/queue/scheduler.h"
#include "lib/buf.h"

#define STATUS_ROWS_MAX 200

/* ---- runqueue's side ---- */

/* What needs a look at every message: it is kept for a while where that takes long.  A zeroed struct is a fit beginning. */
struct status_sums {
	int64_t next;             /* clock_ms(): not again before */
	size_t messages, recipients, fed;
	struct timespec oldest;   /* arrival; 0 = the queue is empty */
	ino_t oldest_inode;       /* of its message file: with the arrival its spool id */
};

/* True if a line is TAG status ROWS; cut up then.  Other lines stay as they are. */
bool status_is_request(char *line, const char **tag, size_t *rows);

/* Adds the lines of the answer.  `began`: clock_ms() when this runqueue started. */
void status_add(struct buf *out, const char *tag, size_t rows, const struct scheduler *s, struct status_sums *sums,
                int64_t began);

/* ---- the operator's side ---- */

struct status_agent {
	pid_t pid;
	char *channel, *host;     /* host "-": none */
	char *state;              /* a word */
	uint64_t jobs, seconds;   /* job lines not answered; in this state */
};

struct status_destination {
	char *channel, *host;
	uint64_t messages, ready, agents;
	int64_t next;             /* seconds since 1970, or NEXT_ of queue_state.h */
	char *reason;             /* "" without */
};

struct status {
	pid_t process;
	uint64_t seconds;         /* since it started */
	uint64_t arrived, removed;               /* messages, since then */
	uint64_t delivered, failed, deferred;    /* recipients, since then */
	uint64_t messages, recipients, fed, unserved;   /* now; unserved: parts of messages that no clause serves */
	int64_t oldest;           /* seconds since 1970, 0 without */
	char *oldest_id;
	struct status_agent *agents;
	size_t agent_count, agent_capacity;
	struct status_destination *destinations;
	size_t destination_count, destination_capacity;
	struct buf text;          /* what the strings point into, as it came */
};

/* True if the bytes hold a whole answer. */
bool status_is_whole(const struct buf *answer);

/* No answer is longer. */
#define STATUS_BYTES_MAX ((size_t)1024 * 1024)

/* Cuts up a whole answer; what is in it is clean text then.  False if it is none. */
bool status_parse(struct status *s, const struct buf *answer);
void status_free(struct status *s);

#endif
