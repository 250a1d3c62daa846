/*
 * Questions that may take long, answered by child processes, so that no client waits for another's answer.
 *
 * Each child works on one question.  An equal question waits for that answer.  A child that has not
 * answered in time gets SIGTERM and is replaced, as is one that has ended.  It is never killed: a child that
 * blocks SIGTERM for a while, as within an environment whose locks would stay, ends behind that.
 */
#ifndef ZL_LIB_DESK_H
#define ZL_LIB_DESK_H

#include <poll.h>
#include <stddef.h>
#include <stdint.h>

#include "lib/buf.h"

struct desk;

struct desk_rules {
	size_t children;             /* at most; they are started when there is something to ask */
	int64_t patience;            /* milliseconds from when a child has the question: without an answer it is replaced */
	void *context;
	void (*open)(void *context);                 /* in a new child, before its first question; NULL: nothing */
	void (*answer)(void *context, const char *question, size_t n, struct buf *answer);    /* in a child */
	void (*close)(void *context);                /* in a child that ends between two questions */
};

/* The rules are copied. */
struct desk *desk_create(const struct desk_rules *rules);

/* Ends all children; what they were asked stays without an answer; clears the caller's pointer. */
void desk_free(struct desk **desk);

struct desk_question {
	const char *group;           /* the server that it asks in the end, which may be silent; "": none */
	const char *bytes;
	size_t n;                    /* at most 128 KiB */
	int64_t deadline;            /* clock_ms(): its owner waits no longer, whatever is in front */
};

/*
 * Asks; the answer to `owner` comes from desk_next().  An owner has one question at a time.  The same question is not asked
 * twice at a time: it is put once more when that is over, for all owners that have come meanwhile, as what they ask may have
 * changed since it began.  A group has half of the children that are free at most, and one alone if it was slow when it
 * answered last.
 */
void desk_ask(struct desk *desk, const struct desk_question *question, void *owner);

/* What children opened is out of date: those at work give their answer and are replaced, the others are replaced at once. */
void desk_renew(struct desk *desk);

/* The owner is gone. */
void desk_forget(struct desk *desk, const void *owner);

/*
 * An owner whose answer is there; NULL if there is none.  *fault is NULL, or says why there is no answer: "took too long",
 * "ended without an answer".
 */
void *desk_next(struct desk *desk, struct buf *answer, const char **fault);

/* What to wait for: at most desk_room() entries; returns how many.  desk_deadline() is of clock_ms(). */
size_t desk_room(const struct desk *desk);
size_t desk_fill(const struct desk *desk, struct pollfd *fds);
int64_t desk_deadline(const struct desk *desk);

#endif
