/*
 * The part of a check that may hang or crash, for a child to do.
 */
#ifndef ZL_DB_LIVE_CDB_EXAMINE_H
#define ZL_DB_LIVE_CDB_EXAMINE_H

#include "db/live/cdb/health.h"
#include "db/live/live.h"

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
