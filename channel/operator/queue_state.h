/*
 * What a running scheduler of ours knows of the mail that waits, and no file of the spool does: when it is tried
 * again, and why it was deferred.  It is published in one file, .state.runqueue of the post office, for others to read.
 *
 *   zlmtp-runqueue-state 1 TAB process TAB time
 *   job name TAB arrival TAB offset of recipient TAB next try TAB time of the answer TAB answer
 *
 * Times are seconds since 1970; the arrival has nanoseconds behind a dot, as names are used again.  Next try is 0 for
 * "as soon as it can be", "held" for mail that no clause delivers, "-" if there will be none
 * by this process.  The time of the answer is 0 and the answer empty if there was none.  Recipients that are due
 * and were never deferred have no line.  A message in which all recipients are settled has one, with QUEUE_STATE_REPORT for the
 * offset, if its sender could not be told.
 */
#ifndef ZL_CHANNEL_OPERATOR_QUEUE_STATE_H
#define ZL_CHANNEL_OPERATOR_QUEUE_STATE_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>
#include <time.h>

#include "channel/queue/scheduler.h"
#include "lib/buf.h"

/* The file as seen from $POSTOFFICE/transport. */
#define QUEUE_STATE_NAME ".state.runqueue"
#define QUEUE_STATE_FILE "../" QUEUE_STATE_NAME

/* Instead of a time. */
#define NEXT_NOW 0
#define NEXT_UNKNOWN (-1)
#define NEXT_HELD (-2)

/* Instead of an offset, where no recipient stands. */
#define QUEUE_STATE_REPORT 0

/* ---- the scheduler's side ---- */

struct queue_state_writer {
	uint64_t changes;         /* of the queue, when the file was written */
	int64_t next;             /* clock_ms(): not again before */
	bool begun, failed;
};

/* When a group is tried next: seconds since 1970, or NEXT_. */
int64_t queue_state_next(const struct scheduler *s, const struct group *g);

/* When queue_state_write() wants to be called (clock_ms()). */
int64_t queue_state_deadline(const struct queue_state_writer *w, const struct scheduler *s);

/*
 * Writes the file if something has changed and the last time is long enough ago (a hundred times what that took, at
 * least some seconds); with `last` anyhow.  Trouble is logged once.
 */
void queue_state_write(struct queue_state_writer *w, struct scheduler *s, bool last);

/* ---- the reader's side ---- */

struct queue_state_line {
	uint64_t id;
	const char *name;
	struct timespec arrived;
	off_t offset;
	int64_t next;             /* seconds since 1970, or NEXT_ */
	int64_t answered;         /* seconds since 1970, 0 = never */
	const char *answer;       /* "" without */
};

struct queue_state {
	pid_t process;            /* the writer, if it still runs: what it says of the next try holds; else 0 */
	int64_t written;          /* seconds since 1970 */
	struct queue_state_line *lines;
	size_t count;
	struct buf text;
};

enum queue_state_result {
	QUEUE_STATE_OK,
	QUEUE_STATE_NONE,             /* there is no file: no scheduler of ours has run here */
	QUEUE_STATE_UNREADABLE,       /* `why` has one line */
};

/* Reads QUEUE_STATE_FILE.  Except for QUEUE_STATE_OK, `o` is empty.  Always to be given to queue_state_free(). */
enum queue_state_result queue_state_read(struct queue_state *o, struct buf *why);

/* The same from memory, without a look at the process. */
bool queue_state_parse(struct queue_state *o, const char *text, size_t length, struct buf *why);

/* The line on a recipient of a message that came at `arrived`, NULL if there is none. */
const struct queue_state_line *queue_state_find(const struct queue_state *o, const char *name, const struct timespec *arrived,
                                        off_t offset);

void queue_state_free(struct queue_state *o);

#endif
