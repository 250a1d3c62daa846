#include <ctype.h>
#include <string.h>
#include <time.h>

#include "db/grammar/address.h"
#include "db/grammar/destination.h"
#include "db/route/walk.h"
#include "lib/text.h"

/* ---- references ---- */

struct arguments visit_arguments(const struct visit *v, const struct found *found, enum argument_form form)
{
	const struct lookup_options *o = &found->from->options;
	const char *domain = visit_lower(v, v->domain != NULL ? v->domain : v->home);
	const char *local = form == ARGUMENTS_LEAVING ? v->local : v->whole;
	struct arguments a = { { 0 } };

	a.text[0] = found->part;
	if (form == ARGUMENTS_BASE) {
		a.text[1] = visit_lower(v, v->base);
		a.text[2] = o->fold_tail ? visit_lower(v, v->tail) : v->tail;
	} else {
		char *user = pool_copy(v->walk->pool, local, strlen(local));

		/* lower case, its tail only where that is folded */
		for (size_t i = 0, n = strlen(o->fold_tail ? local : v->base); i < n; i++)
			user[i] = ascii_lower(user[i]);
		a.text[1] = user;
		a.text[2] = "";
	}
	a.text[3] = pool_format(v->walk->pool, "@%s", domain);
	a.text[4] = domain;
	a.text[5] = visit_text(v, local);
	return a;
}

bool arguments_are_harmless(const struct arguments *a)
{
	for (size_t i = 0; i < sizeof a->text / sizeof a->text[0]; i++)
		for (const char *p = a->text[i]; p != NULL && *p != '\0'; p++)
			if (!isalnum((unsigned char)*p) && strchr("._+=@-", *p) == NULL)
				return false;
	return true;
}

void visit_explain(const struct visit *v, const char *value, const struct arguments *a)
{
	struct buf line = { 0 };

	for (int i = 0; v->walk->explain != NULL && i < 10; i++) {
		const char reference[] = { '%', (char)('0' + i), '\0' };

		if (strstr(value, reference) != NULL)
			buf_addf(&line, "%s%s = \"%s\"", line.len > 0 ? ", " : "", reference,
			         a->text[i] != NULL ? a->text[i] : "");
	}
	if (line.len > 0)
		visit_note(v, "  with %s", buf_str(&line));
	buf_free(&line);
}

void visit_hold_value(const struct visit *v, const char *source, const char *value, const char *why)
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

/* Where a route that is cut apart leads.  NULL, or what is wrong. */
static const char *send(const struct visit *v, const struct destination *d, const char *local,
                        const struct arguments *a)
{
	const char *channel = filled(v, d->channel, a);
	const char *user = visit_text(v, local), *host = "-";
	struct visit last = *v;

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
		user = address_text(v->walk->pool, local, pool_format(v->walk->pool, "%%%s", filled(v, d->gateway, a)), host);
	else if (d->user != NULL) {
		user = filled_user(v, d->user, a);
		last.given &= user != d->user && (d->user[strspn(d->user, "\"")] == '%' || !arguments_are_harmless(a));
	}
	if (user == NULL)
		return "%1 or %2 would bring special bytes after the @";
	/* neither channel nor host may look like an option to a program that gets it as an argument */
	if (channel[0] == '\0' || channel[0] == '-' || strpbrk(channel, "! \t") != NULL || host[0] == '\0' ||
	    (host[0] == '-' && host[1] != '\0') || user[0] == '\0')
		return "what comes of it is no channel, host or user";
	walk_arrive(&last, channel, host, user);
	return NULL;
}

enum visit_use visit_route(const struct visit *v, const struct found *found, enum argument_form form)
{
	const char *local = form == ARGUMENTS_LEAVING ? v->local : v->whole;
	bool substitute = found->from->options.substitute;
	struct arguments arguments;
	struct destination d;
	const char *why;
	int64_t now;

	if (destination_parse(v->walk->pool, found->value, &d, &why)) {
		switch (d.kind) {
		case DESTINATION_ABSENT:
			visit_note(v, "%s: as if the key were not there", found->value);
			return USE_GO_ON;
		case DESTINATION_LATER:
			now = v->walk->router->now < 0 ? (int64_t)time(NULL) : v->walk->router->now;
			why = pool_format(v->walk->pool, "timeout:%lld", (long long)(now + d.seconds));
			walk_hold(v, why, visit_text(v, local));
			return USE_DONE;
		case DESTINATION_SEND:
			if (substitute) {
				arguments = visit_arguments(v, found, form);
				visit_explain(v, found->value, &arguments);
			}
			why = send(v, &d, local, substitute ? &arguments : NULL);
			break;
		}
	}
	if (why != NULL)
		visit_hold_value(v, found->from->map->provenance.source, found->value, why);
	return USE_DONE;
}
