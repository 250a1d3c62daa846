/*
 * zlmtp-check looks at the agents of scheduler.conf: can their servers be reached, with TLS and AUTH as demanded,
 * and are their secrets kept?
 */
#ifndef ZL_CHANNEL_CHECK_AGENTS_H
#define ZL_CHANNEL_CHECK_AGENTS_H

#include "channel/check/findings.h"
#include "channel/queue/schedconf.h"

/*
 * Runs "COMMAND -B" for each different lmtp command of the file, all at once, as its clause's user; each may take
 * `seconds`.  Of other commands the program must be there.  `path` names the file.  The working directory is
 * $POSTOFFICE/transport.
 */
void check_agents(struct findings *f, const struct schedconf *conf, const char *path, unsigned seconds);

#endif
