#include "lib/cache.h"

#include <stdlib.h>
#include <string.h>

#include "lib/alloc.h"
#include "lib/hash.h"

#define NOWHERE ((size_t)-1)

/* Entries stand in two lists: the one of their bucket, and the one by age. */
struct entry {
	size_t next_in_bucket;
	size_t newer;
	size_t older;
	uint64_t hash;
	struct buf key;
	struct buf value;
	struct buf part;
	int64_t expires;
	bool found;
};

struct cache {
	struct entry *entries;
	size_t *buckets;
	size_t capacity;
	size_t count;
	size_t newest;
	size_t oldest;
};

/* Keys come from addresses, but a chain is never longer than the table. */
static uint64_t hash_of(const struct buf *key)
{
	return hash_bytes(HASH_START, key->data, key->len);
}

struct cache *cache_create(size_t capacity)
{
	struct cache *cache = xcalloc(1, sizeof *cache);

	cache->capacity = capacity;
	cache->entries = xcalloc(capacity, sizeof *cache->entries);
	cache->buckets = xreallocarray(NULL, capacity, sizeof *cache->buckets);
	cache->newest = 0;
	cache_clear(cache);
	return cache;
}

void cache_destroy(struct cache **cache)
{
	if (*cache == NULL)
		return;
	for (size_t i = 0; i < (*cache)->capacity; i++) {
		buf_free(&(*cache)->entries[i].key);
		buf_free(&(*cache)->entries[i].value);
		buf_free(&(*cache)->entries[i].part);
	}
	free((*cache)->entries);
	free((*cache)->buckets);
	free(*cache);
	*cache = NULL;
}

void cache_clear(struct cache *cache)
{
	/* nothing is in it since it was cleared last */
	if (cache->count == 0 && cache->newest == NOWHERE)
		return;
	for (size_t i = 0; i < cache->capacity; i++)
		cache->buckets[i] = NOWHERE;
	cache->count = 0;
	cache->newest = cache->oldest = NOWHERE;
}

static size_t *bucket_of(struct cache *cache, uint64_t hash)
{
	return &cache->buckets[hash % cache->capacity];
}

static size_t lookup(struct cache *cache, const struct buf *key, uint64_t hash)
{
	size_t i = *bucket_of(cache, hash);

	while (i != NOWHERE) {
		const struct entry *e = &cache->entries[i];

		if (e->hash == hash && buf_equal(&e->key, key))
			break;
		i = e->next_in_bucket;
	}
	return i;
}

static void unlink_age(struct cache *cache, size_t i)
{
	struct entry *e = &cache->entries[i];

	*(e->newer != NOWHERE ? &cache->entries[e->newer].older : &cache->newest) = e->older;
	*(e->older != NOWHERE ? &cache->entries[e->older].newer : &cache->oldest) = e->newer;
}

static void link_newest(struct cache *cache, size_t i)
{
	struct entry *e = &cache->entries[i];

	e->newer = NOWHERE;
	e->older = cache->newest;
	*(cache->newest != NOWHERE ? &cache->entries[cache->newest].newer : &cache->oldest) = i;
	cache->newest = i;
}

static void unlink_bucket(struct cache *cache, size_t i)
{
	size_t *place = bucket_of(cache, cache->entries[i].hash);

	while (*place != i)
		place = &cache->entries[*place].next_in_bucket;
	*place = cache->entries[i].next_in_bucket;
}

bool cache_find(struct cache *cache, const struct buf *key, int64_t now, bool *found, struct buf *value,
                struct buf *part)
{
	size_t i = lookup(cache, key, hash_of(key));
	const struct entry *e;

	if (i == NOWHERE || cache->entries[i].expires <= now)
		return false;
	unlink_age(cache, i);
	link_newest(cache, i);
	e = &cache->entries[i];
	*found = e->found;
	buf_add(value, e->value.data, e->value.len);
	buf_add(part, e->part.data, e->part.len);
	return true;
}

/* An entry to fill: the one of this key, an unused one, or the oldest. */
static struct entry *place_for(struct cache *cache, const struct buf *key, uint64_t hash)
{
	size_t i = lookup(cache, key, hash);
	struct entry *e;

	if (i != NOWHERE) {
		unlink_age(cache, i);
		link_newest(cache, i);
		return &cache->entries[i];
	}
	if (cache->count < cache->capacity) {
		i = cache->count++;
	} else {
		i = cache->oldest;
		unlink_age(cache, i);
		unlink_bucket(cache, i);
	}
	link_newest(cache, i);
	e = &cache->entries[i];
	e->hash = hash;
	e->next_in_bucket = *bucket_of(cache, hash);
	*bucket_of(cache, hash) = i;
	return e;
}

static void set(struct buf *to, const struct buf *from)
{
	buf_clear(to);
	if (from != NULL)
		buf_add(to, from->data, from->len);
}

void cache_add(struct cache *cache, const struct buf *key, const struct buf *value, const struct buf *part,
               int64_t expires)
{
	struct entry *e = place_for(cache, key, hash_of(key));

	set(&e->key, key);
	set(&e->value, value);
	set(&e->part, value != NULL ? part : NULL);
	e->found = value != NULL;
	e->expires = expires;
}
