/*
 * How much of a map went lately: the guard against a directory that has lost its entries.
 *
 * It is kept in the map, as a note, so that it holds for programs that come one after the other as it does for one that
 * stays.
 */
#ifndef ZL_DB_SYNC_SHRINKAGE_H
#define ZL_DB_SYNC_SHRINKAGE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lib/buf.h"

/* A zeroed one: nothing went. */
struct shrinkage {
	int64_t since;           /* seconds since 1970 */
	size_t keys;             /* in the map at that time */
	size_t gone;             /* since then */
};

/* At `now`, `removed` of the map's `keys` go.  After ten minutes the counting begins anew. */
void shrinkage_add(struct shrinkage *s, int64_t now, size_t keys, size_t removed);

/* By the measure of update_is_mass_removal(); `left` keys will be in the map. */
bool shrinkage_is_too_much(const struct shrinkage *s, size_t left);

/* Adds it to an empty buffer, as text. */
void shrinkage_encode(struct buf *note, const struct shrinkage *s);

/* False if the note is damaged; *s is zeroed then. */
bool shrinkage_decode(const char *note, size_t n, struct shrinkage *s);

#endif
