#include <ctype.h>
#include <string.h>
#include <sys/stat.h>

#include "db/grammar/address.h"
#include "db/grammar/members.h"
#include "db/grammar/router_list.h"
#include "db/route/walk.h"

/* The owner of what has no other: the uid of "nobody" everywhere that matters. */
#define NOBODY 65534

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
 * from, so that the next stage has its turn; or that the list leads back to itself over another one.
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
 * As whom commands and files of a map run (maps.md section 3.5): the owner of its file, or nobody if others could
 * have put it there, or if it is no file.
 */
static uid_t privilege_of(const struct visit *v, const struct relation_map *from)
{
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
	const char *list = next.domain != NULL ? visit_text(&next, next.whole) : next.origin;
	struct buf quoted = { 0 };

	if (e->substitute && substitute_needed(e->value) && !arguments_are_harmless(&e->arguments)) {
		visit_hold_value(e->v, e->source, e->value, "the address holds bytes that no command or file name may get");
		return;
	}
	next.privilege = e->privilege;
	next.given = false;
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
	walk_send(&next, "local", pool_format(pool, "%s.%s", kind, list), text);
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
	struct pool_mark mark = pool_mark(v->walk->pool);
	const char *local = content(e, m->address.local), *domain = content(e, m->address.domain);
	struct visit next = {
		.walk = v->walk, .local = local, .domain = domain, .origin = v->origin, .no_alias = m->address.no_alias,
		.home = v->domain != NULL ? v->domain : v->home, .path = &e->path, .depth = v->depth + 1,
		.privilege = e->privilege, .carried = e->substitute && takes_tail(m) ? "" : e->tail,
	};

	if (local == m->address.local)
		next.written = m->address.written;
	else
		next.given = v->given;
	/* references may have made it too long, or otherwise impossible */
	if (local[0] == '\0' || strlen(local) > ADDRESS_MAX ||
	    (domain != NULL && (strlen(domain) > ADDRESS_MAX || !address_domain_ok(domain, strlen(domain))))) {
		visit_hold_value(v, e->source, e->value, "a member is no address when its references are filled in");
		return;
	}
	if (v->domain != NULL)
		next.origin = visit_text(v, v->whole);
	visit_address(&next);
	pool_release(v->walk->pool, mark);
}

/* %0 and %5 hold a local part: in a list it must be one without special bytes, so that it cannot end a member. */
static bool list_arguments_ok(const struct expansion *e)
{
	for (const char *p = strchr(e->value, '%'); p != NULL && p[1] != '\0'; p = strchr(p + 2, '%'))
		if ((p[1] == '0' || p[1] == '5') && address_has_specials(e->v->whole))
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
			visit_hold_value(e->v, e->source, e->value, "%0 and %5 cannot take an address in quotes");
			return false;
		}
		substitute_syntax(&list, e->value, &e->arguments);
		e->list = pool_copy(pool, buf_str(&list), list.len);
		buf_free(&list);
	}
	ok = members_parse(pool, e->list, strlen(e->list), e->substitute ? ADDRESS_TEMPLATE : ADDRESS_PLAIN, members,
	                   count, &offset, &why);
	if (!ok)
		visit_hold_value(e->v, e->source, e->list, pool_format(pool, "column %zu: %s", offset + 1, why));
	else if (*count == 0)
		visit_hold_value(e->v, e->source, e->list, "the list is empty");
	if (!ok || *count == 0)
		visit_note(e->v, "ZMailer's router sends this mail to root, with the scripts of zlmtp too");
	else if ((why = router_list_refused(e->value, strlen(e->value), e->substitute, &offset)) != NULL)
		visit_note(e->v, "%s", why);
	return ok && *count > 0;
}

enum visit_use visit_expand(const struct visit *v, const struct found *found, enum route_relation relation,
                            enum argument_form form, bool carry)
{
	const char *name = route_relation_name(relation);
	const char *address = visit_lower(v, v->domain != NULL ? visit_text(v, v->whole) : v->whole);
	struct expansion e = {
		.v = v, .source = found->from->map->provenance.source, .value = found->value,
		.substitute = found->from->options.substitute, .tail = "",
		.path = { .up = v->path, .address = address, .relation = relation }, .privilege = privilege_of(v, found->from),
	};
	struct member *members;
	size_t count;

	if (carry && form == ARGUMENTS_BASE)
		e.tail = found->from->options.fold_tail ? visit_lower(v, v->tail) : v->tail;
	switch (turn_of(v, address, relation)) {
	case TURN_SELF:
		visit_note(v, "the list names %s itself: what is asked after %s decides", address, name);
		return USE_GO_ON;
	case TURN_LOOP:
		v->walk->router->nesting = pool_format(v->walk->kept, "%s: the list of %s leads back to itself", name, address);
		walk_hold(v, v->walk->router->nesting, visit_text(v, v->whole));
		return USE_DONE;
	case TURN_NEW:
		break;
	}
	if (e.substitute) {
		e.arguments = visit_arguments(v, found, form);
		visit_explain(v, e.value, &e.arguments);
	}
	if (!read_list(&e, &members, &count))
		return USE_DONE;
	v->walk->router->listed = true;
	/* what no script can mend, as the router itself reads the directory (routing.md section 5.2) */
	if (count > 1 && strcmp(found->from->map->provenance.type, "ldap") == 0)
		visit_note(v, "if these are %zu values of the directory, all but one are lost by ZMailer's router", count);
	for (size_t i = 0; i < count; i++) {
		if (members[i].kind == MEMBER_ADDRESS)
			visit_member(&e, &members[i]);
		else
			deliver_special(&e, &members[i]);
	}
	return USE_DONE;
}
