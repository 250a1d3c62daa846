/*
 * Changes to a live map: what is to be put and what is to be removed, gathered into a batch.
 *
 * Lengths never count the NUL that keys and values have in a map; the stores add it.
 */
#ifndef ZL_DB_STORE_CHANGE_H
#define ZL_DB_STORE_CHANGE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lib/buf.h"
#include "lib/pool.h"

struct change {
	const char *key;         /* followed by a NUL, as the value is */
	const char *value;       /* NULL: the key is to be removed */
	uint32_t key_length;
	uint32_t value_length;
};

/* Zeroed it is empty. */
struct changes {
	struct change *list;
	size_t count;
	size_t capacity;
	size_t bytes;            /* of all keys and values */
	struct pool pool;
};

/* Each adds a copy. */
void changes_put(struct changes *changes, const char *key, size_t key_length, const char *value, size_t value_length);
void changes_remove(struct changes *changes, const char *key, size_t key_length);

/* Adds one whose bytes stay where they are, for as long as it is needed. */
void changes_refer(struct changes *changes, const struct change *change);

/* Sorts by key, bytewise, as btree and LMDB do; of several changes to one key the last one stays. */
void changes_settle(struct changes *changes);

/* <0, 0, >0 as the first key stands before, at or behind the second in that order. */
int change_compare(const char *a, size_t a_length, const char *b, size_t b_length);

/* Adds all changes to `out` in the form of the journal: "+KEYLENGTH VALUELENGTH KEY VALUE\n" and "-KEYLENGTH KEY\n". */
void changes_encode(const struct changes *changes, struct buf *out);

/* Adds one change in that form. */
void change_encode(struct buf *out, const struct change *change);

/*
 * Reads one change from *bytes (`end` is behind the last byte) and steps over it.  The change points into the
 * bytes: there is no NUL behind its key and value.  False if it is damaged.
 */
bool change_decode(const char **bytes, const char *end, struct change *change);

/* Adds copies of all changes in `n` bytes.  False if they are damaged. */
bool changes_decode(struct changes *changes, const char *bytes, size_t n);

/* Empties it and keeps the memory. */
void changes_clear(struct changes *changes);
void changes_free(struct changes *changes);

#endif
