/*
 * Opening a connection without waiting (RFC 8305: attempts on several
 * addresses overlap).
 */
#ifndef ZL_CHANNEL_NET_CONNECT_H
#define ZL_CHANNEL_NET_CONNECT_H

#include <poll.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "channel/net/target.h"
#include "lib/buf.h"

struct connect_options {
	int64_t timeout;             /* milliseconds for all attempts together */
	int send_buffer;             /* SO_SNDBUF in bytes, 0 = the system's */
	bool reserved_port;          /* bind below 1024 (root only) */
	const struct sockaddr_storage *source;    /* local address for its family, or NULL */
	socklen_t source_length;
};

enum connect_state {
	CONNECT_GOING_ON,
	CONNECT_DONE,                /* the descriptor is yours */
	CONNECT_FAILED,              /* `why` says what every address answered */
};

/* Attempts that run at the same time; more addresses wait for one of them to end. */
#define CONNECT_ATTEMPTS 4

struct connecting {
	const struct target *target;
	const struct addresses *addresses;
	const struct connect_options *options;
	int fds[CONNECT_ATTEMPTS];
	size_t which[CONNECT_ATTEMPTS];       /* index of the address */
	size_t count;
	size_t next;                 /* index of the next address to try */
	int64_t next_at;             /* when to try it although others are still open */
	int64_t deadline;
	struct buf why;
};

/* Begins with `addresses` of `target`, which were found and outlive this.  *fd is set with CONNECT_DONE. */
enum connect_state connect_start(struct connecting *c, const struct target *target, const struct addresses *addresses,
                                 const struct connect_options *options, int *fd);

/* Adds what to wait for; returns the number of pollfds added (at most CONNECT_ATTEMPTS). */
size_t connect_poll(const struct connecting *c, struct pollfd *fds);

/* When connect_continue() must be called at the latest. */
int64_t connect_deadline(const struct connecting *c);

/* Looks at all attempts again. */
enum connect_state connect_continue(struct connecting *c, int *fd);

/* Ends all attempts; harmless when there are none. */
void connect_stop(struct connecting *c);

#endif
