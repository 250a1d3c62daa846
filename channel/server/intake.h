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

struct tls;

struct intake_figures {
	uint64_t connections, turned_away;
	uint64_t replies[6];           /* to RCPT, by first digit */
	uint64_t messages, refused, bytes;
};

struct intake {
	struct spool spool;
	struct policy policy;
	struct server_options options[2];      /* by enum server_protocol */
	struct recipients *recipients;
	struct committer *committer;
	struct tls *tls;               /* NULL: no STARTTLS */
	long privilege;                /* of recipients and senders: nobody's uid */
	bool json;                     /* form of log lines */
	bool verbose;                  /* log lines on stderr, too */
	struct intake_figures figures;
};

#endif
