/*
 * scheduler.conf: which command delivers which mail, how often and how many
 * at once (transport-agent.md section 14).
 */
#ifndef ZL_CHANNEL_QUEUE_SCHEDCONF_H
#define ZL_CHANNEL_QUEUE_SCHEDCONF_H

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
	bool queue_only;          /* stays in the queue until somebody asks for it */
	int64_t interval;         /* seconds */
	int64_t idle_max;         /* seconds */
	int64_t expiry;           /* seconds since the message came, 0 = never; for what was tried at least once */
	int64_t expiry2;          /* seconds on top of that, 0 = never; for what was never tried */
	const unsigned *retries;  /* multiples of the interval */
	size_t retry_count;       /* at least 1 */
	const int64_t *report_times;   /* ages of a message in seconds, rising, at which its sender hears of a delay */
	size_t report_time_count;
	unsigned max_agents;      /* of all clauses */
	unsigned max_channel;     /* for this channel */
	unsigned max_ring;        /* for this clause */
	unsigned max_thread;      /* for one channel and host */
	unsigned overfeed;        /* jobs in one burst, less one */
	uid_t uid;                /* (uid_t)-1: ours */
	gid_t gid;                /* (gid_t)-1: ours */
};

/* reporttimes where they are not set, also for mail that no clause serves: 4h 1d. */
extern const int64_t schedconf_report_times[2];

struct schedconf {
	struct clause *clauses;
	size_t count;
	struct clause defaults;   /* what the last clause of defaults says: for mail that no clause serves */
	struct buf ignored;       /* keys of the file that mean nothing here, "a, b" */
	struct {                  /* strings and lists that clauses share */
		void **list;
		size_t count, capacity;
	} owned;
};

/* Reads a file.  NULL with one line in `why` that names line and column. */
struct schedconf *schedconf_read(const char *path, struct buf *why);

/* The same from memory; `path` is for messages only. */
struct schedconf *schedconf_parse(const char *path, const char *text, size_t length, struct buf *why);

void schedconf_free(struct schedconf **conf);

/* What a destination without a clause, or whose clause has no command, has as its reason to wait. */
#define SCHEDCONF_UNSERVED "no clause serves it"

/* The first clause that matches, NULL if none does. */
const struct clause *schedconf_match(const struct schedconf *conf, const char *channel, const char *host);

#endif
