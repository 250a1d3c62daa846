/*
 * What a reply means for a recipient: the only place where a stage and a code
 * become an outcome (transport-agent.md section 7, right column).
 */
#ifndef ZL_CHANNEL_PROTOCOL_POLICY_H
#define ZL_CHANNEL_PROTOCOL_POLICY_H

#include <stdbool.h>
#include <stddef.h>

#include "channel/protocol/reply.h"

enum outcome {
	OUTCOME_NONE,          /* not settled yet */
	OUTCOME_DELIVERED,     /* only by a 2xx final reply for this very recipient, in SMTP for its message */
	OUTCOME_DEFERRED,
	OUTCOME_FAILED,
	OUTCOME_ACCEPTED,      /* a probe: 2xx at RCPT, and nothing was sent */
};

/* Where in the dialogue something was said or failed. */
enum stage {
	STAGE_LOCAL,           /* on our side: file, memory, configuration */
	STAGE_CONNECT,
	STAGE_GREETING,
	STAGE_LHLO,
	STAGE_EHLO,            /* the same in SMTP, */
	STAGE_HELO,            /* ... and of servers older than RFC 1869 */
	STAGE_STARTTLS,
	STAGE_AUTH,
	STAGE_MAIL,
	STAGE_RCPT,
	STAGE_DATA,            /* the reply to DATA, or to the envelope's end with BDAT */
	STAGE_CONTENT,         /* while the message was on its way */
	STAGE_FINAL,           /* after it: the reply for one recipient, in SMTP for all that were accepted */
};

const char *stage_name(enum stage stage);

/* "delivered", "failed", "deferred"; what is not settled is deferred. */
const char *outcome_name(enum outcome outcome);

/* How one recipient ended. */
struct result {
	enum outcome outcome;
	enum stage stage;
	int code;                  /* the server's, or one of our own for local trouble */
	const char *status;        /* "x.y.z", never empty */
	bool uncoded;              /* the server's reply had no such status: it is made of its code */
	const char *words;         /* clean text */
	bool remote;               /* the server said it; else we did */
	bool destination;          /* concerns the destination, not this recipient: others need not be tried now */
	bool maybe_duplicate;      /* the message was sent whole and no answer came that says what became of it */
};

/* The postmaster's own rules, first match wins (-O map-reply). */
struct reply_rule {
	int code;
	const char *status;        /* "" = any */
	enum outcome outcome;      /* OUTCOME_DEFERRED or OUTCOME_FAILED */
};

struct reply_rules {
	const struct reply_rule *rules;
	size_t count;
};

/*
 * The outcome of `reply` at `stage`.  OUTCOME_NONE means that it settles nothing: the
 * dialogue goes on (a 2xx or 354 before the end) or is out of step (see policy_fits).
 */
enum outcome policy_outcome(enum stage stage, const struct reply *reply, const struct reply_rules *rules);

/*
 * False if a reply with this code cannot be an answer at this stage, for instance 250 to
 * DATA or 354 to RCPT: then we and the server are out of step and nothing that
 * follows may be believed.
 */
bool policy_fits(enum stage stage, int code);

/*
 * The enhanced code to report: the server's own, or the generic one for its code (transport-agent.md section 7).  A code that
 * speaks of an address does so only in a reply to RCPT: behind the dot, 550 is as well what a filter of content says.
 */
const char *policy_status(enum stage stage, const struct reply *reply, enum outcome outcome);

/* What a probe learns about an address. */
enum answer {
	ANSWER_YES,            /* there is such a recipient */
	ANSWER_NO,             /* there is none */
	ANSWER_UNCLEAR,        /* could not tell */
};

/*
 * The answer in the result of a probe.  "No" must be said of the recipient itself: an enhanced code of RFC 3463 about the
 * address or a mailbox that takes no mail, or 550, 551 or 553 where the server gives none (or one that says nothing,
 * x.0.0).  A full mailbox exists; a refusal by policy, of the sender or of us says nothing about it.
 */
enum answer policy_answer(const struct result *result);

/*
 * The server wants authentication that this connection has not had: 430 (Cyrus), 530, 534 or 538.  A new connection, with
 * secrets as they are then, may do better; this one never will.
 */
bool policy_wants_authentication(int code);

/* "Too many recipients" at RCPT: not now, but in the next transaction (RFC 5321 section 4.5.3.1.10). */
bool policy_too_many(const struct reply *reply);

#endif
