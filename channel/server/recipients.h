/*
 * What a client hears about a recipient, by the maps, while it waits.
 *
 * Maps in files answer within microseconds and are asked here.  Where a map may keep us waiting (a directory, a database, a
 * Berkeley DB environment) the questions go to child processes, so that no client waits for another's slow map; what has
 * not answered in time could not tell, and its process is replaced.
 */
#ifndef ZL_CHANNEL_SERVER_RECIPIENTS_H
#define ZL_CHANNEL_SERVER_RECIPIENTS_H

#include <poll.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "channel/routing.h"
#include "channel/spool/write.h"
#include "lib/buf.h"

struct recipient_answer {
	int code;                      /* 250, 451 or 550 */
	const char *status;            /* enhanced code */
	const char *text;              /* clean, for the client */
	const char *fault;             /* what became of its lookup, for the log; NULL if there was an answer */
	bool elsewhere;                /* it leaves by channel smtp, and not as a member of a list of ours */
	struct spool_recipient *to;    /* without DSN parameters; none if the maps say to discard it */
	size_t count;
	struct buf bytes;              /* what all of them point into */
};

void recipient_answer_free(struct recipient_answer *answer);

struct recipients;
struct policy;

/*
 * Opens the maps.  `policy` has how many are asked at the same time where maps may be slow, how long one answer may take, and
 * whether the store is asked as well.  It must live as long.  NULL with *status (<sysexits.h>) after a line about it.
 */
struct recipients *recipients_open(const struct routing *routing, const struct policy *policy, int *status);
void recipients_close(struct recipients **r);

/* Asks about an address.  True with *answer, or false: it comes by recipients_next(). */
bool recipients_ask(struct recipients *r, const char *address, void *owner, struct recipient_answer *answer);

/* The owner goes: its question is forgotten. */
void recipients_forget(struct recipients *r, const void *owner);

/* What to poll; at most recipients_room() entries.  Returns how many. */
size_t recipients_room(const struct recipients *r);
size_t recipients_fill(const struct recipients *r, struct pollfd *fds);
int64_t recipients_deadline(const struct recipients *r);

/* The owner of a question that is answered now, and *answer; NULL if there is none. */
void *recipients_next(struct recipients *r, struct recipient_answer *answer);

#endif
