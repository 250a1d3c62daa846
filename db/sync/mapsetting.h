/*
 * What the config files of ldapsync and sqlsync have in common about the map that is kept: map, type, environment and fold.
 */
#ifndef ZL_DB_SYNC_MAPSETTING_H
#define ZL_DB_SYNC_MAPSETTING_H

#include "lib/buf.h"
#include "lib/settings.h"

struct mapsetting {
	char *base;            /* without suffix: so it stands in dbases.conf, and so its lock is named */
	char *type;            /* NULL: not said */
	char *environment;     /* the -C file; NULL: none */
	char folding;          /* how keys are stored: 'l', 'u' or '-' for lower, upper or no */
};

/* The name of one of them; NULL for all other words. */
const char *mapsetting_known(const char *word);

/* Takes one of them; others are left alone.  0, or EX_CONFIG with `why`. */
int mapsetting_take(struct mapsetting *map, const struct setting *setting, struct buf *why);

void mapsetting_free(struct mapsetting *map);

#endif
