#include "config.h"
#include "channel/security.h"

#include <string.h>

#include "channel/net/secrets.h"
#include "lib/process.h"

/* LOGIN first: it is what the original speaks, so every server in use knows it. */
#if HAVE_SASL
#define DEFAULT_ORDER "login,plain,scram-sha-256,external"
#else
#define DEFAULT_ORDER "login,plain,external"
#endif

void security_init(struct security *sec)
{
	*sec = (struct security){ 0 };
	sasl_order_parse(DEFAULT_ORDER, &sec->order);
}

void security_free(struct security *sec)
{
	tls_destroy(&sec->tls);
	tlsconf_free(&sec->conf);
}

/* ---- the command line ---- */

bool security_set_tls(struct security *sec, const char *value)
{
	static const char *const words[] = {
		[TLS_WISH_NONE] = "none", [TLS_WISH_MAY] = "may", [TLS_WISH_MUST] = "must", [TLS_WISH_VERIFY] = "verify",
	};

	for (size_t i = TLS_WISH_NONE; i < sizeof words / sizeof words[0]; i++) {
		if (strcmp(value, words[i]) == 0) {
			sec->wish = (enum tls_wish)i;
			return true;
		}
	}
	return false;
}

bool security_set_auth(struct security *sec, const char *value)
{
	return sasl_order_parse(value, &sec->order);
}

static enum starttls decide_starttls(const struct security *sec)
{
	const struct tlsconf *conf = &sec->conf;

	switch (sec->wish) {
	case TLS_WISH_NONE:
		return STARTTLS_NEVER;
	case TLS_WISH_MAY:
		return STARTTLS_IF_OFFERED;
	case TLS_WISH_MUST:
	case TLS_WISH_VERIFY:
		return STARTTLS_DEMANDED;
	case TLS_WISH_UNSAID:
		break;
	}
	/* a check that was asked for is worth nothing if a server passes it by not offering TLS */
	if (conf->demanded || conf->verify == TLS_VERIFY_CHAIN || conf->verify == TLS_VERIFY_NAME || conf->peer_name != NULL ||
	    conf->fingerprint_count > 0)
		return STARTTLS_DEMANDED;
	return STARTTLS_IF_OFFERED;
}

bool security_start(struct security *sec, struct buf *why)
{
	if (sec->secrets_path != NULL)
		process_keep_secrets();
	if (sec->tls_path != NULL && !tlsconf_read(&sec->conf, sec->tls_path, why))
		return false;
	if (sec->wish == TLS_WISH_NONE && sec->conf.wrapped) {
		buf_addf(why, "-O tls=none contradicts tls-wrapped in %s", sec->tls_path);
		return false;
	}
	if (sec->wish == TLS_WISH_VERIFY && sec->conf.verify == TLS_VERIFY_NONE) {
		buf_addf(why, "-O tls=verify contradicts tls-verify none in %s", sec->tls_path);
		return false;
	}
	sec->starttls = decide_starttls(sec);
	/* what the file does not say: an administrator who wrote one wants more than opportunistic TLS */
	if (sec->conf.verify == TLS_VERIFY_UNSAID) {
		if (sec->wish == TLS_WISH_VERIFY || sec->conf.peer_name != NULL)
			sec->conf.verify = TLS_VERIFY_NAME;
		else
			sec->conf.verify = sec->conf.fingerprint_count == 0 && sec->tls_path != NULL ? TLS_VERIFY_NAME
			                   : TLS_VERIFY_NONE;
	}
	/* nothing can be wrong without a file; then it waits until a server offers TLS */
	return sec->wish == TLS_WISH_NONE || sec->tls_path == NULL || security_tls(sec, why) != NULL;
}

/* ---- a connection ---- */

struct tls *security_tls(struct security *sec, struct buf *why)
{
	if (sec->tls != NULL)
		return sec->tls;
	sec->tls = tls_create(&sec->conf, why);
	if (sec->tls == NULL && sec->tls_path != NULL)
		buf_addf(why, " (in %s)", sec->tls_path);
	return sec->tls;
}

const char *security_name(const struct target *target)
{
	return target->kind == TARGET_UNIX ? NULL : target->name;
}

bool security_look_up(const struct security *sec, const struct target *target, const char *canonical,
                      struct sasl_run **run, struct buf *why)
{
	const char *names[] = { target->kind == TARGET_UNIX ? target->text : target->name, canonical, NULL };
	struct secret secret = { 0 };

	*run = NULL;
	if (sec->secrets_path != NULL) {
		switch (secrets_find(sec->secrets_path, sec->channel, names, &secret, why)) {
		case SECRETS_FOUND:
			*run = sasl_run_create(&sec->order, &secret);
			return true;
		case SECRETS_UNCLEAR:
			return false;
		case SECRETS_NONE:
			break;
		}
	}
	if (sasl_order_is_external(&sec->order))
		*run = sasl_run_create(&sec->order, NULL);
	return true;
}

static const char *choose(void *run, const char *offered, bool guarded, struct buf *why)
{
	return sasl_run_choose(run, offered, guarded, why);
}

static bool respond(void *run, const char *challenge, struct buf *out, struct buf *why)
{
	return sasl_run_respond(run, challenge, out, why);
}

static bool complete(void *run)
{
	return sasl_run_complete(run);
}

static bool reveals(void *run, const char *bytes, size_t n)
{
	return sasl_run_reveals(run, bytes, n);
}

struct opening_demands security_demands(const struct security *sec, const struct target *target, bool local,
                                        struct sasl_run *run, struct auth *auth)
{
	struct opening_demands demands = {
		.starttls = sec->starttls,
		.encrypted = sec->conf.wrapped,
		.guarded = sec->conf.wrapped || sec->cleartext || local,
	};

	/* on a socket no one can listen in: encryption only if it is demanded */
	if (target->kind == TARGET_UNIX && sec->starttls == STARTTLS_IF_OFFERED)
		demands.starttls = STARTTLS_NEVER;
	if (run != NULL) {
		*auth = (struct auth){ run, choose, respond, complete, reveals };
		demands.auth = auth;
	}
	return demands;
}
