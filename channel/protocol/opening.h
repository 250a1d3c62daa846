/*
 * From the greeting to a connection that is ready for mail, as a pure
 * machine: replies in, command bytes and a next step out (RFC 2033 section 4.1, RFC 5321
 * section 3.2, RFC 3207, RFC 4954).  One command is open at a time.
 */
#ifndef ZL_CHANNEL_PROTOCOL_OPENING_H
#define ZL_CHANNEL_PROTOCOL_OPENING_H

#include "channel/protocol/caps.h"
#include "channel/protocol/policy.h"
#include "channel/protocol/reply.h"
#include "lib/buf.h"

enum opening_next {
	OPENING_WAIT,          /* `out` is to be sent, then a reply awaited */
	OPENING_START_TLS,     /* the next byte belongs to the TLS handshake; then opening_encrypted() */
	OPENING_READY,         /* caps are valid; mail may be sent */
	OPENING_FAILED,        /* `why` says it; `stage` and `code` where; close */
};

enum starttls {
	STARTTLS_NEVER,
	STARTTLS_IF_OFFERED,   /* once offered it must succeed: no way back to clear text */
	STARTTLS_DEMANDED,
};

/*
 * One authentication; how the mechanisms work is known elsewhere (channel/net/sasl.h, where each
 * function is described).
 */
struct auth {
	void *run;
	const char *(*choose)(void *run, const char *offered, bool guarded, struct buf *why);
	bool (*respond)(void *run, const char *challenge, struct buf *out, struct buf *why);
	bool (*complete)(void *run);
	bool (*reveals)(void *run, const char *bytes, size_t n);
};

struct opening_options {
	const char *name;          /* argument of LHLO, EHLO or HELO */
	bool smtp;                 /* EHLO, and HELO where that is unknown, instead of LHLO */
	const char *ignore_caps;   /* for caps_parse() */
	bool ignore_all;           /* as if the server had announced nothing */
};

/* What must have happened on this connection before mail may be sent. */
struct opening_demands {
	enum starttls starttls;
	bool encrypted;            /* TLS runs from the first byte */
	bool guarded;              /* no one can listen, or the postmaster does not mind */
	const struct auth *auth;   /* NULL = no authentication; else no mail without */
};

struct opening {
	const struct opening_options *options;
	struct opening_demands demands;
	enum stage stage;
	struct caps caps;
	bool cancelled;            /* AUTH was broken off by us: `why` is set already */
	bool secret_out;           /* what was added to `out` must not be logged */
	int code;                  /* of the reply that ended it; 0 if it was no reply */
	char status[12];           /* enhanced code to report */
	struct buf why;            /* one line */
};

/* Starts with the greeting: nothing to send yet. */
void opening_init(struct opening *o, const struct opening_options *options, const struct opening_demands *demands);
void opening_free(struct opening *o);

/* The next reply of the server; commands are added to `out`. */
enum opening_next opening_reply(struct opening *o, const struct reply *reply, struct buf *out);

/* The handshake that OPENING_START_TLS asked for has succeeded: all that was said in clear is forgotten (RFC 3207). */
enum opening_next opening_encrypted(struct opening *o, struct buf *out);

/* The stream ended, or no reply came in time: why it failed, unless that is known already. */
void opening_lost(struct opening *o, const char *why);

/* True if the server's words are not for any log: the other half of an exchange, or an echo of ours. */
bool opening_hides(const struct opening *o, const struct reply *reply);

#endif
