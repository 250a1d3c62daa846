/*
 * Events in the life of a message, one log line each: key=value or JSON, first `event` and `spool` (zlmtp(7), LOG).
 */
#ifndef ZL_CHANNEL_SPOOL_EVENT_H
#define ZL_CHANNEL_SPOOL_EVENT_H

#include <stdbool.h>

#include "channel/spool/write.h"
#include "lib/logline.h"

/* Begins a line about an event of the message with this spool id. */
void event_begin(struct logline *line, bool json, const char *event, const char *spool_id);

/* Adds `from`: an address, or "<>" for the null return path. */
void event_add_sender(struct logline *line, const char *sender);

/* Adds `orcpt` as people read it, without type and xtext; nothing if it is NULL. */
void event_add_orcpt(struct logline *line, const char *orcpt);

/*
 * The whole line about a message that is in the queue now.  `client` is where it came from, in words; `protocol` how;
 * "local" and "-" for a program on this machine.
 */
void event_queued(struct logline *line, bool json, const struct spool_draft *draft, const char *client,
                  const char *protocol);

#endif
