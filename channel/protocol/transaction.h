/*
 * The LMTP or SMTP transactions of one connection as a pure machine: replies and
 * other events in, command bytes and actions out, no system call (RFC 2033,
 * RFC 5321 section 3.3, RFC 2920, RFC 3030).
 *
 * What was sent and what was answered advance independently.  Each command sent puts what
 * it expects into one queue; each reply takes the front one.  A reply that does not fit
 * there poisons the dialogue: nothing settled changes, everything open is deferred, the
 * connection is closed.
 *
 *     dialogue_begin(t)     the envelope goes into `out`
 *     ACTION_CONTENT        the owner puts the message into `out`, dots stuffed
 *                           and closed by "." unless t->bdat, then calls
 *                           dialogue_content_done()
 *     ACTION_SETTLED        one recipient has its outcome
 *     ACTION_DONE           the transaction is over; recipients without an
 *                           outcome belong into a new one, at once
 *     ACTION_CLOSE          the connection must not be used any more
 *
 * A probe has RSET where DATA would stand, and QUIT behind it: recipients that the
 * server takes are settled as OUTCOME_ACCEPTED, and there is no content.  The 221 to QUIT is the
 * proof that all replies before it stood in their place; it ends the connection.  Where that is to be
 * kept for the next probe (t->hello), LHLO stands in the place of QUIT (RFC 5321 section 4.1.4): its
 * reply of several lines can be taken for no other's.
 *
 * SMTP (options->smtp) differs in one point: the message has one final reply, which is that of every accepted
 * recipient.  All else, the proofs too, is the same.
 *
 * After every call into the machine the owner takes the actions out, in order; behind replies that came in one read only after
 * the last of them, as a reply too many puts those before it in doubt.
 */
#ifndef ZL_CHANNEL_PROTOCOL_TRANSACTION_H
#define ZL_CHANNEL_PROTOCOL_TRANSACTION_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "channel/protocol/caps.h"
#include "channel/protocol/command.h"
#include "channel/protocol/policy.h"
#include "channel/protocol/reply.h"
#include "lib/buf.h"

struct transaction_recipient {
	/* set by the owner */
	struct envelope_recipient to;
	void *owner;
	/* the machine's */
	enum outcome outcome;
	bool accepted;            /* 2xx at RCPT */
	uint64_t rcpt_end;        /* stream position behind its RCPT; 0 until that is in `out` */
	bool rcpt_said;           /* set with the outcome: its RCPT had gone out, so reports may show it */
	bool later;               /* "too many recipients": belongs into a further transaction */
	char *rcpt_reply;         /* "250 2.1.5 Ok": the server's words at RCPT; NULL before */
	struct result held;       /* a refusal, or a probe's yes, that waits for its proof; outcome NONE = none */
};

struct transaction {
	/* set by the owner */
	struct envelope envelope;
	struct transaction_recipient *recipients;
	size_t count;
	void *owner;
	bool probe;               /* asks for the recipients and sends no message */
	const char *hello;        /* a probe that keeps the connection: our name; NULL: it ends with QUIT */
	bool retried;             /* was tried before on a connection that broke unanswered: no second silent try */
	unsigned offered;         /* how often a used-up connection refused its MAIL: at most MAIL_OFFERS times it is no answer */
	/* the machine's */
	bool bdat;                /* the content goes out as one BDAT ... LAST of envelope.size bytes */
	bool doubtful;            /* the envelope went out while earlier final replies were open */
	bool answered;            /* some reply to this transaction came */
	bool used_up;             /* MAIL was refused on a connection that had carried mail: a new one is to be asked */
	bool again;               /* refused or not sent for a reason that lies in the connection: not judged here */
	bool turned_away;         /* ... and every reply to it, up to the one behind its content, was a refusal */
	bool maybe_taken;         /* it is left open, to be tried once more, and was on the wire whole */
	bool content_started;
	uint64_t content_end;     /* stream position behind the content; 0 until it is in `out` */
	size_t next_step;         /* what dialogue_begin() and later replies send next */
	size_t accepted;
	size_t finals;            /* final replies seen */
	size_t final_at;          /* recipient that the next final reply belongs to */
	struct result refused;    /* refusal of MAIL or DATA, for all that are still open, that waits for its proof */
	int64_t begun_at;         /* dialogue.now at the envelope, and when the content was on the wire */
	int64_t sent_at;          /* 0 until then */
	char mail_status[12];     /* enhanced codes of positive replies, to recognise a shift */
	char rcpt_status[12];
	char final_status[12];
	bool delivered;           /* to a recipient: final_status is valid */
};

/*
 * What is known of the server at the other end of one connection; behind one address there may be several.  Envelopes
 * are sent ahead of final replies only to a server that was seen to give as many final replies as are due, and
 * whose replies to MAIL (and RCPT, with BDAT) can be told from its final ones, so that a reply too few or too
 * many cannot pass for another recipient's.
 */
struct trust {
	bool careful;             /* it, or another connection to this peer, got out of step once */
	bool proved_single;       /* right count for one recipient */
	bool proved_multi;        /* ... and for several in one transaction */
	char mail_status[12];
	char rcpt_status[12];
	char final_status[12];
};

/*
 * Servers that take so many messages in one session say so at the next MAIL, some of them with a 5xx.  That is no
 * judgement of the message: it is offered once more on another connection, then as the first of a new one.
 */
