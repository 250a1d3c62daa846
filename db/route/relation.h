/*
 * A relation: a name, and a list of maps that are asked one after the other (maps.md sections 3 and 10).
 *
 * Each map has its own lookup options, those of ZMailer's "relation" command.  A map that could not tell ends the
 * search: what a later map says is no answer then.
 */
#ifndef ZL_DB_ROUTE_RELATION_H
#define ZL_DB_ROUTE_RELATION_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "db/map/map.h"
#include "lib/buf.h"

enum key_fold {
	FOLD_NONE,
	FOLD_LOWER,             /* -l */
	FOLD_UPPER,             /* -u */
};

/* The letter of the option that folds keys so, as text_folding() has it: 'l', 'u', or '-'. */
char key_fold_letter(enum key_fold fold);

enum key_driver {
	DRIVER_NONE,
	DRIVER_PATHALIAS,
	DRIVER_PATHALIAS_NODOT,
	DRIVER_PATHALIAS_AT,
	DRIVER_LONGESTMATCH,
};

/* Lookup options of one map. */
struct lookup_options {
	enum key_fold fold;
	enum key_driver driver;     /* -d */
	bool refresh;               /* -m: look for a new file before each lookup */
	bool substitute;            /* -%: values hold references */
	bool key_for_value;         /* -b: the key instead of the value */
	bool key_if_absent;         /* -n: the key where there is nothing, or an empty value */
	bool fold_tail;             /* -L: tails in lower case, as ZMailer hands them on */
	bool cache_absent;          /* -N */
	size_t cache_size;          /* -s: answers; 0 for no cache */
	int64_t cache_seconds;      /* -e: lifetime; 0 for no end */
};

/* A map in the list. */
struct relation_map {
	struct map *map;
	struct lookup_options options;
	struct cache *cache;
	bool own_privilege;         /* addresses from it get the privilege of its file (maps.md section 3.5) */
	uint64_t asked[3];          /* keys looked up in it, by enum map_answer; answers from the cache are not counted */
};

struct relation {
	char *name;
	struct relation_map *maps;
	size_t count;
	size_t capacity;
	struct buf folded;          /* working memory of relation_find() */
	struct buf scratch;
	struct buf other;           /* a key whose domain is written the other way */
	struct buf cache_key;
};

/* Which keys a question is about. */
enum question_keys {
	QUESTION_ALL,          /* the key, what the driver makes of it, then the default keys */
	QUESTION_KEY,          /* without the default keys */
	QUESTION_DEFAULTS,     /* nothing but the default keys */
};

struct question {
	const char *key;
	const char *const *defaults;     /* folded like the key; a driver without default keys tries "." */
	size_t default_count;
	enum question_keys keys;
};

/* What was found.  Zero it before first use; one can serve many questions. */
struct hit {
	struct buf value;           /* as it stands in the map, references and all */
	struct buf key;             /* the key that was there */
	struct buf part;            /* for %0: the key, or what the driver cut off, without a dot at its ends */
	const struct relation_map *from;
	bool cached;
};

/* Gets every key that is tried.  `text` is the value, or why nothing could be told; NULL with "not found". */
typedef void relation_watch(void *context, const struct relation_map *from, const char *key, enum map_answer answer,
                            const char *text, bool cached);

struct relation *relation_create(const char *name);

/* Adds a map at the end of the list and takes it over. */
struct relation_map *relation_add(struct relation *relation, struct map *map, const struct lookup_options *options);

/* True if any of its maps is slow (map_is_slow). */
bool relation_is_slow(const struct relation *relation);

/* Closes the maps and frees all; clears the caller's pointer.  NULL is fine. */
void relation_destroy(struct relation **relation);

/*
 * Asks the maps in their order.  On MAP_FOUND *hit is filled in; on MAP_COULD_NOT_TELL hit->value says why.  `watch`
 * may be NULL.  An empty key is not found.
 */
enum map_answer relation_find(struct relation *relation, const struct question *question, struct hit *hit,
                              relation_watch *watch, void *context) MAP_MUST_LOOK;

void hit_free(struct hit *hit);

#endif
