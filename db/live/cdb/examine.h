/*
 * The part of a check that may hang or crash, for a child to do.
 */
#ifndef ZL_DB_LIVE_CDB_EXAMINE_H
#define ZL_DB_LIVE_CDB_EXAMINE_H

#include <stdint.h>

#include "db/live/live.h"
#include "lib/buf.h"

enum health_state {
	HEALTH_HEALTHY,
	HEALTH_STALE,        /* it answers, but something is left to be done: a change that is only in the journal, leavings of the dead */
	HEALTH_DAMAGED,      /* the map or its journal */
	HEALTH_WEDGED,       /* the environment does not answer */
	HEALTH_UNKNOWN,      /* could not tell */
};

struct examination {
	struct live *live;
	void (*step)(struct examination *x, const char *what);     /* called before each step */
	int fd;
	/* out */
	enum health_state state;
	struct buf text;
	uint64_t records;
};

/* Looks at the map within its fence. */
void examine(struct examination *examination);

#endif
