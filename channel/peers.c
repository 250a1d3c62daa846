#include "channel/peers.h"

#include <stdlib.h>
#include <string.h>

#include "lib/alloc.h"

struct peer *peers_find(struct peers *peers, const char *text, uint16_t port, struct buf *why)
{
	struct target *target;
	struct peer *peer;

	for (size_t i = 0; i < peers->count; i++)
		if (strcmp(peers->list[i]->target->text, text) == 0)
			return peers->list[i];
	target = target_create(text, port, why);
	if (target == NULL)
		return NULL;
	peer = xcalloc(1, sizeof *peer);
	peer->target = target;
	peers->list = xgrow(peers->list, peers->count, &peers->capacity, sizeof *peers->list);
	peers->list[peers->count++] = peer;
	return peer;
}

void peers_free(struct peers *peers)
{
	for (size_t i = 0; i < peers->count; i++) {
		target_destroy(&peers->list[i]->target);
		tls_peer_forget(&peers->list[i]->tls);
		buf_free(&peers->list[i]->failure_words);
		free(peers->list[i]);
	}
	free(peers->list);
	*peers = (struct peers){ 0 };
}
