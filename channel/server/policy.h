/*
 * Limits of intake(8), and who may do what: one table with default, minimum and maximum.
 */
#ifndef ZL_CHANNEL_SERVER_POLICY_H
#define ZL_CHANNEL_SERVER_POLICY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>

#include "lib/buf.h"

enum limit {
	LIMIT_SIZE,            /* bytes of a message */
	LIMIT_RECIPIENTS,      /* of a message */
	LIMIT_CONNECTIONS,     /* at the same time */
	LIMIT_PER_ADDRESS,     /* of one client address (TCP) */
	LIMIT_PER_USER,        /* of one user of this machine (UNIX) */
	LIMIT_COMMANDS,        /* without a message between them */
	LIMIT_ERRORS,          /* refused commands without a message between them */
	LIMIT_HOPS,            /* Received fields */
	LIMIT_FREE,            /* megabytes that stay free on the disk */
	LIMIT_INODES,          /* files that can still be made */
	LIMIT_MEMORY,          /* megabytes of all messages that are on their way in */
	LIMIT_COMMAND_TIME,    /* seconds for a command, or for the next piece of a message */
	LIMIT_MESSAGE_TIME,    /* seconds from MAIL to the end of the message */
	LIMIT_LOOKUP_TIME,     /* seconds for a lookup in a slow map */
	LIMIT_LOOKUPS,         /* slow lookups at the same time */
	LIMITS,
};

enum relay {
	RELAY_NOBODY,
	RELAY_LOCAL,           /* UNIX sockets and loopback */
	RELAY_ALL,             /* every client that may connect */
};

struct network {
	int family;
	unsigned char address[16];
	unsigned bits;
};

struct policy {
	uint64_t limits[LIMITS];
	enum relay relay;
	enum journaling { JOURNAL_UNLESS_ZMAILER, JOURNAL_YES, JOURNAL_NO } journal;
	struct network *networks;      /* beside loopback */
	size_t network_count, network_capacity;
	const char *verify;            /* the cache of lmtp -B, which is asked about recipients; NULL: it is not */
	const char *verify_with;       /* more arguments for it, with blanks between; "" for none */
};

/* The defaults. */
void policy_init(struct policy *p);
void policy_free(struct policy *p);

/* Takes "KEY=VALUE" of -O, which must live as long.  False with a line in `why`. */
bool policy_set(struct policy *p, const char *assignment, struct buf *why);

/* Adds a line for each key, for the help. */
void policy_help(struct buf *out);

/* Who a client is by where it comes from; the address of a UNIX socket is AF_UNIX. */
bool policy_is_loopback(const struct sockaddr_storage *address);
bool policy_may_connect(const struct policy *p, const struct sockaddr_storage *address);

#endif
