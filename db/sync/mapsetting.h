/*
 * What the config files of ldapsync and sqlsync have in common about the map that is kept.
 */
#ifndef ZL_DB_SYNC_MAPSETTING_H
#define ZL_DB_SYNC_MAPSETTING_H

#include "lib/buf.h"
#include "lib/settings.h"

/* The map's file without its suffix: so it stands in dbases.conf, and so its lock is named. */
int mapsetting_name(const struct setting *setting, char **map, struct buf *why);

/* How keys are stored: 'l', 'u' or '-' for lower, upper or no. */
int mapsetting_fold(const struct setting *setting, char *folding, struct buf *why);

#endif
