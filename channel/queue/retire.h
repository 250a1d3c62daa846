/*
 * The end of a message: recipients that have waited too long fail, failures are
 * written into a report file, and a message in which everything is settled is removed.  `now` is in seconds since 1970.
 */
#ifndef ZL_CHANNEL_QUEUE_RETIRE_H
#define ZL_CHANNEL_QUEUE_RETIRE_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>
#include <time.h>

#include "channel/queue/queue.h"
#include "channel/queue/remover.h"
#include "channel/queue/reporter.h"
#include "channel/queue/schedconf.h"

enum retire_result {
	RETIRE_DONE,      /* it is with the remover, which names the message when it is removed */
	RETIRE_GONE,      /* another program has removed it */
	RETIRE_LATER,     /* an agent of ours has not marked it yet */
	RETIRE_UNTOLD,    /* the sender is to get a report first */
	RETIRE_TROUBLE,   /* something cannot be read or written now; logged */
	RETIRE_READ_AGAIN,      /* the control file is not what we knew: a recipient is not settled */
};

/*
 * Removes a message from the spool if its control file, read once more, says that all its recipients are delivered or
 * failed.  What the sender is to hear comes first: with a reporter that can tell it is RETIRE_UNTOLD until m->told says that it
 * was told.  Without (NULL, too), or if the sender is null, failures that are to be reported are written into one file in
 * `reports`, a directory; it and its name are synced before anything is removed, and a log line names it.  So are those of whom
 * the reporter could not tell until their report is as old as mail gets by `conf`.
 */
enum retire_result retire_message(struct message *m, struct reporter *reporter, const char *reports, struct remover *remover,
                                  const struct schedconf *conf, int64_t now, bool json);

/*
 * Fails the open recipients of a group that no agent has now, because they waited `age` seconds: a d line
 * with the words of the last deferral, then the mark, then a log line of the event `expired`.  Returns how many; what cannot be
 * written down stays open.
 */
size_t retire_expired(struct message *m, struct group *g, int64_t age, int64_t now, bool json);

/*
 * Results of one message that agents have reported without writing them down themselves: they are gathered, so that many
 * need one sync.
 */
struct retire_results {
	const struct message *message;      /* NULL: there are none */
	struct retire_result_line *list;
	size_t count, capacity;
};

/* Adds one of m; those of another message must have been written. */
void retire_add_result(struct retire_results *r, const struct message *m, off_t recipient, const char *notary, const char *text,
                       int64_t now);

/* Writes down what was gathered, by one write and one sync, and empties it.  False with a complaint. */
bool retire_write_results(struct retire_results *r);

/*
 * Writes the marks that the agent of a group has reported but could not write (its disk refused): a program that reads the file
 * again would deliver a second time.  False, with a complaint and m->unmarked, if one cannot be written; the next call tries it
 * again, whatever its group, as does retire_message().  Without a group it is for all that no agent has.
 */
bool retire_mend_marks(struct message *m, const struct group *g);

enum retire_found {
	FOUND_UNTOUCHED,  /* what is open was not begun */
	FOUND_BEGUN,      /* a process that is gone had a lock; it is freed */
	FOUND_HELD,       /* a living process holds a lock */
	FOUND_GONE,       /* the control file is gone, or it is another message's */
};

/*
 * Looks into the control file what has become of the open recipients of a group whose agent gave no
 * (full) account, and settles what is settled there.
 */
enum retire_found retire_look_again(struct message *m, struct group *g);

#endif
