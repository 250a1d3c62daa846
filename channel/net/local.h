/*
 * The local address of TCP connections (-L, BINDADDR; transport-agent.md section 9).
 */
#ifndef ZL_CHANNEL_NET_LOCAL_H
#define ZL_CHANNEL_NET_LOCAL_H

#include <stdbool.h>
#include <sys/socket.h>

#include "lib/buf.h"

/*
 * Reads "any", "any6", "[1.2.3.4]", "[IPv6:...]", "iface:NAME", "iface:v4:NAME" or "iface:v6:NAME".  *length is 0
 * for "any" and "any6": the system chooses.  False with one line in `why`.
 */
bool local_address(const char *text, struct sockaddr_storage *address, socklen_t *length, struct buf *why);

#endif
