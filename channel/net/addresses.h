/*
 * The addresses of one target: looked up once, then never changed, and shared by all that use them.
 *
 * A resolver may take many seconds (getaddrinfo(3) cannot be told to hurry).  So names are looked up by a
 * child, beside the loop that serves all other connections.
 */
#ifndef ZL_CHANNEL_NET_ADDRESSES_H
#define ZL_CHANNEL_NET_ADDRESSES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>
#include <sys/types.h>

#include "lib/buf.h"

enum addresses_state {
	ADDRESSES_WANTED,            /* the resolver has not answered yet: wait for `fd` to be readable */
	ADDRESSES_FOUND,             /* list, lengths, count (at least 1) and canonical are valid */
	ADDRESSES_FAILED,            /* `why` is one line */
};

struct addresses {
	enum addresses_state state;
	struct sockaddr_storage *list;    /* in the order to try */
	socklen_t *lengths;
	size_t count;
	char *canonical;             /* what the resolver calls the name; NULL without */
	struct buf why;
	int fd;                      /* from the child; -1 = none */
	pid_t child;
	struct buf said;             /* by the child so far */
	unsigned users;
};

/* The path of a socket as its only address.  All three give one use to the caller, which releases it. */
struct addresses *addresses_of_socket(const char *path);

/* A numeric address, IPv4 or IPv6. */
struct addresses *addresses_of_literal(const char *address, uint16_t port);

/* Begins to look a name up. */
struct addresses *addresses_of_name(const char *name, uint16_t port);

/* One more user of the same addresses. */
struct addresses *addresses_share(struct addresses *a);

/* Ends one use and clears the caller's pointer; the last one ends a lookup that goes on.  NULL is fine. */
void addresses_release(struct addresses **a);

/* Takes what the child has said; `name` is for `why`.  Never waits. */
enum addresses_state addresses_look(struct addresses *a, const char *name);

/* True if nothing that is sent there leaves the machine: a socket, or loopback. */
bool address_is_local(const struct sockaddr *address);

#endif
