#include "db/serve/answer.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <time.h>

#include "db/grammar/address.h"
#include "db/route/substitute.h"
#include "lib/alloc.h"
#include "lib/clock.h"
#include "lib/log.h"
#include "lib/parse.h"
#include "lib/text.h"

#define WHY_MAX 300

/* No address has this user, so that what becomes of it tells about the domain. */
#define NOBODY_HERE "zlmtp-asks-for-the-domain"

/* A line of the log says that `map` could not tell, unless there was one just now. */
static void tell(struct answers *a, const char *map, const char *why)
{
	if (restraint_take(a->tells))
		complain("%s: could not tell: %s", map, why);
}

/* What keeps mail waiting is for the administrator, too, not for the client alone. */
static void tell_trouble(struct answers *a, const char *map, const struct buf *why)
{
	/* the map is opened again, and may be another one then */
	if (a->memory != NULL)
		cache_clear(a->memory);
	tell(a, map, buf_str(why));
}

/* ---- what was answered before ---- */

/* About 50 MB; longer ones are not worth it. */
#define REMEMBERED 131072
#define REMEMBERED_BYTES 255

/* A file that was written just now may be written again without a later time. */
#define SETTLED_NS 100000000

/* An account of this system: what becomes of that, no map tells. */
static enum map_answer other_account(void *context, const char *name)
{
	struct answers *a = context;

	a->by_maps_alone = false;
	return a->account(a->account_context, name);
}

void answers_remember(struct answers *a)
{
	for (size_t i = 0; i < ROUTE_RELATIONS; i++)
		for (size_t j = 0; a->router->relations[i] != NULL && j < a->router->relations[i]->count; j++)
			a->router->relations[i]->maps[j].options.refresh = false;
	a->looks_each_time = false;
	a->account = a->router->account;
	a->account_context = a->router->account_context;
	a->router->account = other_account;
	a->router->account_context = a;
	a->is_slow = router_is_slow(a->router);
	if (!a->is_slow)
		a->memory = cache_create(REMEMBERED);
}

struct look {
	int64_t latest;      /* when a map was written or put there, at most */
	size_t open;
	bool changed;
};

static void look_at(struct relation *r, bool refresh, struct look *look)
{
	for (size_t i = 0; r != NULL && i < r->count; i++) {
		struct map *map = r->maps[i].map;

		if (refresh && map_refresh(map)) {
			look->changed = true;
			if (r->maps[i].cache != NULL)
				cache_clear(r->maps[i].cache);
		}
		look->open += map->is_open;
		if (map->provenance.changed > look->latest)
			look->latest = map->provenance.changed;
	}
}

static struct look look_at_maps(struct answers *a, bool refresh)
{
	struct look look = { 0 };

	for (size_t i = 0; i < ROUTE_RELATIONS; i++)
		look_at(a->router->relations[i], refresh, &look);
	for (size_t i = 0; refresh && i < a->other_count; i++)
		look_at(a->others[i], true, &look);
	return look;
}