#define MAIL_OFFERS 2

struct dialogue_options {
	bool smtp;                /* one final reply for all accepted recipients, instead of one for each */
	bool no_pipelining;       /* lock-step even if the server announces PIPELINING */
	bool no_chunking;         /* DATA even if it announces CHUNKING */
	const struct reply_rules *rules;
	/* milliseconds, transport-agent.md section 13 */
	int64_t command_timeout;  /* MAIL, RCPT, RSET */
	int64_t data_timeout;     /* DATA */
	int64_t final_timeout;    /* each final reply */
	int64_t write_timeout;    /* without progress in writing */
	int64_t whole_timeout;    /* from a transaction's envelope to its last final reply */
};

enum action_kind { ACTION_SETTLED, ACTION_CONTENT, ACTION_DONE, ACTION_CLOSE };

struct action {
	enum action_kind kind;
	struct transaction *transaction;    /* not with ACTION_CLOSE */
	size_t recipient;                   /* ACTION_SETTLED */
	struct result result;               /* ACTION_SETTLED; its strings live until the actions are taken */
	const char *why;                    /* ACTION_CLOSE: one line */
};

struct expectation {
	enum stage stage;         /* STAGE_MAIL, RCPT, DATA, FINAL; STAGE_LOCAL for replies that settle nothing */
	struct transaction *transaction;
	size_t recipient;
	enum { TO_RSET, TO_HELLO, TO_QUIT } command;    /* STAGE_LOCAL */
	uint64_t sent_at;         /* stream position behind its command: no reply can come before it was written */
};

struct dialogue {
	const struct dialogue_options *options;
	const struct caps *caps;
	struct trust *trust;
	int64_t now;              /* set by the owner before every call (lib/clock.h) */
	struct buf out;           /* bytes for the server; the owner removes them by dialogue_wrote() */

	uint64_t written;         /* stream position: bytes taken from `out` so far */
	int64_t progress;         /* when `written` last changed or something was put into an empty `out` */
	struct expectation *expected;
	size_t expected_first, expected_count, expected_capacity;
	int64_t front_since;
	struct transaction **flight;        /* in the order of sending */
	size_t flight_count, flight_capacity;
	struct action *actions;
	size_t action_first, action_count, action_capacity;
	struct buf words;         /* clean words of the reply in hand */
	char status[12];          /* ... and the enhanced code to report for it */
	struct buf scratch;
	struct transaction *content;        /* whose content the owner is writing now */
	bool closed;
	bool ending;              /* nothing more is begun; what is on the wire may still be answered, each in its place */
	bool used_up;             /* ... because the server takes no more mail on this connection */
	bool ending_reset;        /* its last command, RSET, was sent */
	struct buf ending_why;
	uint64_t mails;           /* MAIL commands sent, */
	uint64_t mails_taken;     /* and how many of them were accepted */
	uint64_t completed;       /* transactions that came to their end on this connection */
};

/* A dialogue on a connection that has just become ready.  options, caps and trust must outlive it. */
void dialogue_init(struct dialogue *d, const struct dialogue_options *options, const struct caps *caps,
                   struct trust *trust);
void dialogue_free(struct dialogue *d);

/* True if dialogue_begin() may be called now. */
bool dialogue_wants(const struct dialogue *d);

/* Sends a transaction's envelope, as far as the server lets it. */
void dialogue_begin(struct dialogue *d, struct transaction *t);

/* One complete reply of the server. */
void dialogue_reply(struct dialogue *d, const struct reply *reply);

/* The content asked for by ACTION_CONTENT is in `out`, whole. */
void dialogue_content_done(struct dialogue *d);

/* It cannot be completed (message unreadable): no recipient gets it, the connection must be closed. */
void dialogue_content_failed(struct dialogue *d, const char *why);

/* `n` bytes from the head of `out` were taken by the system. */
void dialogue_wrote(struct dialogue *d, size_t n);

/* What came was no reply; `what` are its clean first bytes. */
void dialogue_garbage(struct dialogue *d, const char *what);

/* The stream is gone or given up; `why` is one line.  Everything open ends here. */
void dialogue_lost(struct dialogue *d, const char *why);

/* We are told to stop: everything open is deferred, nothing is tried once more. */
void dialogue_abort(struct dialogue *d, const char *why);

/* When dialogue_expired() must be called, CLOCK_NEVER if nothing is waited for. */
int64_t dialogue_deadline(const struct dialogue *d);

/* What is waited for so long: a reply at *stage, room to write, or the end of a transaction as a whole. */
enum dialogue_wait { DIALOGUE_REPLY, DIALOGUE_WRITE, DIALOGUE_WHOLE };
enum dialogue_wait dialogue_waits_for(const struct dialogue *d, enum stage *stage);

void dialogue_expired(struct dialogue *d);

/* Adds in words what has not come yet: "no reply to RCPT"; nothing if nothing is waited for. */
void dialogue_add_missing(const struct dialogue *d, struct buf *out);

/* True between final dot (or BDAT LAST) and the last final reply of any transaction: time to wait, not to go. */
bool dialogue_in_doubt(const struct dialogue *d);

/* Nothing is open on this connection. */
bool dialogue_idle(const struct dialogue *d);

/* Takes the next action; false if there is none. */
bool dialogue_action(struct dialogue *d, struct action *action);

#endif
