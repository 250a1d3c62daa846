/*
 * scheduler.conf: which command delivers which mail, how often and how many
 * at once (transport-agent.md section 14).
 */
#ifndef ZL_CHANNEL_QUEUE_SCHEDCONF_H
#define ZL_CHANNEL_QUEUE_SCHEDCONF_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "channel/queue/clause.h"
#include "lib/buf.h"

/* reporttimes where they are not set, also for mail that no clause serves: 4h 1d. */
extern const int64_t schedconf_report_times[2];

struct schedconf {
	struct clause *clauses;
	size_t count;
	struct clause defaults;   /* what the last clause of defaults says: for mail that no clause serves */
	struct clause_pool pool;  /* what clauses share */
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
