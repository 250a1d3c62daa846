/*
 * One connection of intake(8): a socket, the server machine, and the message that is on its way in.
 */
#ifndef ZL_CHANNEL_SERVER_CLIENT_H
#define ZL_CHANNEL_SERVER_CLIENT_H

#include <poll.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>

#include "channel/server/intake.h"
#include "channel/net/stream.h"
#include "lib/listen.h"

struct client;

/* Takes over a connected descriptor; `user` has connected, if it is a UNIX socket. */
struct client *client_create(struct intake *intake, const struct listener *listener, int fd,
                             const struct sockaddr_storage *address, uid_t user);

/* Closes; a message that is being committed must be done.  Clears the caller's pointer. */
void client_destroy(struct client **c);

int client_descriptor(const struct client *c);
const struct sockaddr_storage *client_address(const struct client *c);
uid_t client_user(const struct client *c);

/* Bytes of memory for what it has under way; none that can be given back while its message is being committed. */
size_t client_held(const struct client *c);

/* What to wait for: POLLIN, POLLOUT, 0. */
short client_events(const struct client *c);
int64_t client_deadline(const struct client *c);

/* The descriptor is ready. */
void client_ready(struct client *c);

/* Its time is up: it gets 421, and that is the end. */
void client_late(struct client *c);

/* The answer about the recipient it waits for; the client takes it over. */
void client_recipient(struct client *c, struct recipient_answer *answer);

/* Its message is safe on the disk, or could not be put there (spool_why()). */
void client_committed(struct client *c, const struct spool_draft *draft, bool accepted);

/* The server stops: the log hears of messages that could not be written and were only counted. */
void client_tell_untold(struct intake *in);

/* The server stops: "421" as soon as no message is in the middle of being committed. */
void client_shut(struct client *c, const char *text);

/* As client_shut(), at once: nothing is kept for it any more. */
void client_drop(struct client *c, const char *text);

/* Nothing is left to be done, and it can be destroyed. */
bool client_is_over(const struct client *c);

#endif
