/*
 * A clause of scheduler.conf, and the keys that set it (transport-agent.md section 14).
 */
#ifndef ZL_CHANNEL_QUEUE_CLAUSE_H
#define ZL_CHANNEL_QUEUE_CLAUSE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "lib/buf.h"

#define UNLIMITED 10000u

struct clause {
	char *channel, *host;     /* patterns: fnmatch(3) and {a,b}, lower case */
	size_t line;              /* where it begins */
	const char *command;      /* NULL if nothing delivers it */
	bool with_host;           /* an argument of the command is "$host": one agent serves one host only */
	bool queue_only;          /* stays in the queue until an operator or ETRN asks for it */
	int64_t interval;         /* seconds */
	int64_t idle_max;         /* seconds */
	int64_t expiry;           /* seconds since the message came, 0 = never; for what was tried at least once */
	int64_t expiry2;          /* seconds on top of that, 0 = never; for what was never tried */
	const unsigned *retries;  /* multiples of the interval */
	size_t retry_count;       /* at least 1 */
	const int64_t *report_times;  /* ages of a message in seconds, rising, at which its sender hears of a delay */
	size_t report_time_count;
	unsigned max_agents;      /* of all clauses */
	unsigned max_channel;     /* for this channel */
	unsigned max_ring;        /* for this clause */
	unsigned max_destination; /* for one channel and host */
	unsigned overfeed;        /* jobs in one burst, less one */
	uid_t uid;                /* (uid_t)-1: ours */
	gid_t gid;                /* (gid_t)-1: ours */
};

/* What the clauses of one file share; a zeroed struct is an empty one. */
struct clause_pool {
	void **list;              /* strings and lists */
	size_t count, capacity;
	struct buf ignored;       /* keys of the file that mean nothing here, "a, b" */
};

/* Keeps memory until the pool is freed; returns it. */
void *clause_own(struct clause_pool *pool, void *p);
void clause_pool_free(struct clause_pool *pool);

/*
 * Sets what `key` says, `value` being NULL if there was no '='; it may be cut up.  Keys without a meaning here
 * are noted in pool->ignored.  Returns NULL, or what was expected instead.
 */
const char *clause_set(struct clause_pool *pool, struct clause *c, const char *key, char *value);

/* Notes a key that has no meaning here, once. */
void clause_ignore(struct clause_pool *pool, const char *key);

#endif
