/*
 * The inside of routing: one question on its way through the stages.  Only the files of route include this.
 *
 *   route.c    the question, its results, the stages of an address
 *   fqdn.c     fqdnaliases, fqdnaliasesldap, fqdnroutes
 *   local.c    local names
 *   use.c      what a value found means: references, routes
 *   expand.c   address lists and their loops
 */
#ifndef ZL_DB_ROUTE_WALK_H
#define ZL_DB_ROUTE_WALK_H

#include <stdbool.h>

#include "db/route/explain.h"
#include "db/route/route.h"
#include "db/route/substitute.h"

/* One question: its results and limits. */
struct walk {
	struct router *router;
	const struct route_query *query;
	struct pool *pool;         /* what is made for one member of a list ends with it */
	struct pool *kept;         /* results */
	size_t size;               /* bytes of them */
	struct explain *explain;
	struct route_result *results;
	size_t count;
	size_t capacity;
	size_t *index;             /* of results by their hash: number plus one, 0 for an empty place */
	size_t index_size;
	unsigned addresses;        /* looked at */
	const char *exceeded;      /* which limit ended it, NULL if none did */
};

/* What was expanded on the way to an address. */
struct path {
	const struct path *up;
	const char *address;       /* lower case, with its tail */
	enum route_relation relation;
};

/* One address on its way. */
struct visit {
	struct walk *walk;
	const char *local;         /* content of the local part, case kept */
	const char *written;       /* as it was written, NULL if it was filled in by a map */
	const char *carried;       /* tail that an expansion hands on; "" for none */
	const char *domain;        /* NULL for a local name */
	const char *home;          /* the domain that a local name belongs to */
	const char *origin;        /* the address as it came: the host of results on channel local */
	bool given;                /* the local part came with the address that was asked for, and is not what a map says */
	bool no_alias;
	bool canonical;            /* the domain is the canonical one already */
	uid_t privilege;
	const struct path *path;
	unsigned depth;
	/* made by visit_parts() */
	const char *whole;         /* local and the tail carried to it, case kept */
	const char *base;          /* without tail, case kept */
	const char *tail;          /* with its '+', "" for none */
};

/* What a lookup found.  The texts are in the working memory: lookups behind it, for the members of a list, leave them alone. */
struct found {
	const char *value;         /* as it stands in the map, references and all */
	const char *part;          /* for %0 */
	const struct relation_map *from;
};

/* ---- route.c ---- */

/* Routes one address through all stages. */
void visit_address(struct visit *v);

/* Fills in whole, base and tail. */
void visit_parts(struct visit *v);

/* Looks up a question; on MAP_FOUND fills in *found.  With MAP_COULD_NOT_TELL the address is held already. */
enum map_answer visit_lookup(const struct visit *v, enum route_relation relation, const struct question *question,
                             struct found *found) MAP_MUST_LOOK;

/*
 * Results; equal ones are merged.  walk_arrive() is for an address that no list leads on: where lists alone are asked for
 * (aliases_only) it is the result itself.  walk_hold() cleans `why`.
 */
void walk_send(const struct visit *v, const char *channel, const char *host, const char *user);
void walk_arrive(const struct visit *v, const char *channel, const char *host, const char *user);
void walk_hold(const struct visit *v, const char *why, const char *user);

/* A local part at the domain of the visit (of a local name: its home), in its proper form. */
const char *visit_text(const struct visit *v, const char *local);

/*
 * The keys of `local` and `domain` (NULL: of the name alone): the proper form, then as maps have it that were written
 * without quotes round "a..b" and ".a", where that differs.  Returns how many.
 */
#define SPELLINGS 2
size_t visit_spellings(const struct visit *v, const char *local, const char *domain, const char *keys[SPELLINGS]);

/* A line of explanation. */
void visit_note(const struct visit *v, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* A copy in small ASCII letters that lives as long as the walk. */
const char *visit_lower(const struct visit *v, const char *text);

/* ---- fqdn.c and local.c ---- */

/* The fqdn stage.  True if it produced something. */
bool visit_fqdn(const struct visit *v);

/* A local name: v->whole without its domain. */
void visit_local(const struct visit *v);

/* ---- use.c and expand.c ---- */

enum visit_use {
	USE_DONE,          /* the value produced results, if only a held one */
	USE_GO_ON,         /* as if the key were not there */
};

/* Which part of an address a key stands for: its arguments (routing.md section 3). */
enum argument_form {
	ARGUMENTS_WHOLE,       /* %1 is the user with its tail, %2 is empty */
	ARGUMENTS_BASE,        /* %1 is the user, %2 the tail */
	ARGUMENTS_LEAVING,     /* as ARGUMENTS_WHOLE, without a tail carried along */
};

/* The arguments of a value (routing.md section 3, with the differences of its section 10). */
struct arguments visit_arguments(const struct visit *v, const struct found *found, enum argument_form form);

/* No argument has bytes that mean something to a shell or in a path. */
bool arguments_are_harmless(const struct arguments *a);

/* Explains what will be put in for the references of `value`. */
void visit_explain(const struct visit *v, const char *value, const struct arguments *arguments);

/*
 * Holds the address because of a value of map `source` that cannot be used: what it was meant to say is not known.
 */
void visit_hold_value(const struct visit *v, const char *source, const char *value, const char *why);

/*
 * The value is an address list.  Its members get v->tail if `form` is ARGUMENTS_BASE and `carry` is set
 * and they do not take it by "%2".
 */
enum visit_use visit_expand(const struct visit *v, const struct found *found, enum route_relation relation,
                            enum argument_form form, bool carry);

/* The value is a route. */
enum visit_use visit_route(const struct visit *v, const struct found *found, enum argument_form form);

#endif
