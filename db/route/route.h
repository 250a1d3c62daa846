/*
 * Routing: an address becomes (channel, host, user) (routing.md).
 *
 * Three answers here too: every result is "goes there", "nobody there", or "could not tell"; what could not be judged
 * holds exactly the member of a list that it is about and never becomes one of the other two.
 */
#ifndef ZL_DB_ROUTE_ROUTE_H
#define ZL_DB_ROUTE_ROUTE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "db/map/map.h"
#include "db/route/relation.h"
#include "lib/pool.h"

struct explain;

/* The relations that routing asks (maps.md section 3.2). */
enum route_relation {
	ROUTE_FQDNALIASES,
	ROUTE_FQDNALIASESLDAP,
	ROUTE_FQDNROUTES,
	ROUTE_ROUTESDB,
	ROUTE_THISHOST,
	ROUTE_OTHERSERVERS,
	ROUTE_ALIASES,
	ROUTE_EXPIRED,
	ROUTE_USERDB,
	ROUTE_RELATIONS,       /* how many there are */
};

/* Its name in dbases.conf. */
const char *route_relation_name(enum route_relation relation);

/* Is there a Unix account of this name? */
typedef enum map_answer route_account(void *context, const char *name);

/* Expansions one inside the other if nothing else is said: as many as the scripts for ZMailer's router bear. */
#define ROUTE_DEPTH 9

/*
 * A router.  The caller fills in everything above the line; relations that are NULL have no maps.
 * settings.h reads the rest from text.
 */
struct router {
	struct relation *relations[ROUTE_RELATIONS];
	route_account *account;
	void *account_context;
	char *hostname;            /* always local */
	char *mydomain;            /* the domain of bare local names */
	bool localdoesdomain;      /* users of channel local keep their "@domain" */
	bool any_local_user;       /* local names need no Unix account (ROUTEUSER_IN_ABNORMAL_UNIX) */
	bool use_routes;           /* "protocols": ask routesdb */
	bool use_smtp;             /* "protocols": other domains go out by smtp */
	unsigned max_depth;        /* lists one inside the other */
	unsigned max_addresses;    /* addresses looked at for one question */
	int64_t now;               /* seconds since 1970 for delay!; -1: the time of day */

	struct pool pool;          /* working memory of a question */
	struct pool kept;          /* the results of the last one */
	const char *nesting;       /* out: why lists one inside the other held the last one, NULL if they did not */
	bool listed;               /* out: an address list led the last one on */
	struct hit hit;            /* what the last lookup found; its buffers serve again */
};

enum route_type {
	ROUTE_RECIPIENT,
	ROUTE_SENDER,
};

struct route_query {
	const char *address;
	size_t length;             /* of the address, which may hold any byte */
	enum route_type type;
	bool error_message;        /* a report of our own is being sent: ".:ERROR" comes first */
	bool aliases_only;         /* where address lists lead; what no list goes on with is a result, channel "alias" */
	uid_t privilege;           /* of results that no map was asked for */
	struct explain *explain;   /* NULL for none */
};

struct route_result {
	enum map_answer answer;    /* goes there; nobody there (channel "error"); could not tell (channel "hold") */
	const char *channel;
	const char *host;          /* "-" for none; of "error" the form, of "hold" why or until when */
	const char *user;
	uid_t privilege;           /* pipes and files run as this */
	bool no_mailbox;           /* a file or a command that no map names, but the address: nobody outside may have mail there */
};

/*
 * Routes one address.  *results points to at least one result and is valid until the next call.  The answer is
 * the worst of them: MAP_COULD_NOT_TELL if any result is held, else MAP_NOT_FOUND if any is an error.
 * Every address has an answer, whatever bytes it holds.
 */
enum map_answer route(struct router *router, const struct route_query *query, const struct route_result **results,
                      size_t *count) MAP_MUST_LOOK;

/* The same for the address of a recipient; `privilege` is that of what does not come from a map. */
enum map_answer route_recipient(struct router *router, const char *address, uid_t privilege,
                                const struct route_result **results, size_t *count) MAP_MUST_LOOK;

/* The usual settings: no relations, all protocols, accounts from the system, names from gethostname(3). */
struct router *router_create(void);

/* Frees it with its relations; clears the caller's pointer.  NULL is fine. */
void router_destroy(struct router **router);

/* True if any of its maps is slow (map_is_slow). */
bool router_is_slow(const struct router *router);

#endif
