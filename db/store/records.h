/*
 * The records of one map in memory, on their way from a text or another map into a new map.
 */
#ifndef ZL_DB_STORE_RECORDS_H
#define ZL_DB_STORE_RECORDS_H

#include <stddef.h>
#include <stdint.h>

#include "lib/buf.h"
#include "lib/pool.h"

struct record {
	const char *key;           /* ends in NUL, as the value does; the lengths do not count it */
	const char *value;
	uint32_t key_length;
	uint32_t value_length;
	size_t line;               /* where it begins in its text; 0 if there is none */
};

/* Zeroed it is empty. */
struct records {
	struct record *list;
	size_t count;
	size_t capacity;
	struct buf text;           /* the text that keys and values point into, if they come from one */
	struct pool pool;          /* copies of all others */
};

/* Adds a record whose bytes live as long as `records`. */
void records_add(struct records *records, const struct record *record);

/* Adds a copy. */
void records_copy(struct records *records, const char *key, size_t key_length, const char *value, size_t value_length,
                  size_t line);

/*
 * Sorts by key, bytewise, as Berkeley DB's btree and LMDB do (a key with its NUL before every longer one).  Records
 * with one key stay in the order in which they were added.
 */
void records_sort(struct records *records);

/* True if two records have the same key. */
bool records_same_key(const struct record *a, const struct record *b);

/*
 * Of sorted records: the first pair of neighbours with one key at or behind `from`, as the index of its second, or
 * records->count if there is none.
 */
size_t records_duplicate(const struct records *records, size_t from);

/* Of sorted records: keeps the first of those with one key. */
void records_keep_first(struct records *records);

/* Of sorted records: joins the values of those with one key by a comma and a blank (maps.md section 6.4). */
void records_join(struct records *records);

void records_free(struct records *records);

#endif
