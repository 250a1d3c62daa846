/*
 * Where to connect to (transport-agent.md section 6, "Connection target").
 */
#ifndef ZL_CHANNEL_NET_TARGET_H
#define ZL_CHANNEL_NET_TARGET_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>

#include "channel/net/addresses.h"
#include "lib/buf.h"

enum target_kind {
	TARGET_UNIX,       /* UNIX:/path */
	TARGET_LITERAL,    /* [1.2.3.4], [IPv6:2001:db8::1], [::1], 1.2.3.4, the first three and the last with an optional :port */
	TARGET_NAME,       /* a host name: its A and AAAA records; with an optional :port */
};

struct target {
	enum target_kind kind;
	char *text;            /* as it was given; names the target in logs */
	char *name;            /* socket path, address without brackets, or host name */
	uint16_t port;
	struct addresses *addresses;    /* what target_addresses() gives; NULL before and once they were forgotten */
};

/*
 * Takes `text` apart.  `port` is used where the text has none.  Returns NULL with
 * one line in `why` if it cannot be a target.  The caller destroys the result.
 */
struct target *target_create(const char *text, uint16_t port, struct buf *why);
void target_destroy(struct target **target);

/*
 * Its addresses, as a use of the caller's own (addresses_release()): looked up once and kept.  Those of a name may
 * still be wanted: addresses_look().
 */
struct addresses *target_addresses(struct target *target);

/*
 * After trouble with all of `addresses` the next one to connect looks them up again.  Those that have begun to use
 * them keep them.
 */
void target_forget(struct target *target, const struct addresses *addresses);

/* "127.0.0.1|2003": numeric address and port, as in NOTARY (transport-agent.md section 5). */
void target_format_address(const struct sockaddr *address, socklen_t length, struct buf *out);

#endif
