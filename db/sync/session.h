/*
 * One connection to the directory, with a search of RFC 4533 for each rule.
 */
#ifndef ZL_DB_SYNC_SESSION_H
#define ZL_DB_SYNC_SESSION_H

#include <stdbool.h>
#include <stdint.h>

#include "db/sync/compare.h"
#include "db/sync/control.h"
#include "db/sync/copy.h"
#include "db/sync/syncconf.h"
#include "lib/buf.h"

struct session;

/*
 * Connects and sends the searches, each with the cookie that the copy has; where it has none, everything is listed first
 * (compare.h).  *server is the number of the server to begin with, and becomes that of the one that answered, or of the
 * one to begin with the next time.  NULL with `why` (not yet cleaned).  Bounded by the timeouts of `conf`.
 */
struct session *session_open(const struct syncconf *conf, struct copy *copy, enum sync_mode mode, size_t *server,
                             struct buf *why);

/* Harmless on NULL; what was not committed is rolled back. */
void session_close(struct session **session);

enum session_news {
	SESSION_QUIET,           /* nothing more for now */
	SESSION_BUSY,            /* there may be more at once */
	SESSION_FINISHED,        /* the searches of all rules have ended after their refresh */
	SESSION_COMPARED,        /* what session_compare() began is done */
	SESSION_OVER,            /* the connection is gone; open another one */
	SESSION_AGAIN,           /* the same server should be asked once more, as `why` says */
	SESSION_BEHIND,          /* this server has an older state than the map, as `why` says; another one may be better */
	SESSION_REFUSED,         /* the server refuses, for the reason in `why` */
};

/* Takes in what has come, without waiting. */
enum session_news session_read(struct session *session, struct buf *why);

/* When the last message came (clock_ms). */
int64_t session_heard(const struct session *session);

/* The socket to poll for reading. */
int session_socket(const struct session *session);

/* When to call session_watch() at the latest (clock_ms). */
int64_t session_deadline(const struct session *session);

/* Asks a server that has been silent for a while whether it lives; SESSION_OVER with `why` if it did not answer that. */
enum session_news session_watch(struct session *session, struct buf *why);

/* True while not all is known that belongs together; what has come must not be written then. */
bool session_is_refreshing(const struct session *session);

/* Begins a comparison of the whole; what was compared along with a full read is not compared twice.  Not while refreshing. */
void session_compare(struct session *session);
bool session_is_comparing(const struct session *session);

/* What comparisons have found since this was asked last. */
struct compare_counts session_found(struct session *session);

/* Entries and other messages that the searches have brought so far. */
size_t session_progress(const struct session *session);

#endif
