#include <string.h>

#include "db/grammar/address.h"
#include "db/route/walk.h"

/* Which key of an address a step asks for. */
enum step_key {
	KEY_WHOLE,         /* user+tail@domain */
	KEY_BASE,          /* user@domain, if there is a tail */
	KEY_DOMAIN,        /* @domain */
	KEY_DEFAULT,       /* the default keys of fqdnroutes */
};

static const char *const key_names[] = {
	[KEY_WHOLE] = "the address", [KEY_BASE] = "the address without its tail", [KEY_DOMAIN] = "the domain",
	[KEY_DEFAULT] = "the default keys",
};

/* The order of routing.md section 1.1; default keys come last (its section 10 no. 5). */
static const struct step {
	enum route_relation relation;
	enum step_key key;
} steps[] = {
	{ ROUTE_FQDNALIASES, KEY_WHOLE },
	{ ROUTE_FQDNALIASESLDAP, KEY_WHOLE },
	{ ROUTE_FQDNROUTES, KEY_WHOLE },
	{ ROUTE_FQDNALIASES, KEY_BASE },
	{ ROUTE_FQDNALIASESLDAP, KEY_BASE },
	{ ROUTE_FQDNROUTES, KEY_BASE },
	{ ROUTE_FQDNALIASES, KEY_DOMAIN },
	{ ROUTE_FQDNALIASESLDAP, KEY_DOMAIN },
	{ ROUTE_FQDNROUTES, KEY_DOMAIN },
	{ ROUTE_FQDNROUTES, KEY_DEFAULT },
};

/* Default keys of a question for a recipient; those of error messages are a question of their own before. */
static const char *const default_keys[] = { ".:recipient", "." };
static const char *const error_keys[] = { ".:ERROR" };

/* Looks up one key and uses what is found.  True if that produced something. */
static bool try_question(const struct visit *v, const struct step *step, const struct question *q)
{
	enum argument_form form = step->key == KEY_BASE ? ARGUMENTS_BASE : ARGUMENTS_WHOLE;
	struct found found;

	switch (visit_lookup(v, step->relation, q, &found)) {
	case MAP_FOUND:
		if (step->relation == ROUTE_FQDNROUTES)
			return visit_route(v, &found, form) == USE_DONE;
		return visit_expand(v, &found, step->relation, form, true) == USE_DONE;
	case MAP_NOT_FOUND:
		return false;
	case MAP_COULD_NOT_TELL:
		break;
	}
	return true;
}

static bool try_key(const struct visit *v, const struct step *step, const char *key)
{
	struct question q = { .key = key, .defaults = default_keys, .default_count = 2, .keys = QUESTION_KEY };

	return try_question(v, step, &q);
}

/* The keys of an address, in lower case. */
struct keys {
	const char *whole[SPELLINGS];
	size_t whole_count;
	const char *as_written;    /* if that differs from those by its quotes, else NULL */
	const char *base[SPELLINGS];
	size_t base_count;         /* 0 without a tail */
	const char *domain;
};

static size_t lower_spellings(const struct visit *v, const char *local, const char *keys[SPELLINGS])
{
	size_t n = visit_spellings(v, local, v->domain, keys);

	for (size_t i = 0; i < n; i++)
		keys[i] = visit_lower(v, keys[i]);
	return n;
}

static struct keys keys_of(const struct visit *v)
{
	struct keys k = { 0 };

	k.whole_count = lower_spellings(v, v->whole, k.whole);
	if (v->written != NULL && v->carried[0] == '\0') {
		k.as_written = visit_lower(v, pool_format(v->walk->pool, "%s@%s", v->written, v->domain));
		for (size_t i = 0; i < k.whole_count && k.as_written != NULL; i++)
			if (strcmp(k.as_written, k.whole[i]) == 0)
				k.as_written = NULL;
	}
	if (v->tail[0] != '\0')
		k.base_count = lower_spellings(v, v->base, k.base);
	k.domain = visit_lower(v, pool_format(v->walk->pool, "@%s", v->domain));
	return k;
}

static bool try_keys(const struct visit *v, const struct step *step, const char *const *keys, size_t count)
{
	for (size_t i = 0; i < count; i++)
		if (try_key(v, step, keys[i]))
			return true;
	return false;
}

static bool try_step(const struct visit *v, const struct step *step, const struct keys *k)
{
	struct question q = { .key = k->whole[0], .defaults = error_keys, .default_count = 1, .keys = QUESTION_DEFAULTS };

	switch (step->key) {
	case KEY_WHOLE:
		if (k->as_written != NULL && try_key(v, step, k->as_written))
			return true;
		return try_keys(v, step, k->whole, k->whole_count);
	case KEY_BASE:
		return try_keys(v, step, k->base, k->base_count);
	case KEY_DOMAIN:
		return try_key(v, step, k->domain);
	case KEY_DEFAULT:
		break;
	}
	if (v->walk->query->error_message && try_question(v, step, &q))
		return true;
	q.defaults = default_keys;
	q.default_count = 2;
	return try_question(v, step, &q);
}

bool visit_fqdn(const struct visit *v)
{
	enum step_key last = KEY_WHOLE;
	struct keys k;

	if (v->walk->query->type == ROUTE_SENDER) {
		const char *users[SPELLINGS];
		size_t count = lower_spellings(v, v->base, users);

		/* a sender has one relation only (routing.md section 8) */
		for (size_t i = 0; i < count; i++) {
			struct question q = { .key = pool_format(v->walk->pool, "%s:mailname", users[i]) };
			struct found found;

			switch (visit_lookup(v, ROUTE_USERDB, &q, &found)) {
			case MAP_FOUND:
				return visit_expand(v, &found, ROUTE_USERDB, ARGUMENTS_BASE, false) == USE_DONE;
			case MAP_NOT_FOUND:
				break;
			case MAP_COULD_NOT_TELL:
				return true;
			}
		}
		return false;
	}
	k = keys_of(v);
	for (size_t i = 0; i < sizeof steps / sizeof steps[0]; i++) {
		const struct step *step = &steps[i];
		const struct relation *r = v->walk->router->relations[step->relation];

		if (r == NULL || r->count == 0 || (v->no_alias && step->relation != ROUTE_FQDNROUTES) ||
		    (step->key == KEY_BASE && k.base_count == 0))
			continue;
		if (step->key != last)
			visit_note(v, "no entry that can be used for %s; next: %s", key_names[last], key_names[step->key]);
		last = step->key;
		if (try_step(v, step, &k))
			return true;
	}
	return false;
}
