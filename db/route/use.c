#include <ctype.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#include "db/route/walk.h"
#include "db/source/address.h"
#include "db/source/destination.h"
#include "db/source/members.h"
#include "lib/alloc.h"
#include "lib/text.h"

/* Who owns what nobody else does: the uid of "nobody" everywhere that matters. */
#define NOBODY 65534

/* ---- references ---- */

/* The user for %1: lower case up to its tail. */
static const char *user_with_tail(const struct visit *v, const char *local, size_t base_length)
{
	char *user = pool_copy(v->walk->pool, local, strlen(local));

	for (size_t i = 0; i < base_length; i++)
		user[i] = ascii_lower(user[i]);
	return user;
}

/* The arguments of the value just found (routing.md section 3, with the differences of its section 10). */
static struct arguments arguments_of(const struct visit *v, enum argument_form form)
{
	const struct lookup_options *o = &v->walk->router->hit.from->options;
	const char *domain = visit_lower(v, v->domain != NULL ? v->domain : v->home);
	const char *local = form == ARGUMENTS_LEAVING ? v->local : v->whole;
	struct arguments a = { { 0 } };

	a.text[0] = buf_str(&v->walk->router->hit.part);
	if (form == ARGUMENTS_BASE) {
		a.text[1] = visit_lower(v, v->base);
		a.text[2] = o->fold_tail ? visit_lower(v, v->tail) : v->tail;
	} else {
		a.text[1] = o->fold_tail ? visit_lower(v, local) : user_with_tail(v, local, strlen(v->base));
		a.text[2] = "";
	}
	a.text[3] = pool_format(v->walk->pool, "@%s", domain);
	a.text[4] = domain;
	a.text[5] = visit_text(v, local);
	return a;
}

/* What will be put in for the references of a value. */
static void explain_arguments(const struct visit *v, const char *value, const struct arguments *a)
{
	struct buf line = { 0 };

	for (int i = 0; v->walk->explain != NULL && i < 10; i++) {
		const char reference[] = { '%', (char)('0' + i), '\0' };

		if (strstr(value, reference) != NULL)
			buf_addf(&line, "%s%s = \"%s\"", line.len > 0 ? ", " : "", reference, a->text[i] != NULL ? a->text[i] : "");
	}
	if (line.len > 0)
		visit_note(v, "  with %s", buf_str(&line));
	buf_free(&line);
}

/* A value that cannot be used stops the address: what it was meant to say is not known. */
static void hold_value(const struct visit *v, const char *source, const char *value, const char *why)
{
	walk_hold(v, pool_format(v->walk->pool, "%s: \"%s\": %s", source, value, why),
	          visit_text(v, v->whole));
}

/* ---- routes ---- */

static const char *filled(const struct visit *v, const char *text, const struct arguments *a)
{
	struct buf out = { 0 };
	const char *copy;

	if (a == NULL || !substitute_needed(text))
		return text;
	substitute(&out, text, a);
	copy = pool_copy(v->walk->pool, buf_str(&out), out.len);
	buf_free(&out);
	return copy;
}

/* NULL if something that needs quotes would come behind the '@'. */
static const char *filled_user(const struct visit *v, const char *text, const struct arguments *a)
{
	struct buf out = { 0 };
	const char *copy = NULL;

	if (a == NULL || !substitute_needed(text))
		return text;
	if (substitute_user(v->walk->pool, &out, text, a))
		copy = pool_copy(v->walk->pool, buf_str(&out), out.len);
	buf_free(&out);
	return copy;
}

static bool channel_ok(const char *channel)
{
	return channel[0] != '\0' && strpbrk(channel, "! \t") == NULL;
}

/* Where a route that is cut apart leads.  NULL, or what is wrong. */
static const char *send(const struct visit *v, const struct destination *d, const char *local, const struct arguments *a)
{
	const char *channel = filled(v, d->channel, a);
	const char *user = visit_text(v, local), *host = "-";

	switch (d->host_is) {
	case HOST_NONE:
		break;
	case HOST_GIVEN:
		host = filled(v, d->host, a);
		break;
	case HOST_DOMAIN:
		host = v->domain;
		break;
	case HOST_LOCAL_PART:
		host = local;
		break;
	}
	if (d->gateway != NULL)
		user = address_text(v->walk->pool, pool_format(v->walk->pool, "%s%%%s", local, filled(v, d->gateway, a)), NULL, host);
	else if (d->user != NULL)
		user = filled_user(v, d->user, a);
	if (user == NULL)
		return "%1 or %2 would bring special bytes behind the @";
	if (!channel_ok(channel) || host[0] == '\0' || user[0] == '\0')
		return "channel, host or user is empty when the references are filled in";
	walk_send(v, channel, host, user);
	return NULL;
}

static void send_later(const struct visit *v, const struct destination *d, const char *local)
{
	int64_t now = v->walk->router->now < 0 ? (int64_t)time(NULL) : v->walk->router->now;

	walk_hold(v, pool_format(v->walk->pool, "%lld", (long long)(now + d->seconds)), visit_text(v, local));
}

