/*
 * The rows of a query on their way to the records of a map.
 *
 * A key that two rows give with different values, or a value that cannot be used, leaves the key as it is in the map: another
 * row cannot take its mail away.  Of one that is not there, lookups cannot tell.
 */
#ifndef ZL_DB_SYNC_ROWS_H
#define ZL_DB_SYNC_ROWS_H

#include <stdbool.h>
#include <stddef.h>

#include "db/grammar/value.h"
#include "db/live/livemap.h"
#include "db/store/records.h"
#include "lib/buf.h"
#include "lib/pattern.h"

struct rows {
	const struct pattern *format;   /* of values */
	struct value_check *check;      /* NULL: none */
	const struct livemap *livemap;    /* whose keys they are to be */
	char folding;
	struct records records;
	struct buf scratch;
	struct buf complaints;          /* lines: rows that cannot be used, and warnings */
	size_t unusable, warned;        /* their numbers */
	const char *fault;              /* why the answer as a whole cannot be used; NULL if it can */
};

/* Forgets all rows. */
void rows_restart(struct rows *rows);

/* A sql_row whose context is a struct rows. */
bool rows_add(void *context, unsigned columns, const char *const *values, const size_t *lengths);

/* All rows have come: rows->records are as livemap_replace() wants them. */
void rows_settle(struct rows *rows);

void rows_free(struct rows *rows);

#endif
