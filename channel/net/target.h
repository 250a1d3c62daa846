/*
 * Where to connect to (transport-agent.md section 6, "Connection target").
 */
#ifndef ZL_CHANNEL_NET_TARGET_H
#define ZL_CHANNEL_NET_TARGET_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>

#include "lib/buf.h"

enum target_kind {
	TARGET_UNIX,       /* UNIX:/path */
	TARGET_LITERAL,    /* [1.2.3.4], [IPv6:2001:db8::1], [::1], each with an optional :port */
	TARGET_NAME,       /* a host name: its A and AAAA records */
};

struct target {
	enum target_kind kind;
	char *text;            /* as it was given; names the target in logs */
	char *name;            /* socket path, address without brackets, or host name */
	char *canonical;       /* what the resolver calls that host name; NULL without */
	uint16_t port;
	struct sockaddr_storage *addresses;    /* in the order to try; from target_resolve() */
	socklen_t *address_lengths;
	size_t address_count;
};

/*
 * Takes `text` apart.  `port` is used where the text has none.  Returns NULL with
 * one line in `why` if it cannot be a target.  The caller destroys the result.
 */
struct target *target_create(const char *text, uint16_t port, struct buf *why);
void target_destroy(struct target **target);

/*
 * Finds the addresses once and keeps them; after trouble with all of them
 * target_forget() makes the next call ask again.  This may wait for the resolver.  False with one line
 * in `why`: a deferral, whatever the resolver said.
 */
bool target_resolve(struct target *target, struct buf *why);
void target_forget(struct target *target);

/* True if every address of it (resolved) is loopback, or it is a socket: nothing leaves the machine. */
bool target_is_local(const struct target *target);

/* "127.0.0.1|2003": numeric address and port, as in NOTARY (transport-agent.md section 5). */
void target_format_address(const struct sockaddr *address, socklen_t length, struct buf *out);

#endif
