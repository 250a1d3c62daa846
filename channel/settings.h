/*
 * What the command line of the transport agent says (transport-agent.md section 9).
 */
#ifndef ZL_CHANNEL_SETTINGS_H
#define ZL_CHANNEL_SETTINGS_H

#include <stdbool.h>
#include <stdint.h>

#include "channel/jobs.h"
#include "channel/probesettings.h"
#include "channel/record.h"
#include "channel/session.h"
#include "channel/tally.h"

#define CONNECTIONS_MAX 16

struct lmtp_settings {
	struct jobs_options jobs;
	struct session_options session;
	struct security security;
	struct transcript transcript;
	struct record record;
	struct tally tally;
	const char *target;          /* -F, NULL without */
	uint16_t port;
	unsigned connections;        /* sessions to one peer */
	const char *log;             /* -l, NULL without */
	bool titles;                 /* -s */
	struct probe_settings probe;
};

/* Reads the command line; ends the program on a usage error.  Everything it points to lives as long as the program. */
void lmtp_settings_from(struct lmtp_settings *settings, int argc, char **argv);

#endif
