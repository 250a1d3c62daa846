/*
 * What servers said about recipients, kept in a live map (db/live/livemap.h) that any number of probes share.
 *
 * A record is what the server said and when, never a verdict; with a digest over all of it, so that damage is no
 * answer.  Trouble with the map is logged in one line each, and then it is as if it were empty.
 */
#ifndef ZL_CHANNEL_PROBE_CACHE_H
#define ZL_CHANNEL_PROBE_CACHE_H

#include <stdbool.h>
#include <stdint.h>

#include "lib/buf.h"

/* Records that a cache may hold; beyond it the oldest go. */
#define PROBE_CACHE_MAX 100000

struct probe_cache;

struct kept_reply {
	int64_t said;          /* seconds since 1970 */
	int code;
	char status[12];
	char *words;           /* clean text */
};

/* A map of this name, made when it is first written to.  `longest`: seconds after which a record is of no use. */
struct probe_cache *probe_cache_open(const char *file, int64_t longest);

/* What is kept for `key`; false if there is nothing.  The caller frees reply->words. */
bool probe_cache_find(struct probe_cache *cache, const struct buf *key, struct kept_reply *reply);

/* Keeps a reply from the next probe_cache_write() on. */
void probe_cache_put(struct probe_cache *cache, const struct buf *key, const struct kept_reply *reply);

/*
 * Writes what was put, and now and then removes what is too old.  If there was trouble with the map and it proves to
 * be damaged, it is set aside as FILE.damaged.  This may take some seconds.
 */
void probe_cache_write(struct probe_cache *cache);

void probe_cache_close(struct probe_cache **cache);

#endif
