/*
 * The messages that a verb of zlmtp-queue is about, chosen by a filter from a listing.
 */
#ifndef ZL_CHANNEL_OPERATOR_SELECTION_H
#define ZL_CHANNEL_OPERATOR_SELECTION_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "channel/operator/listing.h"
#include "channel/operator/mailfilter.h"
#include "lib/buf.h"

struct chosen_message {
	char *job, *spool, *sender;   /* spool id "-" and sender NULL without a message file, or in a damaged file */
	char *why;                    /* what is wrong with a damaged file, else NULL */
	ino_t inode;
	bool held, exact;
	off_t *recipients;            /* offsets of those that the filter means; none in a damaged file */
	size_t count, capacity;
};

struct selection {
	const struct mailfilter *filter;
	int64_t now;
	bool (*fits)(const struct listed *e);   /* NULL: every entry does */
	struct chosen_message *messages;
	size_t count, capacity;
	size_t recipients;
	char *unclear;                /* why one that may be meant cannot be read, NULL if all can be */
	bool unfit;                   /* some entry matches that does not fit */
	bool exact;                   /* some message is exactly the one that was named */
};

/* Reads the queue of the working directory.  `s` has its first three fields set. */
void selection_read(struct selection *s);

/* False with a line in `why` if an id that was given is the beginning of several ids or names. */
bool selection_is_clear(const struct selection *s, struct buf *why);

void selection_free(struct selection *s);

#endif
