/*
 * What update.c and replace.c share.
 */
#ifndef ZL_DB_LIVE_UPDATE_PRIVATE_H
#define ZL_DB_LIVE_UPDATE_PRIVATE_H

#include "db/live/service.h"
#include "db/live/update.h"

struct update {
	struct service service;
	char *type;
	char *path;
	char *config;
	char folding;
	bool is_missing;         /* the map, until the first commit makes it */
	struct changes pending;
	struct buf key;          /* the folded one */
};

/* Everything but opening it; `status` and `why` as update_open(). */
struct update *update_new(const struct update_settings *settings, int *status, struct buf *why);

/* Makes the map that is missing, with the records of the settled batch and without its notes. */
int update_make(struct update *update, struct buf *why);

/* Makes settled changes within the fence. */
int update_apply(struct update *update, const struct changes *changes, struct buf *why);

/* Calls `each` for all records, notes included, within the fence; false stops. */
typedef bool update_each(void *context, const struct change *record);
int update_each_record(struct update *update, update_each *each, void *context, struct buf *why);

#endif
