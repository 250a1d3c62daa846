#include "db/route/walk.h"

#include <errno.h>
#include <pwd.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "db/grammar/address.h"
#include "db/grammar/idn.h"
#include "db/route/ownaddress.h"
#include "lib/alloc.h"
#include "lib/hash.h"
#include "lib/text.h"

#define SHOWN_MAX 300

/* Of results of one question; a sender may write to a long list with a long tail. */
#define MOST_BYTES ((size_t)64 << 20)

static const char *const relation_names[ROUTE_RELATIONS] = {
	[ROUTE_FQDNALIASES] = "fqdnaliases",
	[ROUTE_FQDNALIASESLDAP] = "fqdnaliasesldap",
	[ROUTE_FQDNROUTES] = "fqdnroutes",
	[ROUTE_ROUTESDB] = "routesdb",
	[ROUTE_THISHOST] = "thishost",
	[ROUTE_OTHERSERVERS] = "otherservers",
	[ROUTE_ALIASES] = "aliases",
	[ROUTE_EXPIRED] = "expired",
	[ROUTE_USERDB] = "userdb",
};

const char *route_relation_name(enum route_relation relation)
{
	return relation_names[relation];
}

/* ---- a router ---- */

/* getpwnam_r() with three answers; names that are absent may be told by an error number too (its manual page). */
static enum map_answer system_account(void *context, const char *name)
{
	struct passwd entry, *found = NULL;
	size_t size = 1024;
	char *bytes = NULL;
	int error;

	(void)context;
	do {
		bytes = xrealloc(bytes, size *= 2);
		error = getpwnam_r(name, &entry, bytes, size, &found);
	} while (error == ERANGE && size < 1024 * 1024);
	free(bytes);
	if (found != NULL)
		return MAP_FOUND;
	return error == 0 || error == ENOENT || error == ESRCH ? MAP_NOT_FOUND : MAP_COULD_NOT_TELL;
}

struct router *router_create(void)
{
	struct router *r = xcalloc(1, sizeof *r);
	char name[256];

	if (gethostname(name, sizeof name) < 0)
		snprintf(name, sizeof name, "localhost");
	name[sizeof name - 1] = '\0';
	ascii_lower_string(name);
	r->hostname = xstrdup(name);
	r->mydomain = xstrdup(name);
	r->account = system_account;
	r->use_routes = r->use_smtp = true;
	r->max_depth = ROUTE_DEPTH;
	r->max_addresses = 10000;
	r->now = -1;
	return r;
}

bool router_is_slow(const struct router *router)
{
	for (size_t i = 0; i < ROUTE_RELATIONS; i++)
		if (router->relations[i] != NULL && relation_is_slow(router->relations[i]))
			return true;
	return false;
}

void router_destroy(struct router **router)
{
	struct router *r = *router;

	if (r == NULL)
		return;
	for (size_t i = 0; i < ROUTE_RELATIONS; i++)
		relation_destroy(&r->relations[i]);
	hit_free(&r->hit);
	pool_free(&r->pool);
	pool_free(&r->kept);
	free(r->hostname);
	free(r->mydomain);
	free(r);
	*router = NULL;
}

/* ---- results ---- */

/* The place of a result in the index: its own, or the empty one where it belongs. */
static size_t *place_of(struct walk *w, const struct route_result *r)
{
	size_t i = hash_string(hash_string(hash_string(HASH_START, r->channel), r->host), r->user) & (w->index_size - 1);

	for (; w->index[i] != 0; i = (i + 1) & (w->index_size - 1)) {
		const struct route_result *other = &w->results[w->index[i] - 1];

		if (strcmp(other->user, r->user) == 0 && strcmp(other->host, r->host) == 0 &&
		    strcmp(other->channel, r->channel) == 0)
			break;
	}
	return &w->index[i];
}

static void add_result(const struct visit *v, const struct route_result *r)
{
	struct walk *w = v->walk;
	size_t *place;

	if (w->count == w->capacity) {
		struct route_result *results = pool_alloc(w->kept, (w->capacity ? w->capacity * 2 : 4) * sizeof *results);

		if (w->count > 0)
			memcpy(results, w->results, w->count * sizeof *results);
		w->results = results;
		w->capacity = w->capacity ? w->capacity * 2 : 4;
		w->index_size = w->capacity * 2;
		w->index = pool_alloc(w->kept, w->index_size * sizeof *w->index);
		for (size_t i = 0; i < w->count; i++)
			*place_of(w, &w->results[i]) = i + 1;
	}
	place = place_of(w, r);
	if (*place != 0) {
		w->results[*place - 1].no_mailbox &= r->no_mailbox;
		visit_note(v, "= %s %s %s, as before: one copy", r->channel, r->host, r->user);
		return;
	}
	w->results[w->count++] = *r;
	*place = w->count;
	visit_note(v, "= %s %s %s", r->channel, r->host, r->user);
}

