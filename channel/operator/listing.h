/*
 * What is in the queue, read from its files and changing nothing: safe beside any scheduler.
 */
#ifndef ZL_CHANNEL_OPERATOR_LISTING_H
#define ZL_CHANNEL_OPERATOR_LISTING_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "channel/operator/queue_state.h"
#include "lib/buf.h"

/* The reason of one on hold, where it has no other. */
#define LISTED_HELD_WORDS "put aside by zlmtp-queue hold"

enum listed_state {
	LISTED_WAITING,
	LISTED_ACTIVE,            /* a process that is alive has locked it */
	LISTED_HELD,              /* its message was put aside by zlmtp-queue hold */
	LISTED_REPORT,            /* the recipient is settled, and its sender is still to be told */
	LISTED_DAMAGED,           /* no recipient: a control file that no agent will take, or without its message file */
	LISTED_UNREADABLE,        /* no recipient: a file or directory that cannot be read */
};

/*
 * A recipient that has not got the message yet, one of which the sender was not told yet when all are settled, or a file in
 * trouble.
 */
struct listed {
	enum listed_state state;
	const char *name;         /* job name; of a directory its name */
	const char *spool;        /* spool id; NULL where there is no message file */
	int64_t arrived;          /* seconds since 1970; 0 = not known */
	bool held;                /* the file stands in hold/ */
	ino_t inode;              /* of the control file, 0 if it cannot be read */
	const char *why;                /* of a file in trouble; of a recipient NULL, as what follows is of a file */
	off_t offset;
	pid_t locker;             /* LISTED_ACTIVE: the process that has locked it; else 0 */
	const char *sender;       /* "" is the null return path */
	const char *channel, *host, *user;
	const char *orcpt;        /* "type;xtext", NULL without */
	int64_t next;             /* seconds since 1970, or NEXT_ */
	const char *answer;       /* why it was deferred, clean text; NULL without */
	int64_t answered;         /* seconds since 1970, 0 without an answer */
};

struct listing {
	struct listed *list;      /* oldest first */
	size_t count, capacity;
	size_t messages;          /* with a recipient still waiting */
	size_t recipients, active;
	size_t held;              /* recipients whose message is on hold */
	size_t reports;           /* messages in which all recipients are settled that wait for their report */
	size_t finished;          /* others in which all recipients are settled, not removed yet */
	size_t trouble;           /* files and directories */
	char *no_answers;         /* why what runqueue published is not known, one line; NULL if it is.  Counts as trouble. */
	int64_t oldest;           /* seconds since 1970: arrival of the oldest message that waits for anything, 0 without */
	pid_t scheduler;          /* the runqueue that publishes what it knows, 0 without */
};

/* Is called with every entry; its strings live until it returns.  False ends the reading. */
typedef bool listing_tell(void *context, const struct listed *e);

/*
 * Reads the queue of the working directory, $POSTOFFICE/transport, and what is on hold beside it, and tells every entry in
 * the order in which it is found; those of one message come one after the other.  Sums are left in `l`, whose list stays
 * empty, for listing_free(): a queue of any length needs no more memory for it.
 */
void listing_each(struct listing *l, listing_tell *tell, void *context);

/* The same for what is on hold alone. */
void listing_each_held(struct listing *l, listing_tell *tell, void *context);

/* The same into the list.  Trouble of mail stands in the list. */
void listing_read(struct listing *l);

/* A copy of an entry with strings of its own, at the end of the list; oldest first after listing_sort(). */
void listing_add(struct listing *l, const struct listed *e);
void listing_sort(struct listing *l);
/* The list becomes empty; sums stay. */
void listing_clear(struct listing *l);

void listing_free(struct listing *l);

#endif
