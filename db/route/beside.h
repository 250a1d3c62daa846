/*
 * What the dbases.conf in the directory of a map says about it: no one should have to know by heart with which
 * options a map is built, and a live map must not be built over.
 */
#ifndef ZL_DB_ROUTE_BESIDE_H
#define ZL_DB_ROUTE_BESIDE_H

#include "db/route/dbases.h"

struct beside {
	struct dbases dbases;              /* empty if there is none */
	const struct dbases_map *map;      /* its line; NULL if it has none */
};

/*
 * Looks for the map `base` (with or without suffix).  0, also if there is no dbases.conf; otherwise EX_CONFIG or
 * EX_NOINPUT after what is wrong went to `report`.  A relation whose name is mistyped gets a warning there.
 */
int beside_find(struct beside *beside, const char *base, fault_report *report, void *context);

/*
 * Where no dbases.conf is beside the map: looks into the one that all programs use (db/ in MAILVAR of ZENV).  False if there is
 * none, or none without errors, which are not reported, as they may be about anything.
 */
bool beside_find_configured(struct beside *beside, const char *base);

/*
 * The first line with a live map whose file is not there; NULL without.  The keeper of a map that has no line may have meant
 * this one.
 */
const struct dbases_map *beside_missing_map(const struct beside *beside);

/*
 * Takes what was left open about a live map (type and config NULL, folding '-') from its line.  0, or EX_CONFIG with `why` if
 * the line contradicts what was said, or tells that the map is built from its text: a map made in another way is one that no
 * program can read.
 */
int mapline_check(const struct beside *beside, const char **type, const char **config, char *folding, struct buf *why);

void beside_free(struct beside *beside);

#endif