/* A command or a file, as agents of channel local take a user. */
static bool is_special(const char *user)
{
	user += *user == '"';
	return *user == '|' || *user == '/';
}

void walk_send(const struct visit *v, const char *channel, const char *host, const char *user)
{
	struct walk *w = v->walk;
	size_t sizes[] = { strlen(channel), strlen(host), strlen(user) };
	struct route_result r = { .answer = MAP_FOUND, .privilege = v->privilege };

	if (strcmp(channel, "error") == 0)
		r.answer = MAP_NOT_FOUND;
	else if (strcmp(channel, "hold") == 0)
		r.answer = MAP_COULD_NOT_TELL;
	w->size += sizes[0] + sizes[1] + sizes[2];
	if (w->size > MOST_BYTES) {
		w->exceeded = "the results of this address take too much memory";
		return;
	}
	r.channel = pool_copy(w->kept, channel, sizes[0]);
	r.host = pool_copy(w->kept, host, sizes[1]);
	r.user = pool_copy(w->kept, user, sizes[2]);
	r.no_mailbox = v->given && strcmp(channel, "local") == 0 && is_special(user);
	add_result(v, &r);
}

void walk_arrive(const struct visit *v, const char *channel, const char *host, const char *user)
{
	if (v->walk->query->aliases_only)
		walk_send(v, "alias", "-", visit_text(v, v->whole));
	else
		walk_send(v, channel, host, user);
}

void walk_hold(const struct visit *v, const char *why, const char *user)
{
	struct buf text = { 0 };

	text_add_clean_string(&text, why, SHOWN_MAX);
	walk_send(v, "hold", buf_str(&text), user);
	buf_free(&text);
}

/* ---- help for the stages ---- */

const char *visit_lower(const struct visit *v, const char *text)
{
	char *lower = pool_copy(v->walk->pool, text, strlen(text));

	ascii_lower_string(lower);
	return lower;
}

const char *visit_text(const struct visit *v, const char *local)
{
	return address_text(v->walk->pool, local, NULL, v->domain != NULL ? v->domain : v->home);
}

size_t visit_spellings(const struct visit *v, const char *local, const char *domain, const char *keys[SPELLINGS])
{
	keys[0] = address_text(v->walk->pool, local, NULL, domain);
	if (!address_needs_quotes(local) || address_has_specials(local))
		return 1;
	keys[1] = domain != NULL ? pool_format(v->walk->pool, "%s@%s", local, domain) : local;
	return 2;
}

void visit_note(const struct visit *v, const char *format, ...)
{
	va_list ap;

	if (v->walk->explain == NULL)
		return;
	v->walk->explain->depth = v->depth;
	va_start(ap, format);
	explain_vline(v->walk->explain, format, ap);
	va_end(ap);
}

void visit_parts(struct visit *v)
{
	struct pool *pool = v->walk->pool;

	v->whole = v->base = v->local;
	v->tail = "";
	if (address_split_tail(pool, v->local, &v->base, &v->tail)) {
		if (v->carried[0] != '\0')
			visit_note(v, "%s has a tail of its own; %s is dropped", v->local, v->carried);
	} else if (v->carried[0] != '\0') {
		v->tail = v->carried;
		v->whole = pool_format(pool, "%s%s", v->local, v->tail);
	}
}

enum map_answer visit_lookup(const struct visit *v, enum route_relation relation, const struct question *question,
                             struct found *found)
{
	struct walk *w = v->walk;
	struct relation *r = w->router->relations[relation];
	struct hit *hit = &w->router->hit;
	enum map_answer answer;

	if (r == NULL || r->count == 0)
		return MAP_NOT_FOUND;
	if (w->explain != NULL) {
		w->explain->depth = v->depth;
		w->explain->relation = relation_names[relation];
	}
	answer = relation_find(r, question, hit, w->explain != NULL ? explain_lookup : NULL, w->explain);
	if (answer == MAP_FOUND && memchr(buf_str(&hit->value), '\0', hit->value.len) != NULL) {
		buf_clear(&hit->value);
		buf_adds(&hit->value, "the value holds a NUL byte");
		answer = MAP_COULD_NOT_TELL;
	}
	if (answer == MAP_COULD_NOT_TELL)
		walk_hold(v, pool_format(w->pool, "%s: %s", relation_names[relation], buf_str(&hit->value)),
		          visit_text(v, v->whole));
	if (answer == MAP_FOUND)
		*found = (struct found){
			.value = pool_copy(w->pool, buf_str(&hit->value), hit->value.len),
			.part = pool_copy(w->pool, buf_str(&hit->part), hit->part.len), .from = hit->from,
		};
	return answer;
}

