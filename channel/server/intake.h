/*
 * What all connections of intake(8) share.
 */
#ifndef ZL_CHANNEL_SERVER_INTAKE_H
#define ZL_CHANNEL_SERVER_INTAKE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "channel/server/committer.h"
#include "channel/server/policy.h"
#include "channel/server/recipients.h"
#include "channel/protocol/server.h"
#include "channel/spool/write.h"

struct metrics;
struct tls;

enum refusal {
	REFUSED_CONNECTIONS,   /* too many at the same time */
	REFUSED_CLIENT,        /* it may not connect */
	REFUSED_TIME,          /* it took too long */
	REFUSED_RELAY,         /* a recipient elsewhere */
	REFUSED_ROOM,          /* the disk, or its inodes */
	REFUSED_MEMORY,        /* all clients together have too much under way */
	REFUSED_CONTENT,       /* a message that cannot be written down */
	REFUSED_LOOP,          /* too many hops */
	REFUSED_DISK,          /* it could not be written */
	REFUSALS,
};

/* Counted since the last time they were written. */
struct intake_figures {
	uint64_t connections;
	uint64_t refused[REFUSALS];
	uint64_t replies[6];           /* to RCPT, by first digit */
	uint64_t messages, bytes;
};

struct intake {
	struct spool spool;
	struct policy policy;
	struct server_options options[2];      /* by enum server_protocol */
	struct recipients *recipients;
	struct spool_journal *journal;         /* NULL: none is used */
	struct committer *committer;
	struct tls *tls;               /* NULL: no STARTTLS */
	long privilege;                /* of recipients and senders: nobody's uid */
	bool json;                     /* form of log lines */
	bool verbose;                  /* log lines on stderr, too */
	struct metrics *metrics;       /* NULL: no figures are wanted */
	size_t held;                   /* bytes of memory that clients have under way */
	int64_t tell_again;            /* clock_ms(): when the log may name trouble with the post office again */
	/* messages that could not be written */
	struct {
		char *reason;          /* of the last line in the log, without digits; NULL: they can be written */
		int64_t tell_again;    /* clock_ms(): when the log may name the same one again */
		uint64_t untold;       /* since that line */
	} trouble;
	struct intake_figures figures;
	struct committer_figures written;      /* of the committer, the last time */
};

#endif
