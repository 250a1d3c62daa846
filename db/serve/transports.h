/*
 * The table of dbserve -T: from channel and host to a transport of Postfix.
 *
 *   # CHANNEL/HOST   TRANSPORT
 *   lmtp/store1      lmtp:unix:/run/store1/lmtp
 *   lmtp/store?      lmtp:[127.0.0.1]:24
 *
 * The first line that fits counts; "*" and "?" stand for any text and any byte.  The file is read again when it has changed.
 */
#ifndef ZL_DB_SERVE_TRANSPORTS_H
#define ZL_DB_SERVE_TRANSPORTS_H

#include <stdbool.h>

#include "db/store/answer.h"
#include "lib/buf.h"

struct transports;

/* Reads it.  NULL with *status (<sysexits.h>) and a line in `why`. */
struct transports *transports_open(const char *path, int *status, struct buf *why);
void transports_close(struct transports **t);

/* The transport for a channel and a host.  MAP_COULD_NOT_TELL with `value` saying why if the file cannot be read now. */
enum map_answer transports_find(struct transports *t, const char *channel, const char *host, struct buf *value)
	MAP_MUST_LOOK;

#endif