void answers_refresh(struct answers *a)
{
	struct look look;
	struct timespec now;

	if (a->looks_each_time)
		return;
	look = look_at_maps(a, true);
	clock_gettime(CLOCK_REALTIME, &now);
	if (look.changed && a->memory != NULL)
		cache_clear(a->memory);
	a->is_settled = look.latest + SETTLED_NS < (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
	a->open_maps = look_at_maps(a, false).open;
}

static void make_memory_key(struct answers *a, const char *map, const char *key, size_t length)
{
	buf_clear(&a->remembered);
	buf_add(&a->remembered, map, strlen(map) + 1);
	buf_add(&a->remembered, key, length);
}

static bool recall(struct answers *a, const char *map, const char *key, size_t length, enum map_answer *answer,
                   struct buf *value)
{
	static struct buf none;
	bool found;

	if (a->memory == NULL || length > REMEMBERED_BYTES)
		return false;
	make_memory_key(a, map, key, length);
	if (!cache_find(a->memory, &a->remembered, 0, &found, value, &none))
		return false;
	*answer = found ? MAP_FOUND : MAP_NOT_FOUND;
	a->by_maps_alone = true;
	return true;
}

/* The answer in hand, if it will be the same as long as no map changes. */
static void remember(struct answers *a, const char *map, const char *key, size_t length, enum map_answer answer,
                     const struct buf *value)
{
	static const struct buf none;

	if (a->memory == NULL || answer == MAP_COULD_NOT_TELL || !a->by_maps_alone || !a->is_settled ||
	    length > REMEMBERED_BYTES || value->len > REMEMBERED_BYTES || look_at_maps(a, false).open != a->open_maps)
		return;
	make_memory_key(a, map, key, length);
	cache_add(a->memory, &a->remembered, answer == MAP_FOUND ? value : NULL, &none, CLOCK_NEVER);
}

/* ---- relations ---- */

static struct relation *find_relation(const struct answers *a, const char *name)
{
	for (size_t i = 0; i < ROUTE_RELATIONS; i++)
		if (a->router->relations[i] != NULL && strcmp(a->router->relations[i]->name, name) == 0)
			return a->router->relations[i];
	for (size_t i = 0; i < a->other_count; i++)
		if (strcmp(a->others[i]->name, name) == 0)
			return a->others[i];
	return NULL;
}

/* Opens a relation that the router has no use for; NULL with `why`. */
static struct relation *open_relation(struct answers *a, const char *name, struct buf *why)
{
	int status;
	struct relation *r = dbases_relation(a->dbases, name, &status, why);

	if (r == NULL)
		return NULL;
	for (size_t i = 0; i < r->count; i++)
		r->maps[i].options.refresh = a->looks_each_time;
	a->others = xgrow(a->others, a->other_count, &a->other_capacity, sizeof(struct relation *));
	a->others[a->other_count++] = r;
	return r;
}

static enum map_answer ask_relation(struct answers *a, const char *name, const char *key, struct buf *value)
{
	struct relation *r = find_relation(a, name);
	struct question q = { .key = key };
	struct arguments arguments = { { 0 } };
	enum map_answer answer;

	if (r == NULL && (r = open_relation(a, name, value)) == NULL)
		return MAP_COULD_NOT_TELL;
	answer = relation_find(r, &q, &a->hit, NULL, NULL);
	switch (answer) {
	case MAP_FOUND:
		arguments.text[0] = buf_str(&a->hit.part);
		if (a->hit.from->options.substitute && substitute_needed(buf_str(&a->hit.value)))
			substitute(value, buf_str(&a->hit.value), &arguments);
		else
			buf_add(value, buf_str(&a->hit.value), a->hit.value.len);
		break;
	case MAP_NOT_FOUND:
		break;
	case MAP_COULD_NOT_TELL:
		text_add_clean(value, buf_str(&a->hit.value), a->hit.value.len, WHY_MAX);
		break;
	}
	return answer;
}

/* ---- routing ---- */

/*
 * Routes; the answer is the worst of all results that matter: unclear, then found, then not found.  An address that names a
 * file or a command is not found.
 */
static enum map_answer route_address(struct answers *a, const char *address, size_t length, bool aliases_only,
                                     const struct route_result **results, size_t *count, struct buf *why)
{
	struct route_query query = { .address = address, .length = length, .aliases_only = aliases_only };
	enum map_answer answer = MAP_NOT_FOUND;
	bool no_mailbox = false;

	(void)!route(a->router, &query, results, count);
	for (size_t i = 0; i < *count; i++) {
		const struct route_result *r = &(*results)[i];

		if (r->answer == MAP_COULD_NOT_TELL) {
			text_add_clean_string(why, r->host, WHY_MAX);
			buf_adds(why, ": ");
			text_add_clean_string(why, r->user, WHY_MAX);
			return MAP_COULD_NOT_TELL;
		}
		if (r->answer == MAP_FOUND)
			answer = MAP_FOUND;
		no_mailbox |= r->no_mailbox;
	}
	return no_mailbox ? MAP_NOT_FOUND : answer;
}

static enum map_answer ask_recipient(struct answers *a, const char *key, size_t length, struct buf *value)
{
	const struct route_result *results;
	size_t count;
	enum map_answer answer = route_address(a, key, length, false, &results, &count, value);

	if (answer == MAP_FOUND)
		buf_adds(value, "OK");
	return answer;
}

/* In the one form that results have; false for what is no address. */
static bool take_apart(struct answers *a, const char *text, size_t length, struct address *address)
{
	const char *why;

	pool_reset(&a->pool);
	return address_parse(&a->pool, text, length, ADDRESS_PLAIN, address, &why);
}

/*
 * An address that leads to itself alone is no alias, nor is its other spelling.  Commands and files are for this machine's own
 * delivery, and no address: a list with one beside addresses cannot be told as a whole, and must not lose it.
 */
static enum map_answer ask_alias(struct answers *a, const char *key, size_t length, struct buf *value)
{
	const struct route_result *results;
	size_t count;
	enum map_answer answer = route_address(a, key, length, true, &results, &count, value);
	struct address address;
	size_t specials = 0;

	if (answer != MAP_FOUND)
		return answer;
	if (!a->router->listed)
		return MAP_NOT_FOUND;
	if (count == 1 && take_apart(a, key, length, &address) &&
	    strcasecmp(results[0].user, address_text(&a->pool, address.local, NULL, address.domain)) == 0)
		return MAP_NOT_FOUND;
	for (size_t i = 0; i < count; i++) {
		if (strcmp(results[i].channel, "alias") != 0) {
			specials++;
			continue;
		}
		if (value->len > 0)
			buf_addc(value, ',');
		buf_adds(value, results[i].user);
	}
	if (specials > 0 && value->len > 0) {
		buf_clear(value);
		buf_adds(value, "in the list of ");
		text_add_clean(value, key, length, WHY_MAX);
		buf_adds(value, " is a command or a file, which is for delivery on this machine alone");
		return MAP_COULD_NOT_TELL;
	}
	return value->len > 0 ? MAP_FOUND : MAP_NOT_FOUND;
}

/*
 * Users of a domain that is ours are found or not, or led elsewhere by a list; those of another one go out by smtp, or cannot.
 */
static enum map_answer ask_domain(struct answers *a, const char *key, size_t n, struct buf *value)
{
	const size_t length = n > 1 && key[n - 1] == '.' ? n - 1 : n;
	char *address = xasprintf("%s@%.*s", NOBODY_HERE, (int)length, key);
	struct route_query query = { .address = address, .length = strlen(address) };
	const struct route_result *results;
	size_t count;
	enum map_answer answer = MAP_NOT_FOUND;

	if (address_domain_ok(key, length))
		(void)!route(a->router, &query, &results, &count);
	else
		count = 0;
	for (size_t i = 0; i < count && answer != MAP_COULD_NOT_TELL; i++) {
		if (results[i].answer == MAP_COULD_NOT_TELL) {
			text_add_clean_string(value, results[i].host, WHY_MAX);
			answer = MAP_COULD_NOT_TELL;
		} else if (strcmp(results[i].channel, "smtp") != 0 && strcmp(results[i].host, "unresolvable") != 0) {
			answer = MAP_FOUND;
		}
	}
	if (answer == MAP_NOT_FOUND && a->router->listed)
		answer = ask_alias(a, address, query.length, value);
	if (answer == MAP_FOUND) {
		buf_clear(value);
		buf_adds(value, "OK");
	}
	free(address);
	return answer;
}

static enum map_answer ask_transport(struct answers *a, const char *key, size_t length, struct buf *value)
{
	const struct route_result *results;
	size_t count;
	enum map_answer answer;
	char *address = address_at(key, length) != NULL ? xstrndup(key, length) : xasprintf("%s@%s", NOBODY_HERE, key);

	answer = route_address(a, address, strlen(address), false, &results, &count, value);
	free(address);
	if (answer != MAP_FOUND)
		return answer;
	for (size_t i = 0; i < count; i++)
		if (results[i].answer == MAP_FOUND)
			return a->transports != NULL ? transports_find(a->transports, results[i].channel, results[i].host,
			                                               value) :
			                               MAP_NOT_FOUND;
	return MAP_NOT_FOUND;
}

/* ---- policy ---- */

void answers_judge(struct answers *a, int code, const char *status, const char *words, struct buf *value)
{
	if (code == 250)
		buf_adds(value, "DUNNO");
	else if (code == 550)
		buf_addf(value, "REJECT %s %s", status, *words != '\0' ? words : "no such recipient");
	else
		buf_adds(value, "DEFER_IF_PERMIT 4.3.0 temporary lookup failure: cannot tell whether this recipient exists");
	if (code != 250 && code != 550)
		tell(a, "policy", words);
}

static enum map_answer ask_own(struct answers *a, const char *map, const char *key, size_t length, struct buf *value);

/* Notes the places of a recipient, for the store to be asked. */
static enum map_answer note_destinations(struct answers *a, const char *recipient, size_t length, struct buf *words)
{
	const struct route_result *results;
	size_t count;
	enum map_answer answer = route_address(a, recipient, length, false, &results, &count, words);

	for (size_t i = 0; answer == MAP_FOUND && i < count; i++) {
		if (results[i].answer != MAP_FOUND)
			continue;
		buf_add(&a->destinations, results[i].channel, strlen(results[i].channel) + 1);
		buf_add(&a->destinations, results[i].host, strlen(results[i].host) + 1);
		buf_add(&a->destinations, results[i].user, strlen(results[i].user) + 1);
	}
	return answer;
}

/* What is to be done with a recipient of a domain that is ours; of all others others judge. */
static enum map_answer ask_policy(struct answers *a, const char *recipient, size_t length, struct buf *value)
{
	const char *at, *of;
	struct address address;
	struct buf words = { 0 };
	enum map_answer domain = MAP_FOUND, answer;
	bool is_address, is_postmaster, by_maps_alone;

	/* where the store decides, its answer is none of the maps' */
	if (!a->verifies && recall(a, ANSWER_POLICY, recipient, length, &answer, value))
		return answer;
	is_address = take_apart(a, recipient, length, &address);
	at = is_address ? NULL : address_at(recipient, length);
	of = is_address ? address.domain : at != NULL ? at + 1 : NULL;
	if (of != NULL)
		domain = ask_own(a, "domain", of, strlen(of), &words);
	by_maps_alone = of == NULL || a->by_maps_alone;
	answer = domain;
	if (domain == MAP_FOUND) {
		buf_clear(&words);
		a->by_maps_alone = true;
		answer = text_has_controls(recipient, length) ? MAP_NOT_FOUND : ask_own(a, "recipient", recipient, length,
		                                                                        &words);
	}
	a->by_maps_alone = a->by_maps_alone && by_maps_alone;
	if (domain == MAP_FOUND && answer == MAP_FOUND && a->verifies) {
		buf_clear(&words);
		answer = note_destinations(a, recipient, length, &words);
	}
	/* whose mail must be taken (RFC 5321 section 4.5.1), by whoever the maps do not know */
	is_postmaster = is_address && of == NULL && strcasecmp(address.local, "postmaster") == 0;
	if (answer == MAP_COULD_NOT_TELL) {
		tell_trouble(a, "policy", &words);
		buf_adds(value, "DEFER_IF_PERMIT 4.3.0 temporary lookup failure: cannot tell whether this recipient exists");
	} else if (domain == MAP_FOUND && answer == MAP_NOT_FOUND && !is_postmaster) {
		buf_adds(value, "REJECT 5.1.1 no such recipient");
	} else {
		buf_adds(value, "DUNNO");
	}
	if (!a->verifies && answer != MAP_COULD_NOT_TELL)
		remember(a, ANSWER_POLICY, recipient, length, MAP_FOUND, value);
	buf_free(&words);
	return MAP_FOUND;
}

/* ---- all of them ---- */

/* The maps that are none of dbases.conf. */
static const struct own_map {
	const char *name;
	enum map_answer (*ask)(struct answers *a, const char *key, size_t length, struct buf *value);
	bool is_remembered;     /* the table for transports is looked at on its own, and a policy remembers for itself */
} own_maps[] = {
	{ "recipient", ask_recipient, true }, { "alias", ask_alias, true }, { "domain", ask_domain, true },
	{ "transport", ask_transport, false }, { ANSWER_POLICY, ask_policy, false },
};

static enum map_answer ask_own(struct answers *a, const char *map, const char *key, size_t length, struct buf *value)
{
	const struct own_map *own = PARSE_ROW(own_maps, map);
	enum map_answer answer;

	if (!own->is_remembered)
		return own->ask(a, key, length, value);
	if (recall(a, map, key, length, &answer, value))
		return answer;
	a->by_maps_alone = true;
	answer = own->ask(a, key, length, value);
	remember(a, map, key, length, answer, value);
	return answer;
}

bool answers_are_slow(struct answers *a, const char *map)
{
	struct buf why = { 0 };
	struct relation *r;

	if (PARSE_ROW(own_maps, map) != NULL)
		return a->is_slow;
	r = find_relation(a, map);
	if (r == NULL && dbases_has(a->dbases, map))
		r = open_relation(a, map, &why);
	buf_free(&why);
	return r != NULL && relation_is_slow(r);
}

bool answers_knows(const struct answers *a, const char *map)
{
	return PARSE_ROW(own_maps, map) != NULL || dbases_has(a->dbases, map);
}

enum map_answer answers_ask(struct answers *a, const char *map, const char *key, size_t length, struct buf *value,
                            bool *unknown)
{
	enum map_answer answer;

	buf_clear(&a->destinations);
	*unknown = !answers_knows(a, map);
	if (*unknown) {
		buf_adds(value, "there is no map ");
		text_add_clean_string(value, map, 100);
		return MAP_COULD_NOT_TELL;
	}
	if (strcmp(map, ANSWER_POLICY) != 0 && (length == 0 || text_has_controls(key, length)))
		return MAP_NOT_FOUND;
	/* no NUL is in it, but for a policy, where it ends there */
	if (PARSE_ROW(own_maps, map) != NULL)
		answer = ask_own(a, map, key, length, value);
	else
		answer = ask_relation(a, map, key, value);
	if (answer == MAP_COULD_NOT_TELL)
		tell_trouble(a, map, value);
	return answer;
}

void answers_forget(struct answers *a)
{
	for (size_t i = 0; i < a->other_count; i++)
		relation_destroy(&a->others[i]);
	a->other_count = 0;
	if (a->memory != NULL)
		cache_destroy(&a->memory);
	router_destroy(&a->router);
}

void answers_free(struct answers *a)
{
	answers_forget(a);
	free(a->others);
	hit_free(&a->hit);
	buf_free(&a->remembered);
	buf_free(&a->destinations);
	pool_free(&a->pool);
	restraint_free(&a->tells);
	transports_close(&a->transports);
}
