/*
 * The map interface: one question, three answers.
 *
 * A back end is a constant table of functions; `struct map` is an open map with what is known about
 * where it comes from.  Only map_open() knows the list of back ends.
 */
#ifndef ZL_MAP_H
#define ZL_MAP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "lib/buf.h"

/*
 * The answer to a lookup.  Whoever switches over it has no default, so that the
 * compiler names every place that forgets the third one.
 */
enum map_answer {
	MAP_FOUND,
	MAP_NOT_FOUND,
	MAP_COULD_NOT_TELL,    /* map_error() says why, in one line */
};

/* Makes callers look at an answer. */
#define MAP_MUST_LOOK __attribute__((warn_unused_result))

struct map;

/* Where an open map comes from. */
struct map_provenance {
	const char *source;     /* what was opened: path, or URI */
	const char *type;       /* "btree", "bhash", "lmdb", "unordered", "ldap", ... */
	uid_t owner;
	mode_t mode;
	int64_t modified;       /* seconds since 1970; 0 if it has no such time */
};

struct map_operations {
	const char *type;
	const char *suffix;     /* of files of this type: ".db", ".lmdb", "" */

	/*
	 * Opens for reading.  `config` is the -C file or NULL.  Returns 0, or an exit code of <sysexits.h>
	 * with `why` set: EX_CONFIG, EX_NOINPUT, EX_TEMPFAIL ...
	 */
	int (*open)(struct map *map, const char *path, const char *config, struct buf *why);

	/* `key` as it stands, `length` bytes without NUL.  The value is added to `value` without its NUL. */
	enum map_answer (*find)(struct map *map, const char *key, size_t length, struct buf *value) MAP_MUST_LOOK;

	/*
	 * Walks over all records in the store's order.  The callback returns false to stop.  MAP_FOUND at the end,
	 * MAP_COULD_NOT_TELL on trouble.  NULL where a type cannot be walked (ldap).
	 */
	enum map_answer (*walk)(struct map *map,
	                        bool (*each)(void *context, const char *key, size_t key_length,
	                                     const char *value, size_t value_length),
	                        void *context) MAP_MUST_LOOK;

	void (*close)(struct map *map);
};

struct map {
	const struct map_operations *operations;
	struct map_provenance provenance;
	struct buf error;       /* why the last answer was MAP_COULD_NOT_TELL */
	void *state;            /* the back end's own */
};

/*
 * Opens map `path` (without suffix: the type adds its own) of `type` for reading.  Returns NULL with `why` set and
 * *status an exit code of <sysexits.h>: EX_CONFIG for an unknown type or a bad config, EX_TEMPFAIL
 * where a lookup would be "could not tell".
 */
struct map *map_open(const char *type, const char *path, const char *config, int *status, struct buf *why);

/*
 * A map that opens at its first lookup and again after trouble: a map that cannot be opened
 * answers MAP_COULD_NOT_TELL to every key, and never "not found".
 */
enum map_answer map_find(struct map *map, const char *key, struct buf *value) MAP_MUST_LOOK;

const char *map_error(const struct map *map);
void map_close(struct map **map);

#endif
