/*
 * The consumer's side of LDAP Content Synchronization (RFC 4533 section 3) as a pure machine: messages go in, what they
 * mean for the copy comes out by the functions of a sink.  No system calls, no LDAP.
 *
 *              +--------------- refresh stage ---------------+
 *   started -> present phase -> (refreshPresent) delete phase -> persist stage -> ended
 *
 * During the refresh stage nothing is final: `commit` comes when the whole of it has come in, and `rollback` if it ends
 * before. In the persist stage each message is followed by a commit.
 */
#ifndef ZL_DB_SYNC_RFC4533_H
#define ZL_DB_SYNC_RFC4533_H

#include <stdbool.h>
#include <stddef.h>

#include "db/sync/control.h"
#include "lib/buf.h"

/* What is done to the copy of the content. */
struct sync_sink {
	/* The entry is as given now; `entry` is what was passed to rfc4533_entry(). */
	void (*put)(void *context, const struct sync_uuid *uuid, void *entry);

	/* The entry is as it was. */
	void (*keep)(void *context, const struct sync_uuid *uuid);

	void (*drop)(void *context, const struct sync_uuid *uuid);

	/* All entries that were neither put nor kept since the last commit or rollback are gone. */
	void (*drop_rest)(void *context);

	/* All of the above since the last commit is true together with this cookie; empty: no newer one. */
	void (*commit)(void *context, const struct buf *cookie);

	/* All of the above since the last commit is void. */
	void (*rollback)(void *context);

	void *context;
};

enum sync_phase {
	SYNC_STARTED,            /* refresh stage: nothing says yet which phase it is */
	SYNC_PRESENT_PHASE,
	SYNC_DELETE_PHASE,
	SYNC_PERSIST_STAGE,
	SYNC_ENDED,
};

enum sync_verdict {
	SYNC_GO_ON,
	SYNC_FINISHED,           /* the search ended after its refresh; a server may do so although it was asked to stay */
	SYNC_AGAIN,              /* ask again with the newest cookie */
	SYNC_RELOAD,             /* ask again without a cookie; the whole content will come */
	SYNC_BEHIND,             /* the server has an older state than the copy */
	SYNC_FAILED,             /* the server refuses; `why` of rfc4533_done() tells */
};

struct rfc4533 {
	const struct sync_sink *sink;
	enum sync_mode mode;
	enum sync_phase phase;
	bool had_cookie;         /* the request had one */
	struct buf cookie;       /* the newest one of a refresh stage that is not over */
};

/* A request was sent; `had_cookie` tells whether it had one.  rfc4533_free() at the end. */
void rfc4533_start(struct rfc4533 *machine, const struct sync_sink *sink, enum sync_mode mode, bool had_cookie);

/*
 * Each message gives a verdict.  SYNC_RELOAD and SYNC_AGAIN end the session; `why` is set if that is because the server
 * broke the rules.
 */
enum sync_verdict rfc4533_entry(struct rfc4533 *machine, const struct sync_state_value *state, void *entry, struct buf *why);
enum sync_verdict rfc4533_info(struct rfc4533 *machine, const struct sync_info_value *info, struct buf *why);

/* `code` is the LDAP result code; `done` is zeroed if there was no Sync Done Control. */
enum sync_verdict rfc4533_done(struct rfc4533 *machine, int code, const struct sync_done_value *done, struct buf *why);

/* The connection is gone, or no more is wanted of it. */
void rfc4533_lost(struct rfc4533 *machine);

/* True while the refresh stage lasts. */
bool rfc4533_is_refreshing(const struct rfc4533 *machine);

void rfc4533_free(struct rfc4533 *machine);

#endif