/* ---- the stages of an address ---- */

enum locality {
	LOCALITY_LOCAL,
	LOCALITY_ELSEWHERE,
	LOCALITY_RENAMED,      /* *canonical is its canonical name */
	LOCALITY_HELD,
};

/* Is it an address of this machine? */
static enum locality literal_locality(const struct visit *v, const char *domain)
{
	switch (own_address(domain)) {
	case MAP_FOUND:
		return LOCALITY_LOCAL;
	case MAP_NOT_FOUND:
		return LOCALITY_ELSEWHERE;
	case MAP_COULD_NOT_TELL:
		break;
	}
	walk_hold(v, "the addresses of this machine cannot be read", visit_text(v, v->whole));
	return LOCALITY_HELD;
}

/* Does this domain belong to us (routing.md section 6.1)? */
static enum locality locality(const struct visit *v, const char **canonical)
{
	const char *domain = visit_lower(v, v->domain);
	struct question q = { .key = domain };
	struct found found, ignored;
	enum map_answer listed = visit_lookup(v, ROUTE_THISHOST, &q, &found);

	if (listed == MAP_FOUND) {
		*canonical = found.value;
		switch (visit_lookup(v, ROUTE_OTHERSERVERS, &q, &ignored)) {
		case MAP_FOUND:
			visit_note(v, "%s belongs to another server", domain);
			listed = MAP_NOT_FOUND;
			break;
		case MAP_NOT_FOUND:
			break;
		case MAP_COULD_NOT_TELL:
			return LOCALITY_HELD;
		}
	}
	switch (listed) {
	case MAP_FOUND:
		if (**canonical != '\0' && !ascii_equal(*canonical, domain) && !v->canonical)
			return LOCALITY_RENAMED;
		return LOCALITY_LOCAL;
	case MAP_NOT_FOUND:
		return idn_equal(domain, v->walk->router->hostname) ? LOCALITY_LOCAL : literal_locality(v, domain);
	case MAP_COULD_NOT_TELL:
		break;
	}
	return LOCALITY_HELD;
}

/* The domain is ours: what is left is a local name, or an address written inside the local part. */
static void strip_domain(const struct visit *v)
{
	struct visit next = *v;
	struct address inner;
	const char *why;

	next.home = v->domain;
	next.domain = NULL;
	visit_note(v, "%s is local", v->domain);
	if (v->written != NULL && v->carried[0] == '\0' && strpbrk(v->written, "%!@") != NULL &&
	    address_parse(v->walk->pool, v->written, strlen(v->written), ADDRESS_PLAIN, &inner, &why) &&
	    inner.domain != NULL) {
		next.local = inner.local;
		next.written = inner.written;
		next.domain = inner.domain;
		next.depth++;
		visit_address(&next);
		return;
	}
	visit_local(&next);
}

/* Asks routesdb for the domain (routing.md sections 2, 4 and 8).  True if that produced something. */
static bool try_routes(const struct visit *v)
{
	bool sender = v->walk->query->type == ROUTE_SENDER;
	const char *domain = visit_lower(v, v->domain);
	const char *of_errors[] = { ".:ERROR" };
	const char *usual[] = { sender ? ".:sender" : ".:recipient", "." };
	struct question questions[] = {
		{ .key = domain, .defaults = of_errors, .default_count = 1 },
		{ .key = domain, .defaults = usual, .default_count = 2 },
	};

	if (sender)
		domain = pool_format(v->walk->pool, "%s:sender", domain);
	for (size_t i = v->walk->query->error_message ? 0 : 1; i < 2; i++) {
		struct found found;

		questions[i].key = domain;
		switch (visit_lookup(v, ROUTE_ROUTESDB, &questions[i], &found)) {
		case MAP_FOUND:
			if (visit_route(v, &found, ARGUMENTS_LEAVING) == USE_DONE)
				return true;
			break;
		case MAP_NOT_FOUND:
			break;
		case MAP_COULD_NOT_TELL:
			return true;
		}
	}
	return false;
}

