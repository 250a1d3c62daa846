/*
 * All that is known of one message (zlmtp-queue show).
 */
#ifndef ZL_CHANNEL_OPERATOR_SHOW_H
#define ZL_CHANNEL_OPERATOR_SHOW_H

#include <stdbool.h>
#include <stdint.h>

#include "channel/operator/listing.h"
#include "lib/buf.h"

/*
 * Adds the envelope of the message that stands in `entries` (all of one message; in the directory transport), every recipient
 * with its state, last answer and history, then the header, and with `body` the body.  With `json` one JSON object on a line.
 * `now` is in seconds since 1970.  False with a line in `why`.
 */
bool show_message(struct buf *out, const struct listing *entries, bool body, bool json, int64_t now, struct buf *why);

#endif
