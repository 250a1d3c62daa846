/*
 * How a live map is: asked by people, by monitoring, and by recovery.
 */
#ifndef ZL_DB_LIVE_CDB_HEALTH_H
#define ZL_DB_LIVE_CDB_HEALTH_H

#include <stdint.h>

#include "db/live/cdb/examine.h"
#include "db/live/cdb/users.h"
#include "db/live/livemap.h"
#include "lib/buf.h"

struct health {
	enum health_state state;
	struct buf text;         /* one line that says why, or what was found */
	struct users users;      /* the processes that use map, environment and lock file */
	uint64_t records;
};

/*
 * Looks at a map; takes at most three times settings->wait and what reading the map takes.  Changes nothing.  If the
 * environment hangs, a child hangs with it and keeps the fence: recovery ends it.
 */
void health_check(struct health *health, const struct livemap_settings *settings);

void health_free(struct health *health);

/* "healthy" ... */
const char *health_name(enum health_state state);

/* 0 healthy, 1 stale, 2 damaged or wedged, 3 could not tell: what monitoring plugins exit with. */
int health_exit_code(enum health_state state);

/* Adds a line for each user: "  123 (router): environment, map". */
void health_name_users(const struct users *users, struct buf *out);

#endif
