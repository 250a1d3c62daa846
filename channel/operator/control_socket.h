/*
 * The control socket of runqueue: operators' requests become operations on the queue (INTERNALS, control socket).
 */
#ifndef ZL_CHANNEL_OPERATOR_CONTROL_SOCKET_H
#define ZL_CHANNEL_OPERATOR_CONTROL_SOCKET_H

#include <poll.h>
#include <stddef.h>
#include <stdint.h>

#include "channel/queue/scheduler.h"
#include "lib/buf.h"
#include "lib/clock.h"

/*
 * Of so many clients requests are taken at a time.  The next one takes the place of the one that has said nothing for
 * longest, two seconds at least, and waits for no answer; without such a one it waits until one has gone.  One that says
 * nothing for ten minutes is closed in any case.
 */
#define CONTROL_CLIENTS 32
/* Descriptors that control_socket_poll() may want. */
#define CONTROL_DESCRIPTORS (CONTROL_CLIENTS + 1)

struct control_server;

/*
 * Listens at CONTROL_SOCKET, under the lock of the post office; the working directory is $POSTOFFICE/transport.  `json`
 * is the form of log lines.  NULL with a line in `why`.
 */
struct control_server *control_socket_listen(struct scheduler *s, bool json, struct buf *why);

/* Removes the socket; requests without an answer stay without.  NULL is fine. */
void control_socket_close(struct control_server **c);

/* Puts the descriptors that it waits for into `fds`, which has room for CONTROL_DESCRIPTORS.  Returns how many. */
size_t control_socket_poll(struct control_server *c, struct pollfd *fds);

/* When control_socket_work() must be called again, whatever happens (clock_ms()). */
int64_t control_socket_deadline(const struct control_server *c);

/*
 * Does what can be done: takes clients and requests, carries them out, answers.  For some milliseconds, then it goes on later.
 */
void control_socket_work(struct control_server *c, struct moment now);

#endif
