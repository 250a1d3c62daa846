/*
 * What one operation does to the files of one message (zlmtp-queue(8)): for runqueue, which first sees to it that none of
 * its agents has the message, and for zlmtp-queue under runqueue's lock where none runs.  The working directory is
 * $POSTOFFICE/transport.  Killed at any moment, a message is in its old or in its new state (INTERNALS, operations).
 */
#ifndef ZL_CHANNEL_QUEUE_OPERATE_H
#define ZL_CHANNEL_QUEUE_OPERATE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "lib/buf.h"

enum operation_verb {
	OPERATION_HOLD,
	OPERATION_RELEASE,
	OPERATION_RETRY,      /* of files it changes nothing: that is for a scheduler */
	OPERATION_FAIL,
	OPERATION_REMOVE,
	OPERATION_REROUTE,
	OPERATION_VERBS,
};

/* A recipient that an operation is about, or for a reroute one of its new destinations. */
struct operation_recipient {
	off_t offset;             /* of its r line */
	const char *channel, *host, *user;   /* of a reroute */
	long privilege;
};

struct operation {
	enum operation_verb verb;
	const char *job;          /* job name */
	const char *spool;        /* spool id, "-" if there is no message file: names come back, this tells whose it is */
	ino_t inode;              /* of the control file */
	bool held;                /* it stands in hold/ */
	struct operation_recipient *recipients;   /* by offset; of fail, retry and reroute, empty: all that are not settled */
	size_t count;
	bool refused;             /* of reroute: recipients that a server did not know are meant, too (report_due_may_have_moved()) */
	const char *text;         /* of fail: why, for the sender; NULL for the usual words */
	const char *by;           /* the operator, for the log */
	bool json;                /* form of the log lines */
};

enum operation_result {
	OPERATION_DONE,
	OPERATION_GONE,           /* there is no such message any more, or not where it was */
	OPERATION_NOTHING,        /* nothing in it that this could be done to */
	OPERATION_BUSY,           /* a process that is alive has locked it */
	OPERATION_TROUBLE,        /* something cannot be read or written */
	OPERATION_RESULTS,
};

/* Words of the control socket and of the command line. */
extern const char *const operation_verbs[OPERATION_VERBS];
extern const char *const operation_results[OPERATION_RESULTS];

/* OPERATION_VERBS if the word is none of them. */
enum operation_verb operation_verb_of(const char *word);

/*
 * Does it, and logs each change.  *changed: how many recipients it was done to.  With anything but OPERATION_DONE one line
 * in `why`, and everything is as it was, except that of several recipients of a fail some may have failed.
 */
enum operation_result operate(const struct operation *o, int64_t now, size_t *changed, struct buf *why);

struct walk;

/*
 * For a scheduler, at its start and now and then: messages on hold in which all recipients are settled, as one of which a fail
 * was broken off, go back to transport/, for their report.  What cannot be moved is complained of.  False if it is to be called
 * again, as it was not through at `end` (clock_ms()); *walk, NULL at first, says where it was.
 */
bool operate_bring_back(struct walk **walk, bool json, int64_t now, int64_t end);

#endif
