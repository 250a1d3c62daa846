/*
 * Routes: the values of fqdnroutes and routesdb (routing.md section 4), one syntax for both.
 *
 *   CHANNEL!HOST!USER    as it says; USER may hold '!'
 *   CHANNEL!HOST         the user is the address as it came
 *   CHANNEL!             no host; for "smtp..." and "dns" the domain of the address, for "smtpgw..." its local part
 *   error!FORM[!TEXT]    refused; TEXT instead of the address
 *   delay!SECONDS        to be routed again later
 *   lotusgw!GATE!HOST    user%GATE@HOST by smtp
 *   ignore!..., ERROR    as if the key were not there
 *
 * Parts may hold %-references; they are cut apart before anything is put in for these, so that no address can
 * change the shape of a route.
 */
#ifndef ZL_DB_GRAMMAR_DESTINATION_H
#define ZL_DB_GRAMMAR_DESTINATION_H

#include <stdbool.h>
#include <stdint.h>

#include "lib/pool.h"

enum destination_kind {
	DESTINATION_SEND,       /* channel, host, user */
	DESTINATION_LATER,      /* seconds */
	DESTINATION_ABSENT,     /* as if the key were not there */
};

enum destination_host {
	HOST_NONE,              /* "-" */
	HOST_GIVEN,             /* host */
	HOST_DOMAIN,            /* the domain of the address */
	HOST_LOCAL_PART,        /* its local part */
};

struct destination {
	enum destination_kind kind;
	enum destination_host host_is;
	const char *channel;
	const char *host;       /* of HOST_GIVEN */
	const char *user;       /* NULL: the address as it came */
	const char *gateway;    /* of lotusgw, else NULL */
	int64_t seconds;
};

/* Reads a route.  What it makes lives in `pool`.  False with *why, a constant text, for what is no route. */
bool destination_parse(struct pool *pool, const char *value, struct destination *d, const char **why);

#endif
