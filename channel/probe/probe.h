/*
 * Asks servers for recipients, without a message: MAIL, RCPT, RSET by the sessions that deliver, several servers at
 * a time and all recipients of one in one connection.
 */
#ifndef ZL_CHANNEL_PROBE_PROBE_H
#define ZL_CHANNEL_PROBE_PROBE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "channel/probe/question.h"
#include "channel/settings.h"

struct prober;

/* `keeps`: sessions stay open from one prober_ask() to the next, as long as -O idle says. */
struct prober *prober_create(const struct lmtp_settings *settings, bool keeps);

/* Settles every place of the questions that is not settled and has a peer, until `deadline` (clock_ms()). */
void prober_ask(struct prober *p, struct question *questions, size_t count, int64_t deadline);

/*
 * The same for questions that come one after the other: each is one's own from prober_add() to prober_remove(), and is told
 * when prober_is_done().  prober_go() does what can be done now, prober_wait() waits until `fd` (-1: none) can be read, a
 * server has said something, or a session is idle for too long; true if it was `fd`.
 */
void prober_add(struct prober *p, struct question *question);
void prober_remove(struct prober *p, const struct question *question);
void prober_go(struct prober *p);
bool prober_wait(struct prober *p, int fd, int64_t deadline);

/* All of it is settled, and no server is at it any more. */
bool prober_is_done(const struct question *question);

/* Time is up for a question: what was said is said, for the rest it could not be told. */
void prober_give_up(struct prober *p, struct question *question);

/* Says QUIT in each session; clears the caller's pointer. */
void prober_destroy(struct prober **p);

/* What was found about a server, without a message. */
struct server_check {
	bool ready;                /* mail could be sent */
	struct result failure;     /* if not; its strings belong to the peer */
	char *tls;                 /* as tls_describe(); "" in clear */
	bool verified;
	bool authenticated;
	char *session;             /* the server's name for the session, or "" */
	struct caps caps;
	int64_t connect_ms, opening_ms;
};

/* Connects, LHLO, TLS, AUTH, QUIT.  The caller frees `check`. */
void probe_server(const struct lmtp_settings *settings, struct peer *peer, int64_t deadline, struct server_check *check);
void server_check_free(struct server_check *check);

/* Adds one line about it: PEER, "ready" or "could not tell", TLS or the words, the capabilities; or JSON. */
void server_check_print(const struct server_check *check, const struct peer *peer, bool json, struct buf *out);

#endif
