/*
 * A live map behind its fence, served by a worker.
 *
 * A caller enters: it takes the fence and, if there is none yet, starts a worker that opens the map.  The worker stays when
 * the fence is given back.  Should it hang it is left alone and keeps the fence; the next to enter starts another.
 */
#ifndef ZL_DB_LIVE_SERVICE_H
#define ZL_DB_LIVE_SERVICE_H

#include "db/live/fence.h"
#include "db/live/live.h"
#include "db/live/worker.h"
#include "lib/buf.h"

struct service {
	struct live live;
	struct fence fence;
	struct worker worker;
	struct buf answer;
	struct live_file written;      /* by the last ASK_APPLY; inode 0: nothing, or it is not known */
};

/* What can be asked. */
enum {
	ASK_OPEN = 'O',      /* service_enter() does */
	ASK_APPLY = 'B',     /* changes, encoded, and the struct live_file that they are meant for */
	ASK_FIND = 'F',      /* a key; the answer is '+' and the value, or "-" */
	ASK_WALK = 'W',      /* nothing, for the first records, or '>' and a key; the answer is records, encoded */
};

/* A service with nothing open; `live` says what for. */
#define SERVICE(l) (struct service){ .live = l, .fence = { .fd = -1 }, .worker = { .fd = -1 } }

/* Takes the fence alone.  EX_OK, or as fence_open() and fence_take(). */
int service_fence(struct service *service, struct buf *why);

/* Takes the fence, with a worker that has the map open.  Otherwise an exit code with `why`, and nothing is held. */
int service_enter(struct service *service, struct buf *why);
void service_leave(struct service *service);

/* Asks the worker, within the fence.  Returns its exit code, with service->answer or with `why`. */
int service_ask(struct service *service, char kind, const char *bytes, size_t n, struct buf *why);

/* Ends the worker and closes the fence. */
void service_end(struct service *service);

#endif
