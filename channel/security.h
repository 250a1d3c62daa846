/*
 * What the postmaster demands of a connection before mail may be sent on it: encryption and
 * authentication (options -A, -S, -O tls, -O auth, -O auth-cleartext).
 */
#ifndef ZL_CHANNEL_SECURITY_H
#define ZL_CHANNEL_SECURITY_H

#include <stdbool.h>

#include "channel/net/sasl.h"
#include "channel/net/target.h"
#include "channel/net/tls.h"
#include "channel/net/tlsconf.h"
#include "channel/protocol/opening.h"
#include "lib/buf.h"

/* -O tls=; the order is that of security.c's table of words. */
enum tls_wish { TLS_WISH_UNSAID, TLS_WISH_NONE, TLS_WISH_MAY, TLS_WISH_MUST, TLS_WISH_VERIFY };

struct security {
	/* from the command line */
	const char *channel;          /* -c, for the lines of the secrets file */
	const char *secrets_path;     /* -A, NULL without */
	const char *tls_path;         /* -S, NULL without */
	enum tls_wish wish;
	struct sasl_order order;
	bool cleartext;               /* -O auth-cleartext: a password may cross a network unencrypted */
	/* what follows from it */
	struct tlsconf conf;
	struct tls *tls;              /* NULL until it is needed */
	enum starttls starttls;
};

/* The default order of mechanisms, nothing else said. */
void security_init(struct security *sec);
void security_free(struct security *sec);

/* The values of -O tls and -O auth; false if they make no sense. */
bool security_set_tls(struct security *sec, const char *value);
bool security_set_auth(struct security *sec, const char *value);

/*
 * All options are known: reads the file of -S and tries whether it can be used; with -A no core file of
 * this process will be written.  False with one line in `why`.
 */
bool security_start(struct security *sec, struct buf *why);

/*
 * How to authenticate to a target, which the resolver calls `canonical` (or NULL): *run is NULL if there is nothing to
 * be said.  False with one line in `why`: it cannot be told, so no connection may be made.
 */
bool security_look_up(const struct security *sec, const struct target *target, const char *canonical,
                      struct sasl_run **run, struct buf *why);

/*
 * What a connection to `target` has to go through; `local`: it does not leave this machine.  `auth` is filled and
 * referred to if there is a run.
 */
struct opening_demands security_demands(const struct security *sec, const struct target *target, bool local,
                                        struct sasl_run *run, struct auth *auth);

/* TLS for a connection; NULL with one line in `why` if it cannot be used here. */
struct tls *security_tls(struct security *sec, struct buf *why);

/* What the target's certificate should name, NULL for a socket. */
const char *security_name(const struct target *target);

#endif
