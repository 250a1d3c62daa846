/*
 * The client's side of SASL mechanisms (RFC 4422) in the form of RFC 4954: base64 text, one
 * line each way.  What is said here must appear nowhere else.
 */
#ifndef ZL_CHANNEL_NET_SASL_H
#define ZL_CHANNEL_NET_SASL_H

#include <stdbool.h>
#include <stddef.h>

#include "channel/net/secrets.h"
#include "lib/buf.h"

enum sasl_mechanism {
	SASL_LOGIN,              /* user, then password; the prompts may say what they like */
	SASL_PLAIN,              /* RFC 4616 */
	SASL_SCRAM_SHA_256,      /* RFC 7677, by Cyrus SASL; not in every build */
	SASL_EXTERNAL,           /* RFC 4422 appendix A: who we are is known from TLS or the socket */
	SASL_MECHANISMS,
};

/* Mechanisms in the order to try. */
struct sasl_order {
	enum sasl_mechanism list[SASL_MECHANISMS];
	size_t count;
};

/* "login,plain": the order of -O auth.  False if it names something twice or that we do not have. */
bool sasl_order_parse(const char *text, struct sasl_order *order);

/* True if no mechanism of it needs a user and a secret. */
bool sasl_order_is_external(const struct sasl_order *order);

struct sasl_run;

/* One authentication.  `secret` (NULL: only EXTERNAL is possible) is moved into it; `order` must outlive it. */
struct sasl_run *sasl_run_create(const struct sasl_order *order, struct secret *secret);

/* Wipes all of it; harmless on NULL. */
void sasl_run_destroy(struct sasl_run **run);

/*
 * The first of our mechanisms that is among `offered` (names in capitals, each followed by a blank) and, unless
 * `guarded`, does not say the password aloud.  Returns what follows "AUTH "; NULL with one line in `why`.
 */
const char *sasl_run_choose(struct sasl_run *run, const char *offered, bool guarded, struct buf *why);

/* Adds the answer to a challenge to `out`, without line end.  False with one line in `why`: to be cancelled. */
bool sasl_run_respond(struct sasl_run *run, const char *challenge, struct buf *out, struct buf *why);

/* Has all been said, and the server proved what it had to prove?  Else its success is no success. */
bool sasl_run_complete(const struct sasl_run *run);

/* True if the bytes hold a piece of what must stay secret. */
bool sasl_run_reveals(const struct sasl_run *run, const char *bytes, size_t n);

#endif