enum visit_use visit_route(const struct visit *v, enum argument_form form)
{
	const struct hit *hit = &v->walk->router->hit;
	const char *value = pool_copy(v->walk->pool, buf_str(&hit->value), hit->value.len);
	const char *source = hit->from->map->provenance.source;
	const char *local = form == ARGUMENTS_LEAVING ? v->local : v->whole;
	struct arguments arguments;
	struct destination d;
	const char *why;

	if (!destination_parse(v->walk->pool, value, &d, &why)) {
		hold_value(v, source, value, why);
		return USE_DONE;
	}
	switch (d.kind) {
	case DESTINATION_ABSENT:
		visit_note(v, "%s: as if the key were not there", value);
		return USE_GO_ON;
	case DESTINATION_LATER:
		send_later(v, &d, local);
		return USE_DONE;
	case DESTINATION_SEND:
		break;
	}
	if (hit->from->options.substitute) {
		arguments = arguments_of(v, form);
		explain_arguments(v, value, &arguments);
	}
	why = send(v, &d, local, hit->from->options.substitute ? &arguments : NULL);
	if (why != NULL)
		hold_value(v, source, value, why);
	return USE_DONE;
}

/* ---- address lists ---- */

/* A value that is being expanded. */
struct expansion {
	const struct visit *v;
	const char *source;            /* of the map */
	const char *value;
	const char *list;              /* with %0, %3, %4 and %5 filled in */
	bool substitute;
	struct arguments arguments;
	const char *tail;              /* that members get, "" for none */
	struct path path;
	uid_t privilege;
};

/*
 * What the path says about expanding this address by this relation: nothing; that a member names the address it comes
 * from, so that the next stage has its turn; or that the list leads back to itself over another address.
 */
enum turn { TURN_NEW, TURN_SELF, TURN_LOOP };

static enum turn turn_of(const struct visit *v, const char *address, enum route_relation relation)
{
	bool others = false;

	for (const struct path *p = v->path; p != NULL; p = p->up) {
		if (strcmp(p->address, address) != 0)
			others = true;
		else if (p->relation == relation)
			return others ? TURN_LOOP : TURN_SELF;
	}
	return TURN_NEW;
}

/*
 * As whom commands and files of a map run (maps.md section 3.5): the owner of its file, or nobody if others could have put
 * it there, or if it is no file.
 */
static uid_t privilege_of(const struct visit *v)
{
	const struct relation_map *from = v->walk->router->hit.from;
	const struct map_provenance *p = &from->map->provenance;
	const char *slash = strrchr(p->source, '/');
	struct stat st;

	if (p->inode == 0 || slash == NULL)
		return NOBODY;
	if (!from->own_privilege)
		return v->privilege;
	if (stat(pool_copy(v->walk->pool, p->source, (size_t)(slash - p->source) + 1), &st) < 0)
		return NOBODY;
	if ((st.st_mode & (S_IWGRP | S_IWOTH)) != 0 && (st.st_mode & S_ISVTX) == 0)
		return NOBODY;
	return st.st_uid == 0 || st.st_uid == p->owner ? p->owner : NOBODY;
}

/* Bytes that mean nothing to a shell or in a path. */
static bool harmless(const char *text)
{
	for (; text != NULL && *text != '\0'; text++)
		if (!isalnum((unsigned char)*text) && strchr("._+=@-", *text) == NULL)
			return false;
	return true;
}

static bool all_harmless(const struct arguments *a)
{
	for (size_t i = 0; i < sizeof a->text / sizeof a->text[0]; i++)
		if (!harmless(a->text[i]))
			return false;
	return true;
}

static const char *content(const struct expansion *e, const char *text)
{
	struct buf out = { 0 };
	const char *copy;

	if (!e->substitute || text == NULL || strchr(text, '%') == NULL)
		return text;
	substitute_content(&out, text, &e->arguments);
	copy = pool_copy(e->v->walk->pool, buf_str(&out), out.len);
	buf_free(&out);
	return copy;
}

/* A command or file: local delivery under the name of the address it comes from. */
static void deliver_special(const struct expansion *e, const struct member *m)
{
	struct visit next = *e->v;
	struct pool *pool = next.walk->pool;
	const char *text = content(e, m->text), *kind = m->kind == MEMBER_PIPE ? "pipe" : "file";
	struct buf quoted = { 0 };

	if (e->substitute && substitute_needed(e->value) && !all_harmless(&e->arguments)) {
		hold_value(e->v, e->source, e->value, "the address holds bytes that no command or file name may get");
		return;
	}
	next.privilege = e->privilege;
	if (m->kind == MEMBER_PIPE) {
		buf_addc(&quoted, '"');
		for (const char *p = text; *p != '\0'; p++) {
			if (*p == '"' || *p == '\\')
				buf_addc(&quoted, '\\');
			buf_addc(&quoted, *p);
		}
		buf_addc(&quoted, '"');
		text = pool_copy(pool, quoted.data, quoted.len);
		buf_free(&quoted);
	}
	walk_send(&next, "local", pool_format(pool, "%s.%s", kind, next.origin), text);
}

