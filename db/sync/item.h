/*
 * What one entry of the directory wants to have in the map, in little room, as hundreds of thousands are kept: one block of
 * parts, its records first and then its domains.
 */
#ifndef ZL_DB_SYNC_ITEM_H
#define ZL_DB_SYNC_ITEM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "db/sync/control.h"
#include "db/sync/rule.h"

struct item {
	struct sync_uuid uuid;
	uint64_t version;
	struct part *parts;          /* NULL: none */
	uint32_t size;               /* of the parts in bytes */
	uint32_t mark;
	uint32_t round;              /* the comparison in which it was seen last */
	uint32_t touched;            /* its place in the list of those that were, from 1; 0: it was not */
	uint16_t rule;
	bool is_gone;                /* which is not in the map yet */
};

enum part_kind {
	PART_RECORD,                 /* key and value, each with its NUL */
	PART_UNCLEAR,                /* a key without a value that could be told */
	PART_DOMAIN,
};

struct part {
	struct item *item;
	uint32_t size;               /* of all of it, so that the next one is aligned */
	unsigned key_length : 30;
	unsigned kind : 2;           /* enum part_kind */
	char text[];
};

/* NULL: unclear, or it is a domain. */
const char *part_value(const struct part *part);

/* The part behind `part`, or the first one for NULL; NULL at the end. */
struct part *item_next(const struct item *item, struct part *part);

/* Frees its parts, to which nothing may point any more. */
void item_clear(struct item *item);

/* Makes its parts, of which it has none, from what it wants now, and takes the version. */
void item_pack(struct item *item, const struct yield *yield);

/* What was packed, pointing into the parts; the caller frees the two lists alone. */
struct yield item_unpack(const struct item *item);

bool item_has_domains(const struct item *item);
bool item_wants_domains(const struct item *item, char *const *domains);
bool item_wants_records(const struct item *item, const struct yield *yield);

#endif
