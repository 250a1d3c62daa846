/*
 * Starting a transport agent as ZMailer's scheduler does (transport-agent.md section 1).
 */
#ifndef ZL_CHANNEL_QUEUE_LAUNCH_H
#define ZL_CHANNEL_QUEUE_LAUNCH_H

#include <stdbool.h>
#include <sys/types.h>

#include "channel/queue/schedconf.h"
#include "lib/buf.h"

struct launch {
	char *text;             /* what the words below point into, one after the other */
	char **arguments;       /* ends with NULL; the first is the full path of the program */
	char **environment;     /* ends with NULL */
};

/*
 * Why a channel or host must not be put into the clause's command (quad_unfit()); NULL if it may, or if the command has
 * no place for it.
 */
const char *launch_unfit(const struct clause *clause, const char *channel, const char *host);

/*
 * Cuts up the clause's command at blanks and puts in channel, host and ZENV variables.  False with a line in
 * `why` if a variable is unknown, or MAILBIN is needed and not known.  Must be given to launch_free().
 */
bool launch_prepare(struct launch *launch, const struct clause *clause, const char *channel, const char *host,
                    struct buf *why);

/*
 * Starts it with one stream socket as descriptors 0, 1 and 2 and nothing else open, with the clause's user and group
 * if we are root, as leader of its own process group.  The working directory is ours.  Returns the process id
 * with our end of the socket, not blocking, in *fd; -1 with a line in `why`.
 */
pid_t launch_start(const struct launch *launch, const struct clause *clause, int *fd, struct buf *why);

/* In a child, and as root: becomes the user and group of the clause.  False with errno. */
bool launch_become(const struct clause *clause);

void launch_free(struct launch *launch);

#endif
