/*
 * The keys of scheduler.conf and what they set in a clause (transport-agent.md section 14).
 */
#ifndef ZL_CHANNEL_QUEUE_CLAUSE_H
#define ZL_CHANNEL_QUEUE_CLAUSE_H

#include "channel/queue/schedconf.h"

/*
 * Sets what `key` says, `value` being NULL if there was no '='; it may be cut up.  Keys without a meaning here
 * are noted in conf->ignored.  Returns NULL, or what was expected instead.
 */
const char *clause_set(struct schedconf *conf, struct clause *c, const char *key, char *value);

/* Notes a key that has no meaning here, once. */
void clause_ignore(struct schedconf *conf, const char *key);

/* Keeps memory until the configuration is freed; returns it. */
void *schedconf_own(struct schedconf *conf, void *p);

#endif
