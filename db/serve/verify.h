/*
 * Asking the store for a recipient while the client waits: by lmtp -B, which stands beside the program, keeps what it heard,
 * and its sessions to the stores from one question to the next.  In a child process of intake or dbserve, as it waits for the
 * answer.
 */
#ifndef ZL_DB_SERVE_VERIFY_H
#define ZL_DB_SERVE_VERIFY_H

#include <stdbool.h>
#include <stdint.h>

#include "lib/buf.h"

struct verify_options {
	const char *cache;     /* of lmtp -B; NULL: as the arguments say */
	const char *arguments; /* more of them, with blanks between; "" for none */
	uint64_t seconds;      /* how long it may take */
};

struct verdict {
	int code;              /* 250, 450 or 550 */
	char status[12];       /* enhanced code */
	char text[400];        /* clean, without code and status */
};

struct verifier;

/*
 * The agent is started by the first question, in a child that has the verifier of its parent.  Cache and arguments are copied.
 */
struct verifier *verifier_create(const struct verify_options *options);

/* Starts the agent without a question: 0, or a code of <sysexits.h> with `why` if it cannot be run or refuses its arguments. */
int verifier_check(struct verifier *v, struct buf *why);

/*
 * False for destinations elsewhere (channel smtp) and on this system (local, bitbucket, hold), and those of a channel that -c
 * of the arguments does not name: they are taken as they are.
 */
bool verifier_concerns(const struct verifier *v, const char *channel);

/* Which store is asked for users at `host`. */
const char *verifier_store(const struct verifier *v, const char *host);

/*
 * Asks.  An agent that has ended is started again; one that does not answer in time is replaced, and the answer is 450.  One
 * that ends at its first question is not started again for ten seconds, by no process that has the verifier.
 */
void verifier_ask(struct verifier *v, const char *host, const char *user, struct verdict *verdict);

/* The verdict where no store was asked, and why ("took too long"), or NULL. */
void verdict_unasked(struct verdict *verdict, const char *fault);

/* Clears the caller's pointer; NULL is nothing. */
void verifier_destroy(struct verifier **v);

#endif