/* A member with a tail that was handed on, which makes it the address whose list it is in. */
static bool names_itself(const struct visit *v)
{
	return v->path != NULL && strcmp(v->path->address, visit_lower(v, visit_text(v, v->whole))) == 0;
}

static void visit_domain(struct visit *v)
{
	const char *canonical = "";
	struct visit next;
	const struct router *router;

	if (visit_fqdn(v))
		return;
	switch (locality(v, &canonical)) {
	case LOCALITY_HELD:
		return;
	case LOCALITY_LOCAL:
		strip_domain(v);
		return;
	case LOCALITY_ELSEWHERE:
		/* the domain is not ours: protocols in their order */
		router = v->walk->router;
		if (v->walk->query->aliases_only)
			walk_send(v, "alias", "-", visit_text(v, names_itself(v) ? v->whole : v->local));
		else if (!router->use_routes || !try_routes(v)) {
			if (v->carried[0] != '\0')
				visit_note(v, "the address is not ours: the tail %s stays behind", v->carried);
			if (router->use_smtp)
				walk_send(v, "smtp", v->domain, visit_text(v, v->local));
			else
				walk_send(v, "error", "unresolvable", visit_text(v, v->local));
		}
		return;
	case LOCALITY_RENAMED:
		visit_note(v, "the canonical name of %s is %s", v->domain, canonical);
		if (!address_domain_ok(canonical, strlen(canonical))) {
			walk_hold(v, pool_format(v->walk->pool, "thishost: the canonical name of %s is no domain", v->domain),
			          visit_text(v, v->whole));
			return;
		}
		next = *v;
		next.domain = canonical;
		next.canonical = true;
		visit_address(&next);
	}
}

void visit_address(struct visit *v)
{
	struct walk *w = v->walk;

	if (w->exceeded != NULL)
		return;
	if (v->depth > w->router->max_depth) {
		w->exceeded = pool_format(w->kept, "more than %u lists one inside the other", w->router->max_depth);
		return;
	}
	if (++w->addresses > w->router->max_addresses) {
		w->exceeded = pool_format(w->kept, "more than %u addresses come of one", w->router->max_addresses);
		return;
	}
	visit_note(v, "%s", address_text(w->pool, v->local, v->carried, v->domain));
	visit_parts(v);
	if (v->domain != NULL)
		visit_domain(v);
	else
		visit_local(v);
}

/* ---- the question ---- */

/* A limit was reached: what came out so far is not the whole truth, so nothing of it counts. */
static void hold_all(struct visit *v)
{
	struct walk *w = v->walk;
	const char *why = w->exceeded;

	w->count = w->capacity = w->size = 0;
	w->exceeded = NULL;
	w->router->nesting = why;
	v->depth = 0;
	walk_hold(v, why, visit_text(v, v->local));
}

enum map_answer route(struct router *router, const struct route_query *query, const struct route_result **results,
                      size_t *count)
{
	struct walk w = { .router = router, .query = query, .pool = &router->pool, .kept = &router->kept,
	                  .explain = query->explain };
	struct visit v = { .walk = &w, .carried = "", .home = router->mydomain, .privilege = query->privilege };
	enum map_answer answer = MAP_FOUND;
	struct address address;
	const char *why;

	pool_reset(&router->pool);
	pool_reset(&router->kept);
	router->nesting = NULL;
	router->listed = false;
	if (!address_parse(w.pool, query->address, query->length, ADDRESS_PLAIN, &address, &why)) {
		struct buf shown = { 0 };

		text_add_clean(&shown, query->address, query->length, SHOWN_MAX);
		visit_note(&v, "%s", why);
		walk_send(&v, "error", "badaddress", shown.len > 0 ? shown.data : "<>");
		buf_free(&shown);
	} else {
		v.local = address.local;
		v.written = address.written;
		v.domain = address.domain;
		v.no_alias = address.no_alias;
		v.given = true;
		v.origin = address_text(w.pool, v.local, NULL, v.domain);
		visit_address(&v);
	}
	if (w.exceeded != NULL)
		hold_all(&v);
	for (size_t i = 0; i < w.count; i++) {
		/* from found to not found to could not tell answers are worse */
		if (w.results[i].answer > answer)
			answer = w.results[i].answer;
	}
	*results = w.results;
	*count = w.count;
	return answer;
}

enum map_answer route_recipient(struct router *router, const char *address, uid_t privilege,
                                const struct route_result **results, size_t *count)
{
	const struct route_query query = { .address = address, .length = strlen(address), .privilege = privilege };

	return route(router, &query, results, count);
}