static bool takes_tail(const struct member *m)
{
	return strstr(m->address.local, "%2") != NULL ||
	       (m->address.domain != NULL && strstr(m->address.domain, "%2") != NULL);
}

/* One member goes through all stages. */
static void visit_member(const struct expansion *e, const struct member *m)
{
	const struct visit *v = e->v;
	const char *local = content(e, m->address.local), *domain = content(e, m->address.domain);
	struct visit next = {
		.walk = v->walk, .local = local, .domain = domain, .origin = v->origin, .no_alias = m->address.no_alias,
		.home = v->domain != NULL ? v->domain : v->home, .path = &e->path, .depth = v->depth + 1,
		.privilege = e->privilege, .carried = e->substitute && takes_tail(m) ? "" : e->tail,
	};

	if (local == m->address.local)
		next.written = m->address.written;
	if (local[0] == '\0' || (domain != NULL && !address_domain_ok(domain, strlen(domain)))) {
		hold_value(v, e->source, e->value, "a member is no address when its references are filled in");
		return;
	}
	if (v->domain != NULL)
		next.origin = visit_text(v, v->whole);
	visit_address(&next);
}

/* %0 and %5 hold a local part: in a list it must be one that needs no quotes, so that it cannot end a member. */
static bool list_arguments_ok(const struct expansion *e)
{
	for (const char *p = strchr(e->value, '%'); p != NULL && p[1] != '\0'; p = strchr(p + 2, '%'))
		if ((p[1] == '0' || p[1] == '5') && address_needs_quotes(e->v->whole))
			return false;
	return true;
}

/* Fills in what is syntax and cuts the list apart.  False if that is held. */
static bool read_list(struct expansion *e, struct member **members, size_t *count)
{
	struct pool *pool = e->v->walk->pool;
	struct buf list = { 0 };
	const char *why;
	size_t offset;
	bool ok;

	e->list = e->value;
	if (e->substitute && substitute_needed(e->value)) {
		if (!list_arguments_ok(e)) {
			hold_value(e->v, e->source, e->value, "%0 and %5 cannot take an address in quotes");
			return false;
		}
		substitute_syntax(&list, e->value, &e->arguments);
		e->list = pool_copy(pool, buf_str(&list), list.len);
		buf_free(&list);
	}
	ok = members_parse(pool, e->list, strlen(e->list), e->substitute ? ADDRESS_TEMPLATE : ADDRESS_PLAIN, members,
	                   count, &offset, &why);
	if (!ok)
		hold_value(e->v, e->source, e->list, pool_format(pool, "column %zu: %s", offset + 1, why));
	else if (*count == 0)
		hold_value(e->v, e->source, e->list, "the list is empty");
	return ok && *count > 0;
}

enum visit_use visit_expand(const struct visit *v, enum route_relation relation, enum argument_form form, bool carry)
{
	const struct hit *hit = &v->walk->router->hit;
	const char *name = route_relation_name(relation);
	const char *address = visit_lower(v, v->domain != NULL ? visit_text(v, v->whole) : v->whole);
	struct expansion e = {
		.v = v, .source = hit->from->map->provenance.source, .value = pool_copy(v->walk->pool, buf_str(&hit->value), hit->value.len),
		.substitute = hit->from->options.substitute, .tail = "",
		.path = { .up = v->path, .address = address, .relation = relation }, .privilege = privilege_of(v),
	};
	struct member *members;
	size_t count;

	if (carry && form == ARGUMENTS_BASE)
		e.tail = hit->from->options.fold_tail ? visit_lower(v, v->tail) : v->tail;
	switch (turn_of(v, address, relation)) {
	case TURN_SELF:
		visit_note(v, "the list names %s itself: on behind %s", address, name);
		return USE_GO_ON;
	case TURN_LOOP:
		walk_hold(v, pool_format(v->walk->pool, "%s: the list of %s leads back to itself", name, address),
		          visit_text(v, v->whole));
		return USE_DONE;
	case TURN_NEW:
		break;
	}
	if (e.substitute) {
		e.arguments = arguments_of(v, form);
		/* the buffer of %0 is used again by the members' lookups */
		e.arguments.text[0] = pool_copy(v->walk->pool, e.arguments.text[0], strlen(e.arguments.text[0]));
		explain_arguments(v, e.value, &e.arguments);
	}
	if (!read_list(&e, &members, &count))
		return USE_DONE;
	for (size_t i = 0; i < count; i++) {
		if (members[i].kind == MEMBER_ADDRESS)
			visit_member(&e, &members[i]);
		else
			deliver_special(&e, &members[i]);
	}
	return USE_DONE;
}
