/*
 * From the spool's directories into the queue: finding control files, reading them, freeing the
 * locks of agents that are gone (spool.md sections 2, 11 and 12).
 */
#ifndef ZL_CHANNEL_QUEUE_ARRIVALS_H
#define ZL_CHANNEL_QUEUE_ARRIVALS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "channel/queue/queue.h"
#include "lib/clock.h"

struct walk;

/* Messages taken in, in the order of their arrival once intake_sort() was called. */
struct intake {
	struct queue *queue;
	struct message **taken;
	size_t count, capacity;
	struct message **finished;     /* nobody in them is open: a scheduler was stopped before it removed them */
	size_t finished_count, finished_capacity;
	struct moment now;             /* of the last call */
	bool trouble;                  /* a directory or file could not be read, or is damaged: the log says which */
	struct walk *walk;             /* a look through the spool that is not at its end; NULL = there is none */
};

/* Begins to look through the working directory, $POSTOFFICE/transport, for messages that are not known yet. */
void intake_begin(struct intake *in);

/*
 * Goes on with that for `slice` milliseconds, or to the end: in->walk is NULL then.  One file at least is looked at.
 */
void intake_go_on(struct intake *in, struct moment now, int64_t slice);

/*
 * Takes in one message by its job name, if it is not known.  What cannot be used now, because it is damaged or somebody
 * alive holds a lock in it, is put aside with a word to the people.
 */
void intake_file(struct intake *in, const char *name, struct moment now);

/* Oldest first. */
void intake_sort(struct intake *in);

/* Ready for the next messages. */
void intake_clear(struct intake *in);
void intake_free(struct intake *in);

/* True if `name` is a job name: up to two directories of one letter, then a name that begins with a digit. */
bool intake_is_job(const char *name);

#endif
