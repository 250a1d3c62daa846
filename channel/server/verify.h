/*
 * Asking the store for a recipient while the client waits: by lmtp -B, which stands beside intake and keeps what it heard.
 * In a child process of intake (channel/server/recipients.h), as it waits for the answer.
 */
#ifndef ZL_CHANNEL_SERVER_VERIFY_H
#define ZL_CHANNEL_SERVER_VERIFY_H

#include "channel/server/policy.h"
#include "channel/spool/write.h"

struct verdict {
	int code;              /* 250, 450 or 550 */
	char status[12];       /* enhanced code */
	char text[400];        /* clean */
};

/* Destinations elsewhere (channel smtp), and those of a channel that -c of verify-with does not name, are taken as they are. */
void verify_destination(const struct policy *policy, const struct spool_recipient *to, struct verdict *verdict);

#endif
