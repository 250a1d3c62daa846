/*
 * The server's side of LMTP and ESMTP as a pure machine (RFC 5321, 2033, 1870, 2034, 2920, 3030, 3461, 6531, 9422): bytes
 * of a client in, replies and what is to be done out.  No system call, no clock, no map: its caller answers for
 * senders, recipients and messages.
 *
 *   server_add(s, bytes, n);
 *   while ((event = server_next(s)) != SERVER_MORE)
 *           ... do what it says and answer ...
 *   send and clear s->out
 *
 * A message ends at CR LF . CR LF and nowhere else.  A bare LF in a message is a line end of its text and never part of
 * its end; no command is taken that came before the reply it had to wait for.
 */
#ifndef ZL_CHANNEL_PROTOCOL_SERVER_H
#define ZL_CHANNEL_PROTOCOL_SERVER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "channel/protocol/received.h"
#include "lib/buf.h"
#include "lib/pool.h"

enum server_protocol {
	SERVER_LMTP,
	SERVER_SMTP,
};

/* What holds for all connections. */
struct server_options {
	enum server_protocol protocol;
	const char *host;          /* who we are */
	uint64_t max_size;         /* bytes of a message; 0: no limit */
	size_t max_recipients;     /* of a message */
	size_t max_commands;       /* without a message between them, beside its recipients and chunks; then the connection is closed */
	size_t max_errors;         /* refused commands; then the connection is closed */
	bool pipe;                 /* the client may be a file: what stands behind DATA is the message, read ahead */
};

/* The longest line of a command, with its line end (RFC 5321 section 4.5.3.1.4; parameters of RFC 3461 and 6531). */
#define SERVER_LINE_MAX 4096

struct server_recipient {
	const char *address;       /* as the client wrote it, without the angle brackets */
	const char *notify;        /* value of NOTIFY, or NULL (RFC 3461 section 4.1) */
	const char *orcpt;         /* "type;xtext", or NULL (section 4.2) */
};

struct server_envelope {
	const char *sender;        /* "" is the null return path */
	const char *ret;           /* "FULL", "HDRS" or NULL */
	const char *envid;         /* xtext, or NULL */
	uint64_t size;             /* as announced; 0 without */
	bool eightbit;             /* BODY=8BITMIME */
	bool smtputf8;
	struct server_recipient *recipients;   /* the accepted ones */
	size_t count;
};

enum server_event {
	SERVER_MORE,          /* nothing can be done before more bytes come */
	SERVER_MAIL,          /* s->envelope has a sender: server_answer() */
	SERVER_RCPT,          /* s->recipient: server_answer(); 2xx adds it to the envelope */
	SERVER_MESSAGE,       /* a message begins: server_answer(), 3xx to take it */
	SERVER_TEXT,          /* s->text has the next part of the message, with LF line ends */
	SERVER_END,           /* the message is whole: server_answer() for all its recipients */
	SERVER_ABANDON,       /* the message that was begun will never be whole */
	SERVER_STARTTLS,      /* send s->out, then the handshake, then server_encrypted() */
	SERVER_CLOSE,         /* send s->out and close */
};

struct server {
	const struct server_options *options;
	bool offer_tls;            /* STARTTLS is announced */
	bool encrypted;
	char *helo;                /* the name that the client gave, as a word of Received; NULL before */
	bool extended;             /* it said EHLO or LHLO */
	struct server_envelope envelope;
	struct server_recipient recipient;      /* that is asked for */
	struct buf text;           /* of SERVER_TEXT; to be used before server_next() */
	struct buf out;            /* replies to be sent */
	const char *why;           /* a word for the log on a client that is turned away; NULL without */

	/* below: the machine's own */
	struct buf in;
	struct pool pool;          /* of the transaction */
	size_t capacity;
	size_t commands, errors;
	size_t chunks;             /* with something in them, of the message so far */
	enum server_event pending; /* what was asked and not answered */
	enum { SERVER_COMMANDS, SERVER_DATA, SERVER_CHUNK, SERVER_SKIP } mode;
	struct received received;
	uint64_t chunk;            /* bytes of the current chunk that are to come */
	bool chunk_is_last, chunk_is_over;
	struct {
		int code;
		const char *status, *text;
	} refusal;                 /* of a chunk that is skipped */
	bool has_sender, chunking;
	bool begun;                /* the caller has a part of the message */
	bool abandon;              /* and is to be told to drop it */
	bool whole;                /* the end of the message was reached */
	bool closing;
};

/* The greeting is in s->out. */
void server_init(struct server *s, const struct server_options *options, bool offer_tls, bool encrypted);
void server_free(struct server *s);

/* Bytes came.  Never more than some lines are kept while a question is open: read no more until it is answered. */
void server_add(struct server *s, const char *bytes, size_t n);

/* What is to be done next.  Only SERVER_TEXT and SERVER_ABANDON need no answer. */
enum server_event server_next(struct server *s);

/*
 * The answer to what server_next() asked: a reply code (RFC 5321 section 4.2), an enhanced status code (RFC 3463), and
 * clean text.  After SERVER_END an LMTP client gets it for each recipient.
 */
void server_answer(struct server *s, int code, const char *status, const char *text);

/* The handshake of SERVER_STARTTLS is done: all that was said before is forgotten (RFC 3207 section 4.2). */
void server_encrypted(struct server *s);

/* The server wants to stop, or has waited long enough: 421 with `text`, then SERVER_CLOSE.  No answer is expected any more. */
void server_shut(struct server *s, const char *text);

/* True between MAIL and the end of the transaction. */
bool server_in_transaction(const struct server *s);

/* Gives back memory that is not used now, to be called before waiting; returns the bytes that are. */
size_t server_trim(struct server *s);

/* True while the client has sent a part of a command. */
bool server_is_within_command(const struct server *s);

/* How the message came, for a Received field: "LMTP", "ESMTPS", "UTF8SMTP", … (RFC 3848, RFC 6531 section 4.3). */
const char *server_with(const struct server *s);

#endif
