/*
 * zlmtp-check looks at the maps of a dbases.conf: there, sound, not older than their texts, in the right hands.
 */
#ifndef ZL_CHANNEL_CHECK_MAPS_H
#define ZL_CHANNEL_CHECK_MAPS_H

#include "channel/check/findings.h"

struct map_limits {
	struct thresholds age;        /* of a map: seconds since its file was built or changed */
	unsigned wait;                /* seconds that a live map may take for each of its steps */
};

/* Every map of the file `dbases`, once. */
void check_maps(struct findings *f, const char *dbases, const struct map_limits *limits);

#endif
