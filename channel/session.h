/*
 * One connection's life: connect, greeting, LHLO, transactions, QUIT.
 *
 * The session moves bytes between a stream and the two protocol machines;
 * what is to be delivered, and what becomes of it, is its owner's business.
 */
#ifndef ZL_CHANNEL_SESSION_H
#define ZL_CHANNEL_SESSION_H

#include <poll.h>
#include <stdbool.h>
#include <stdint.h>

#include "channel/message/source.h"
#include "channel/net/connect.h"
#include "channel/net/stream.h"
#include "channel/net/target.h"
#include "channel/net/transcript.h"
#include "channel/protocol/opening.h"
#include "channel/protocol/transaction.h"
#include "channel/record.h"
#include "channel/security.h"
#include "channel/tally.h"

/* A server to connect to, and what this process knows of it. */
struct peer {
	struct target *target;
	bool careful;             /* one of its connections got out of step, which was logged */
	struct tls_peer tls;
	bool unverified_said;     /* that a password goes to it although its identity is not proved */
	/* the last failure to get a connection ready, until one is ready, for jobs that were already waiting */
	bool failed;
	uint64_t failed_behind;   /* the owner's: the number of the last job that was there then */
	int64_t pause_until;      /* the owner's: it takes no more connections now; 0 = nothing known */
	struct result failure;    /* its strings are the two below */
	struct buf failure_words;
	char failure_status[12];
};

struct session_options {
	struct opening_options opening;
	struct security *security;
	struct dialogue_options dialogue;
	struct connect_options connect;
	bool one_transaction;     /* QUIT after each (-1) */
	int64_t idle_timeout;     /* milliseconds an unused connection is kept */
	int64_t max_age;          /* milliseconds after which a connection gets nothing new */
	uint64_t max_messages;    /* transactions after which it gets nothing new */
	struct transcript *transcript;
	struct tally *tally;
};

struct session;

/* What a session tells its owner, from inside session_begin() and session_run(). */
struct session_owner {
	void *context;

	/* A recipient has its outcome; strings in `result` live until the function returns. */
	void (*settled)(void *context, struct session *s, struct transaction *t, size_t recipient,
	                const struct result *result);

	/* The transaction is over.  Recipients without an outcome belong into a new one. */
	void (*done)(void *context, struct session *s, struct transaction *t);

	/* `t` is about to be begun on a server with these capabilities.  False with `why`: it cannot be. */
	bool (*prepare)(void *context, struct transaction *t, const struct caps *caps, struct buf *why);

	/* The content of `t` is wanted: point `source` at it. */
	void (*content)(void *context, struct transaction *t, struct source *source);

	/*
	 * No connection of `s` could be got ready.  True: that is the peer's failure, and what waited for it is settled
	 * next.  False: other sessions still have hope of it or a connection to it, so what waited is given back.  NULL: true.
	 */
	bool (*unreachable)(void *context, const struct session *s);
};

enum session_state { SESSION_CLOSED, SESSION_RESOLVING, SESSION_CONNECTING, SESSION_OPENING, SESSION_READY };

struct session {
	const struct session_options *options;
	const struct session_owner *owner;
	enum session_state state;
	struct peer *peer;            /* whom it is connected to, or was */
	struct transaction *waiting;  /* begun before the connection was ready */
	struct addresses *addresses;  /* of the peer, as this connection found them; NULL when closed */
	struct connecting connecting;
	struct stream stream;
	struct opening opening;
	struct buf opening_out;
	struct sasl_run *auth_run;    /* until it is ready; NULL = no authentication */
	struct auth auth;
	bool handshaking;             /* TLS is being started: no byte belongs to the machines */
	bool unauthenticated;     /* the server wants authentication that this connection has not had: no more mail on it */
	struct buf tls_words;         /* for the log; empty = in clear */
	bool local;                   /* the connection does not leave this machine */
	struct trust trust;           /* in the server at the other end */
	struct dialogue dialogue;
	struct reply_parser parser;
	struct source source;
	int64_t now;                  /* when session_run() was called last */
	int64_t since;                /* start of the step, for its deadline; of idleness when ready */
	int64_t started_at;           /* of the connection: begin of connecting, connected, ready */
	int64_t opened_at;
	int64_t ready_at;
	bool readable;                /* poll said so */
	bool write_blocked;           /* wait for POLLOUT */
	bool read_wants_write;        /* TLS: reading waits for POLLOUT */
	bool write_wants_read;        /* TLS: writing waits for POLLIN */
	bool held;                    /* no content goes into the output now */
	bool closing;                 /* the dialogue is over: close as soon as its actions are taken */
	uint64_t number;              /* of the connection, in the order in which all were begun */
	uint64_t transactions;        /* begun on this connection */
	struct buf remote;            /* field 5 of NOTARY */
};

void session_init(struct session *s, const struct session_options *options, const struct session_owner *owner);
void session_free(struct session *s);

/*
 * May a transaction for `peer` be begun?  True on a closed session, on a ready one to the same peer that
 * has room, and on an idle one to another server (which is closed first).
 */
bool session_wants(const struct session *s, const struct peer *peer);

/* Begins a transaction; connects first if need be. */
void session_begin(struct session *s, struct peer *peer, struct transaction *t);

/* Adds what to wait for; returns the number of entries used (at most CONNECT_ATTEMPTS). */
size_t session_poll(const struct session *s, struct pollfd *fds);

/* The same entries back from poll(). */
void session_polled(struct session *s, const struct pollfd *fds, size_t n);

/* When session_run() must be called at the latest. */
int64_t session_deadline(const struct session *s);

/* Reads what there is, minds the deadlines. */
void session_run(struct session *s);

/* Puts message content into the output as far as it fits; with `stop` none. */
void session_fill(struct session *s, bool stop);

/* Writes as much as the system takes. */
void session_flush(struct session *s);

/* Nothing is under way (closed, or ready and idle). */
bool session_idle(const struct session *s);

/* Adds in words what has not come yet: "no greeting"; nothing if nothing is waited for. */
void session_add_missing(const struct session *s, struct buf *out);

/* What the log says of the connection; its strings live as long as the connection. */
struct record_connection session_record(const struct session *s);

/* Says QUIT if that is possible, and closes.  Only when idle. */
void session_quit(struct session *s);

/* Closes now.  What is under way is deferred with `why`. */
void session_abort(struct session *s, const char *why);

#endif
