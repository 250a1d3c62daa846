/*
 * The peers that a program talks to, each there once.
 */
#ifndef ZL_CHANNEL_PEERS_H
#define ZL_CHANNEL_PEERS_H

#include <stddef.h>
#include <stdint.h>

#include "channel/session.h"

/* Zeroed it is empty. */
struct peers {
	struct peer **list;
	size_t count, capacity;
};

/*
 * The peer behind a target's name, with `port` where the name has none; NULL with one line in `why` if it
 * cannot be one.
 */
struct peer *peers_find(struct peers *peers, const char *text, uint16_t port, struct buf *why);

void peers_free(struct peers *peers);

#endif
