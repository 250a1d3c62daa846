/*
 * Messages that are complete go to the disk together: while it is waited for, the next ones gather.  One thread waits for the
 * journal, behind which messages are accepted, another one for their files (INTERNALS, states E3 to E6).
 */
#ifndef ZL_CHANNEL_SERVER_COMMITTER_H
#define ZL_CHANNEL_SERVER_COMMITTER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "channel/spool/journal.h"
#include "channel/spool/write.h"

struct committer;

/* `journal`: NULL for none; it is used until the committer is destroyed. */
struct committer *committer_create(struct spool_journal *journal);

/* Waits for those that were started: committer_next() has all of them then.  Drafts that were given only are forgotten. */
void committer_stop(struct committer *c);

/* After committer_stop(); clears the pointer. */
void committer_destroy(struct committer **c);

/* Readable when committer_next() has something. */
int committer_descriptor(const struct committer *c);

/* Adds a complete message.  It and its owner belong to the committer until committer_next(). */
void committer_give(struct committer *c, struct spool_draft *draft, void *owner);

/* All that were given go to the disk, by the next wait for it. */
void committer_start(struct committer *c);

/*
 * What a message has come to.  One that is accepted cannot be lost any more, and its owner may know; it stays the committer's,
 * and comes a second time, without owner, when it is settled.  One that was not accepted before comes once, with its owner.
 */
struct committed {
	struct spool_draft *draft;
	void *owner;
	bool settled;              /* the draft is the caller's: spool_status() says whether it is in the queue */
};

/* False if there is nothing. */
bool committer_next(struct committer *c, struct committed *committed);

/* Figures of the batches so far: how many, messages in them, milliseconds of waiting until they were accepted. */
struct committer_figures {
	uint64_t batches, messages, ms;
};

struct committer_figures committer_figures(struct committer *c);

#endif
