/*
 * The summary of a running runqueue (zlmtp-queue summary), asked for through its control socket (INTERNALS): it knows what
 * otherwise a look at every file of the queue would tell, and why its mail waits from the moment on.
 *
 *   TAG summary
 *
 *   TAG row CHANNEL HOST TOTAL ACTIVE AGE... NEXT ANSWERED REASON      for each destination, see summary.h
 *   TAG waiting MESSAGES RECIPIENTS ACTIVE OLDEST FINISHED REPORTS
 *   TAG done 0
 *
 * or TAG bad 0 WORDS, while it has not read the whole queue, or where there are files that it cannot use: then the files tell.
 */
#ifndef ZL_CHANNEL_OPERATOR_OVERVIEW_H
#define ZL_CHANNEL_OPERATOR_OVERVIEW_H

#include <stdbool.h>

#include "channel/operator/listing.h"
#include "channel/operator/summary.h"
#include "channel/queue/scheduler.h"
#include "lib/buf.h"

/* ---- runqueue's side ---- */

/* True if a line is TAG summary; cut up then.  Other lines stay as they are. */
bool overview_is_request(char *line, const char **tag);

/* Adds the lines of the answer. */
void overview_add(struct buf *out, const char *tag, const struct scheduler *s);

/* ---- the operator's side ---- */

/*
 * Asks the runqueue of the working directory: a summary as of `now` (seconds since 1970), and messages, recipients, active,
 * oldest, finished and reports of `sums`.  What is on hold is not in it.  NULL, and zeros, if there is none that tells.
 */
struct summary *overview_ask(int64_t now, struct listing *sums);

#endif
