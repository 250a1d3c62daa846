/*
 * What is in the queue, read from its files and changing nothing: safe beside any scheduler.
 */
#ifndef ZL_CHANNEL_QUEUE_LISTING_H
#define ZL_CHANNEL_QUEUE_LISTING_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "channel/queue/outlook.h"
#include "lib/buf.h"

enum listed_state {
	LISTED_WAITING,
	LISTED_ACTIVE,            /* a process that is alive has it in work */
	LISTED_DAMAGED,           /* no recipient: a control file that no agent will take, or without its message file */
	LISTED_UNREADABLE,        /* no recipient: a file or directory that cannot be read */
};

/* A recipient who has not got the message yet, or a file in trouble. */
struct listed {
	enum listed_state state;
	char *name;               /* job name; of a directory its name */
	char *spool;              /* spool id; NULL where there is no message file */
	int64_t arrived;          /* seconds since 1970; 0 = not known */
	char *why;                /* of a file in trouble; of a recipient NULL, as what follows is of a file */
	off_t offset;
	pid_t locker;             /* LISTED_ACTIVE: the process that has it in work; else 0 */
	char *sender;             /* "" is the null return path */
	char *channel, *host, *user;
	int64_t next;             /* seconds since 1970, or NEXT_ */
	char *answer;             /* why it was deferred, clean text; NULL without */
	int64_t answered;         /* seconds since 1970, 0 without an answer */
};

struct listing {
	struct listed *list;      /* oldest first */
	size_t count, capacity;
	size_t messages;          /* with somebody still waiting */
	size_t recipients, active;
	size_t finished;          /* messages in which everybody is settled, not removed yet */
	size_t trouble;           /* files and directories */
	int64_t oldest;           /* seconds since 1970: arrival of the oldest message, 0 without */
	pid_t scheduler;          /* the runqueue that publishes what it knows, 0 without */
};

/* Reads the queue of the working directory, $POSTOFFICE/transport.  Trouble stands in the list. */
void listing_read(struct listing *l);

void listing_free(struct listing *l);

#endif
