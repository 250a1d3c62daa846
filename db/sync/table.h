/*
 * A hash table of words that are not 0, such as pointers with marks in their lowest bits: eight bytes for each, and room.
 */
#ifndef ZL_DB_SYNC_TABLE_H
#define ZL_DB_SYNC_TABLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct table {
	uint64_t (*hash)(uintptr_t cell);                           /* of what a cell stands for */
	bool (*matches)(uintptr_t cell, const void *wanted);
	uintptr_t *cells;
	size_t size;             /* a power of two, or 0 */
	size_t count;
};

/* The cell of what matches `wanted`, which has this hash, until the table is changed; NULL if there is none. */
uintptr_t *table_find(const struct table *table, uint64_t hash, const void *wanted);

/* Adds what is not there yet. */
void table_add(struct table *table, uintptr_t cell);

void table_remove(struct table *table, uintptr_t *cell);

void table_free(struct table *table);

#endif
