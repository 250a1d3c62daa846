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
#include "lib/file.h"

struct walk;

/* Messages taken in, in the order of their arrival once arrivals_sort() was called. */
struct arrivals {
	struct queue *queue;
	struct message **taken;
	size_t count, capacity;
	struct message **finished;     /* none of their recipients is open: a scheduler was stopped before it removed them */
	size_t finished_count, finished_capacity;
	struct moment now;             /* of the last call */
	bool trouble;                  /* a directory or file could not be read, or is damaged: the log says which */
	struct file_place place;       /* of the message files, while there is a walk */
	struct walk *walk;             /* a look through the spool that is not at its end; NULL = there is none */
};

/* Begins to look through the working directory, $POSTOFFICE/transport, for messages that are not known yet. */
void arrivals_begin(struct arrivals *in);

/*
 * Goes on with that for `slice` milliseconds, or to the end: in->walk is NULL then.  One file at least is looked at.
 */
void arrivals_go_on(struct arrivals *in, struct moment now, int64_t slice);

/*
 * Takes in one message by its job name, if it is not known.  What cannot be used now, because it is damaged or a living
 * process holds a lock in it, is put aside and logged.
 */
void arrivals_file(struct arrivals *in, const char *name, struct moment now);

/* Oldest first. */
void arrivals_sort(struct arrivals *in);

/* Ready for the next messages. */
void arrivals_clear(struct arrivals *in);
void arrivals_free(struct arrivals *in);

#endif
