/*
 * One map of an environment in recovery: is it sound, and if not, how does it become so?
 *
 * No process uses the environment now, and the fence of the map is held.
 */
#ifndef ZL_DB_LIVE_CDB_REMAKE_H
#define ZL_DB_LIVE_CDB_REMAKE_H

#include <stdbool.h>

#include "db/live/live.h"
#include "lib/buf.h"

enum remake_action {
	REMAKE_NOTHING,          /* the map is sound; what it lacks is in the journal and comes at the next opening */
	REMAKE_ADOPT,            /* sound, and to be taken as it is: the journal goes */
	REMAKE_ANEW,             /* from the journal */
	REMAKE_LOST,             /* damaged, and no journal */
};

struct remake {
	const struct live *live;
	const char *journal;     /* its path */
	const struct live_teller *teller;
	struct buf *why;
	enum remake_action action;
};

/* Finds the action.  EX_OK, or an exit code if a damaged journal leaves none. */
int remake_judge(struct remake *remake, bool adopt);

/* Takes a damaged map out of the way of routers: to MAP.damaged. */
int remake_set_aside(const struct remake *remake);

/* Applies the action; a map to be rebuilt was set aside. */
int remake_do(struct remake *remake);

#endif
