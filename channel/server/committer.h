/*
 * Messages that are complete go to the disk together: while it is waited for, the next ones gather (INTERNALS, states
 * E3 to E6).  A thread of its own waits, so that no other does.
 */
#ifndef ZL_CHANNEL_SERVER_COMMITTER_H
#define ZL_CHANNEL_SERVER_COMMITTER_H

#include <stddef.h>
#include <stdint.h>

#include "channel/spool/write.h"

struct committer;

struct committer *committer_create(void);

/* Waits for those that were started; drafts that were given only are forgotten.  Clears the pointer. */
void committer_destroy(struct committer **c);

/* Readable when committer_next() has something. */
int committer_descriptor(const struct committer *c);

/* Adds a complete message.  It and its owner belong to the committer until committer_next(). */
void committer_give(struct committer *c, struct spool_draft *draft, void *owner);

/* All that were given go to the disk, by the next wait for it. */
void committer_start(struct committer *c);

/* The owner of a message that is done (spool_status()), and *draft; NULL if there is none. */
void *committer_next(struct committer *c, struct spool_draft **draft);

/* Figures of the batches so far: how many, messages in them, milliseconds of waiting. */
struct committer_figures {
	uint64_t batches, messages, ms;
};

struct committer_figures committer_figures(struct committer *c);

#endif
