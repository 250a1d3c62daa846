/*
 * Which questions the cache answers, and which answers go into it.
 */
#ifndef ZL_CHANNEL_PROBE_KEEP_H
#define ZL_CHANNEL_PROBE_KEEP_H

#include <stddef.h>

#include "channel/probe/cache.h"
#include "channel/probe/question.h"
#include "channel/settings.h"

/*
 * Before servers are asked: settles places by fresh answers from the cache, and remembers what is not fresh any
 * more but may serve.
 */
void cache_answers(struct probe_cache *cache, const struct lmtp_settings *settings, struct question *questions,
                       size_t count);

/*
 * After that: where no server said anything about the recipient, what was remembered is the answer; what
 * servers have said goes into the cache (which is then to be written).
 */
void cache_remember(struct probe_cache *cache, const struct lmtp_settings *settings, struct question *questions, size_t count);

#endif
