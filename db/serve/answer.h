/*
 * What dbserve(8) is asked, whatever the protocol: a map by its name, and a key (see the names in the manual).
 *
 *   a relation of dbases.conf   its value, as dblookup RELATION KEY has it
 *   recipient                   "OK" if mail for the address has somewhere to go
 *   alias                       where address lists lead it, comma separated
 *   transport                   by the table of -T, from where it is routed to
 *   domain                      "OK" if users of the domain are looked for here
 *
 * And, for the policy protocol, what is to be done with a recipient (ANSWER_POLICY).
 */
#ifndef ZL_DB_SERVE_ANSWER_H
#define ZL_DB_SERVE_ANSWER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "db/route/dbases.h"
#include "db/route/route.h"
#include "db/serve/transports.h"
#include "lib/buf.h"
#include "lib/cache.h"
#include "lib/pool.h"
#include "lib/restraint.h"

struct answers {
	struct router *router;             /* whose maps are opened again when they change */
	const struct dbases *dbases;
	struct transports *transports;     /* NULL: none */
	bool verifies;                     /* the store is asked as well, for the policy protocol */
	struct buf destinations;           /* ... there: of each channel, host and user, each with a NUL; empty: it is not to be asked */
	struct relation **others;          /* relations that the router has no use for, as they are asked for */
	size_t other_count, other_capacity;
	struct cache *memory;              /* what was answered since a map changed; NULL: nothing is remembered */
	struct buf remembered;             /* its key in hand */
	bool is_slow;                      /* what the router is asked may keep a process waiting */
	bool looks_each_time;              /* maps are looked at before each lookup, else by answers_refresh() */
	route_account *account;            /* the router's own */
	void *account_context;
	bool by_maps_alone;                /* nothing but maps was asked for the answer in hand */
	bool is_settled;                   /* at the last look no map had just been written */
	size_t open_maps;                  /* ... and so many were open */
	struct hit hit;
	struct pool pool;                  /* of an address that is taken apart */
	struct restraint *tells;           /* the log hears of what could not tell once in a while, from whichever process */
};

/*
 * Asks; behind the `length` bytes of the key is a NUL.  MAP_FOUND with the value in `value`; otherwise `value` says why, in
 * clean text.  *unknown is set if there is no map of this name; the answer is MAP_COULD_NOT_TELL then.  Keys with control bytes
 * are not found before a map sees them.  For a policy where the store decides, a->destinations are there; answers_judge() is
 * next, with what it said.
 */
enum map_answer answers_ask(struct answers *a, const char *map, const char *key, size_t length, struct buf *value,
                            bool *unknown) MAP_MUST_LOOK;

/* The action of a policy by what the store said of the destinations: 250, 450 or 550 and its words. */
void answers_judge(struct answers *a, int code, const char *status, const char *words, struct buf *value);

/*
 * From now on maps are looked at by answers_refresh() alone, and what only they decide is remembered until one of them has
 * changed.  For fast maps (answers_are_slow()): what is answered elsewhere is not remembered here.
 */
void answers_remember(struct answers *a);

/* Has a map changed?  To be called when questions have come, once for all of them. */
void answers_refresh(struct answers *a);

/* No name that a client could say: the value is an action of Postfix's access(5). */
#define ANSWER_POLICY "a policy"

/* True if that question may keep a process waiting; behind answers_remember(). */
bool answers_are_slow(struct answers *a, const char *map);

/* Is there a map of this name? */
bool answers_knows(const struct answers *a, const char *map);

/* Gives up the router and all that is known by it; the caller sets another one, and `dbases`. */
void answers_forget(struct answers *a);

void answers_free(struct answers *a);

#endif
