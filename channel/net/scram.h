/*
 * SCRAM-SHA-256 (RFC 7677) as Cyrus SASL does it.
 */
#ifndef ZL_CHANNEL_NET_SCRAM_H
#define ZL_CHANNEL_NET_SCRAM_H

#include "config.h"

#include <stdbool.h>

#include "lib/buf.h"

struct scram;

/* User and password are bytes, not base64; copied and wiped.  NULL with one line in `why`. */
struct scram *scram_create(const struct buf *user, const struct buf *password, struct buf *why);
void scram_destroy(struct scram **scram);

/* Takes a challenge (bytes; the first one is empty) and adds the response.  False with one line in `why`. */
bool scram_step(struct scram *scram, const struct buf *challenge, struct buf *response, struct buf *why);

/* The server has proved that it knows the password too. */
bool scram_complete(const struct scram *scram);

#endif
