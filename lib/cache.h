/*
 * What a map answered, kept for a while (maps.md section 10.3): a bounded table that forgets what was asked
 * least recently.
 */
#ifndef ZL_LIB_CACHE_H
#define ZL_LIB_CACHE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lib/buf.h"

struct cache;

/* `capacity` is at least 1. */
struct cache *cache_create(size_t capacity);
void cache_destroy(struct cache **cache);

/*
 * True if `key` is there and not older than the moment it was kept for; then *found tells whether the answer was "found",
 * and its value and matched part are added to the buffers.
 */
bool cache_find(struct cache *cache, const struct buf *key, int64_t now, bool *found, struct buf *value,
                struct buf *part);

/* Keeps an answer until `expires` (clock_ms(); CLOCK_NEVER: until it is pushed out).  `value` is NULL for "not found". */
void cache_add(struct cache *cache, const struct buf *key, const struct buf *value, const struct buf *part,
               int64_t expires);

void cache_clear(struct cache *cache);

#endif
