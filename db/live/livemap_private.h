/*
 * What livemap.c and replace.c share.
 */
#ifndef ZL_DB_LIVE_LIVEMAP_PRIVATE_H
#define ZL_DB_LIVE_LIVEMAP_PRIVATE_H

#include <sys/types.h>
#include <time.h>

#include "db/live/service.h"
#include "db/live/livemap.h"

/* What is different after each change: of the file that is changed first, and of the map where that is another one. */
struct livemap_sign {
	ino_t map;
	struct live_file changed;
};

struct livemap {
	struct service service;
	char *type;
	char *path;
	char *config;
	char folding;
	bool is_missing;         /* the map, until the first commit makes it */
	struct changes pending;
	struct buf key;          /* the folded one */
	bool is_watched;
	struct livemap_sign sign;      /* as of the last time that no other program could change it; nothing while it is not watched */
};

/* Everything but opening it; `status` and `why` as livemap_open(). */
struct livemap *livemap_new(const struct livemap_settings *settings, int *status, struct buf *why);

/* Makes the map that is missing, with the records of the settled batch and without its notes. */
int livemap_make(struct livemap *livemap, struct buf *why);

/* Of what is there now. */
struct livemap_sign livemap_sign_of(const struct livemap *livemap);

/*
 * Makes settled changes within the fence, in `file` and in no other that was put in its place; any will do if its inode is 0.
 */
int livemap_apply(struct livemap *livemap, const struct changes *changes, const struct live_file *file, struct buf *why);

/* Calls `each` for all records, notes included, within the fence; false stops. */
typedef bool livemap_each(void *context, const struct change *record);
int livemap_each_record(struct livemap *livemap, livemap_each *each, void *context, struct buf *why);

#endif
