/*
 * Addresses on a command line become recipients, by the maps.
 */
#ifndef ZL_CHANNEL_ROUTING_H
#define ZL_CHANNEL_ROUTING_H

#include <stdbool.h>
#include <stddef.h>

#include "lib/buf.h"

struct route_config;
struct router;

struct routed {
	char *channel;
	char *host;
	char *user;
	long privilege;
	const char *address;       /* the one it came from: as the caller gave it */
};

struct routing {
	const char *dbases;        /* path of dbases.conf */
	struct router *router;     /* for routing_each(): that of routing_open(); NULL: it opens its own */
	struct route_config *config;    /* ... and what it was read from */
	char *const *settings;     /* NAME=VALUE, see db/route/setup.h */
	size_t setting_count;
	bool keep_good;            /* go on without the addresses that do not exist */
	const char *metrics;       /* lookups are counted in this file; NULL: nowhere */
	long privilege;            /* of recipients that do not come from a map */
	struct routed *recipients;
	size_t count;
	size_t capacity;
};

/*
 * Routes `count` addresses; equal results are one recipient, the "bitbucket" is none.  0, or after a line for each
 * address in question: EX_NOUSER if one does not exist (with keep_good, if none does), EX_TEMPFAIL if one could not be judged,
 * another code of <sysexits.h> if the maps or settings are refused.  With any of these there are no recipients.
 */
int routing_run(struct routing *routing, char *const *addresses, size_t count);

void routing_free(struct routing *routing);

/*
 * For a program that stays: r->router becomes one that sees changes of the maps at the next question.  0, or after a line about
 * it a code of <sysexits.h> if the maps or settings are refused.
 */
int routing_open(struct routing *routing);

/* True if dbases.conf or what it stands on has changed: r->router is another one now (db/route/routeconf.h). */
bool routing_renew(struct routing *routing);

/* Closes r->router. */
void routing_close(struct routing *routing);

/* What the maps know of one result of an address. */
enum routing_answer {
	ROUTING_THERE,             /* it goes to channel, host, user */
	ROUTING_NOBODY,
	ROUTING_UNCLEAR,           /* could not tell */
};

/* One result of address number `address`; without a destination `to` is NULL and `why` clean text. */
typedef void routing_tell(void *context, size_t address, enum routing_answer answer, const struct routed *to,
                          const char *why);

/*
 * Routes addresses one by one and tells all results, at least one for each.  Every destination is told, also the
 * "bitbucket".  0, or after a line about it a code of <sysexits.h> if the maps or settings are refused; then nothing
 * was told.
 */
int routing_each(const struct routing *routing, char *const *addresses, size_t count, routing_tell *tell,
                 void *context);

#endif
