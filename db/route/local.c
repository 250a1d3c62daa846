#include <string.h>

#include "db/grammar/address.h"
#include "db/route/walk.h"

/* The user of a result on channel local: with the domain where that is wanted. */
static void deliver(const struct visit *v, const char *name, bool with_domain)
{
	walk_arrive(v, "local", v->origin, address_text(v->walk->pool, name, NULL, with_domain ? v->home : NULL));
}

/* Each of these asks for one name; true if that produced something. */
static bool try_alias(const struct visit *v, const char *name, enum argument_form form, bool carry)
{
	const char *names[SPELLINGS];
	size_t count = visit_spellings(v, name, NULL, names);

	for (size_t i = 0; i < count; i++) {
		struct question q = { .key = names[i] };
		struct found found;

		switch (visit_lookup(v, ROUTE_ALIASES, &q, &found)) {
		case MAP_FOUND:
			return visit_expand(v, &found, ROUTE_ALIASES, form, carry) == USE_DONE;
		case MAP_NOT_FOUND:
			break;
		case MAP_COULD_NOT_TELL:
			return true;
		}
	}
	return false;
}

static bool try_expired(const struct visit *v, const char *name)
{
	struct question q = { .key = name };
	struct found found;

	switch (visit_lookup(v, ROUTE_EXPIRED, &q, &found)) {
	case MAP_FOUND:
		walk_arrive(v, "error", "acctexpired", address_text(v->walk->pool, name, NULL, v->home));
		return true;
	case MAP_NOT_FOUND:
		return false;
	case MAP_COULD_NOT_TELL:
		break;
	}
	return true;
}

/* Asks for the account as it is written, then in lower case; `user` is what it gets delivered. */
static bool try_account(const struct visit *v, const char *name, const char *user)
{
	const struct router *r = v->walk->router;
	const char *lower = visit_lower(v, name);
	enum map_answer answer = r->account(r->account_context, name);

	if (answer == MAP_NOT_FOUND && strcmp(lower, name) != 0)
		answer = r->account(r->account_context, lower);
	switch (answer) {
	case MAP_FOUND:
		visit_note(v, "account %s: found", name);
		deliver(v, user, r->localdoesdomain);
		return true;
	case MAP_NOT_FOUND:
		visit_note(v, "account %s: not found", name);
		return false;
	case MAP_COULD_NOT_TELL:
		break;
	}
	visit_note(v, "account %s: could not tell", name);
	walk_hold(v, pool_format(v->walk->pool, "the account %s could not be looked up", name), visit_text(v, v->whole));
	return true;
}

/* "name+tail" when nothing is called that: "name+", then "name". */
static bool try_without_tail(const struct visit *v, const char *user)
{
	const char *plus = pool_format(v->walk->pool, "%s+", v->base);

	if (strcmp(v->tail, "+") != 0 && !v->no_alias && try_alias(v, plus, ARGUMENTS_BASE, false))
		return true;
	if (!v->no_alias && try_alias(v, v->base, ARGUMENTS_BASE, true))
		return true;
	return try_account(v, v->base, user);
}

/* A sender is only given its proper name (routing.md section 8). */
static void visit_sender(const struct visit *v)
{
	struct pool *pool = v->walk->pool;
	struct question q = { .key = pool_format(pool, "%s:mailname", v->base) };
	struct found found;
	struct address proper;
	const char *name, *why;

	switch (visit_lookup(v, ROUTE_USERDB, &q, &found)) {
	case MAP_FOUND:
		if (!address_parse(pool, found.value, strlen(found.value), ADDRESS_PLAIN, &proper, &why)) {
			visit_hold_value(v, found.from->map->provenance.source, found.value, why);
			return;
		}
		name = address_text(pool, proper.local, NULL, proper.domain);
		walk_send(v, "local", name, name);
		return;
	case MAP_NOT_FOUND:
		walk_send(v, "local", v->origin, visit_text(v, v->whole));
		return;
	case MAP_COULD_NOT_TELL:
		return;
	}
}

/* A command or a file as ZMailer's router marks it; what may become of it is the business of the channel's agent. */
static bool try_special(const struct visit *v)
{
	const char *kind = v->whole[0] == '|' ? "pipe" : v->whole[0] == '/' ? "file" : NULL;

	if (kind == NULL || v->whole[1] == '\0')
		return false;
	walk_arrive(v, "local", pool_format(v->walk->pool, "%s.%s", kind, v->origin),
	            v->written != NULL ? v->written : visit_text(v, v->whole));
	return true;
}

/*
 * What a user without an account of this whole name gets delivered: the last "--" of what was written is a plus, as
 * ZMailer has it; a tail that a list hands on comes behind that.
 */
static const char *delivered_user(const struct visit *v)
{
	char *user = pool_format(v->walk->pool, "%s", v->local), *last = NULL;

	for (char *p = strstr(user + (user[0] != '\0'), "--"); p != NULL; p = strstr(p + 1, "--"))
		last = p;
	if (last != NULL) {
		*last = '+';
		memmove(last + 1, last + 2, strlen(last + 2) + 1);
	}
	return v->whole != v->local ? pool_format(v->walk->pool, "%s%s", user, v->tail) : user;
}

void visit_local(const struct visit *v)
{
	const char *user;

	if (v->walk->query->type == ROUTE_SENDER) {
		visit_sender(v);
		return;
	}
	if (v->no_alias) {
		visit_note(v, "a backslash in front: delivered as it is");
		deliver(v, v->whole, false);
		return;
	}
	if (strncmp(v->whole, "real-", 5) == 0 && v->whole[5] != '\0') {
		visit_note(v, "real- in front: delivered as it is");
		deliver(v, v->whole + 5, true);
		return;
	}
	if (try_special(v))
		return;
	if (try_alias(v, v->whole, ARGUMENTS_WHOLE, false))
		return;
	/* where lists alone are asked for, these matter in front of another list only */
	if ((!v->walk->query->aliases_only || v->tail[0] != '\0') &&
	    (try_expired(v, v->whole) || try_account(v, v->whole, v->whole)))
		return;
	user = delivered_user(v);
	if (v->tail[0] != '\0' && try_without_tail(v, user))
		return;
	if (v->walk->router->any_local_user) {
		visit_note(v, "no account is needed");
		deliver(v, user, v->walk->router->localdoesdomain);
		return;
	}
	walk_arrive(v, "error", "nosuchuser", visit_text(v, user));
}
