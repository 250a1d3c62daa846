/*
 * An operator's side of the control socket (INTERNALS, control socket).
 */
#ifndef ZL_CHANNEL_OPERATOR_CONTROL_CLIENT_H
#define ZL_CHANNEL_OPERATOR_CONTROL_CLIENT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "channel/queue/operate.h"
#include "lib/buf.h"

/*
 * Connects to the runqueue of the working directory, $POSTOFFICE/transport.  -1 with errno: ENOENT or ECONNREFUSED if none
 * runs.
 */
int control_client_connect(void);

struct control_client {
	int fd;
	int64_t patience;         /* seconds that runqueue may wait for agents */
	void (*answered)(void *context, size_t request, enum operation_result result, size_t changed, const char *words);
	void *context;
	/* set by the functions below: */
	struct buf in, out;
	size_t asked, unanswered;
	bool *open;               /* by number of the request: no answer yet */
	size_t capacity;
};

/*
 * Sends a request, the first has number 0; takes answers that have come.  What cannot be asked is answered at once:
 * OPERATION_TROUBLE.
 */
void control_client_ask(struct control_client *c, const struct operation *o);

/*
 * Waits for all answers.  If runqueue ends or says nothing for long, all that is unanswered is OPERATION_TROUBLE:
 * what has become of it the queue shows.
 */
void control_client_finish(struct control_client *c);

#endif
