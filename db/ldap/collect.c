#include "db/ldap/collect.h"

#include <search.h>
#include <stdlib.h>
#include <string.h>

#include "lib/alloc.h"

#define ANY_ENTRY "(objectClass=*)"

struct collection {
	const struct ldapconf *conf;
	struct ldapconn *connection;
	const char *key;
	int64_t deadline;
	struct results results;
	void *visited;           /* names of entries that were referred to */
	const char *partless;    /* an attribute of the entry whose value lacks the part that a template asks for */
	struct buf *why;
};

static bool collect_entry(struct collection *c, const struct ldap_entry *entry, unsigned long depth);

/* ---- references ----------------------------------------------------------- */

static int compare_names(const void *a, const void *b)
{
	return strcmp(a, b);
}

/* True the first time: groups may share members, and contain each other. */
static bool is_new(struct collection *c, const char *reference)
{
	char *name = xstrdup(reference);
	char **node = tsearch(name, &c->visited, compare_names);

	if (node != NULL && *node == name)
		return true;
	free(name);
	return false;
}

static bool collect_search(struct collection *c, const struct ldap_search *search, const char *reference,
                           bool must_exist, unsigned long depth)
{
	struct ldap_entries entries;
	enum map_answer answer = ldapconn_search(c->connection, search, &entries, c->why);
	bool ok = answer == MAP_FOUND || (answer == MAP_NOT_FOUND && !must_exist);

	if (answer == MAP_NOT_FOUND && must_exist)
		buf_addf(c->why, "entry \"%s\", which another one refers to, cannot be seen", reference);
	for (size_t i = 0; ok && i < entries.count; i++)
		ok = collect_entry(c, &entries.list[i], depth);
	ldap_entries_free(&entries);
	return ok;
}

static bool follow_name(struct collection *c, const char *name, unsigned long depth)
{
	struct dn_text base = { 0 };
	struct filter_text filter = { 0 };
	struct ldap_search search = {
		.base = &base, .filter = &filter, .attributes = c->conf->attributes, .scope = LDAP_SCOPE_BASE,
		.dereference = c->conf->dereference, .size_limit = c->conf->size_limit, .deadline = c->deadline,
	};
	bool ok;

	/* a value of the directory that is a whole name already */
	dn_add_trusted(&base, name, strlen(name));
	filter_add_trusted(&filter, ANY_ENTRY, strlen(ANY_ENTRY));
	ok = collect_search(c, &search, name, true, depth);
	dn_free(&base);
	filter_free(&filter);
	return ok;
}

/* Of the attributes that we want, those that a URL names; all of them if it names none. */
static char **common_attributes(char *const *ours, char *const *theirs)
{
	char **common = NULL;

	if (theirs == NULL || theirs[0] == NULL)
		return words_copy(ours);
	for (size_t i = 0; ours[i] != NULL; i++)
		for (size_t k = 0; theirs[k] != NULL; k++)
			if (strcasecmp(ours[i], theirs[k]) == 0)
				words_add(&common, ours[i]);
	return common;
}

static bool follow_url(struct collection *c, const char *url, const LDAPURLDesc *u, unsigned long depth)
{
	struct dn_text base = { 0 };
	struct filter_text filter = { 0 };
	char **attributes = common_attributes(c->conf->attributes, u->lud_attrs);
	struct ldap_search search = {
		.base = &base, .filter = &filter, .attributes = attributes,
		.scope = u->lud_scope == LDAP_SCOPE_DEFAULT ? LDAP_SCOPE_BASE : u->lud_scope,
		.dereference = c->conf->dereference, .size_limit = c->conf->size_limit, .deadline = c->deadline,
	};
	const char *text = u->lud_filter != NULL ? u->lud_filter : ANY_ENTRY;
	bool ok = false;

	if (u->lud_dn != NULL)
		dn_add_trusted(&base, u->lud_dn, strlen(u->lud_dn));
	filter_add_trusted(&filter, text, strlen(text));
	if (attributes == NULL)
		buf_addf(c->why, "reference \"%s\" names none of the attributes that are wanted", url);
	else
		ok = collect_search(c, &search, url, false, depth);
	words_free(attributes);
	dn_free(&base);
	filter_free(&filter);
	return ok;
}

static bool follow(struct collection *c, const char *reference, unsigned long depth)
{
	LDAPURLDesc *u = NULL;
	bool ok = false;

	if (!is_new(c, reference))
		return true;
	if (!ldap_is_ldap_url(reference))
		return follow_name(c, reference, depth);
	if (ldap_url_parse(reference, &u) != LDAP_URL_SUCCESS)
		buf_addf(c->why, "reference \"%s\" is a damaged URL", reference);
	else if (u->lud_host != NULL && u->lud_host[0] != '\0')
		buf_addf(c->why, "reference \"%s\" leads to another server", reference);
	else
		ok = follow_url(c, reference, u, depth);
	if (u != NULL)
		ldap_free_urldesc(u);
	return ok;
}

static bool follow_attribute(struct collection *c, const struct ldap_entry *entry, const char *name, unsigned long depth)
{
	const struct ldap_attribute *a = ldap_entry_find(entry, name);

	for (size_t i = 0; a != NULL && i < a->count; i++) {
		if (depth > c->conf->recursion_limit) {
			buf_addf(c->why, "entry \"%s\": references are nested deeper than recursion_limit, %lu", entry->dn,
			         c->conf->recursion_limit);
			return false;
		}
		if (!follow(c, a->values[i].bytes, depth))
			return false;
	}
	return true;
}

/* ---- results -------------------------------------------------------------- */

/* False with `why` on anything but "done" and "this entry has no such value". */
static bool add_result(struct collection *c, const struct ldap_entry *entry, const struct template *template)
{
	const char *culprit = NULL;

	switch (template_expand(template, entry, c->key, c->conf->many_values, &c->results, &culprit)) {
	case TEMPLATE_DONE:
	case TEMPLATE_NO_VALUE:
		break;
	case TEMPLATE_NO_PART:
		c->partless = culprit;
		break;
	case TEMPLATE_SEVERAL:
		buf_addf(c->why, "conflict: entry \"%s\" has several values of %s, one is meant; see \"values\" in ldap_map(5)",
		         entry->dn, culprit);
		return false;
	case TEMPLATE_BAD_VALUE:
		buf_addf(c->why, "entry \"%s\": a value of %s is empty or has control bytes in it", entry->dn, culprit);
		return false;
	}
	if (c->conf->expansion_limit == 0 || c->results.count <= c->conf->expansion_limit)
		return true;
	buf_addf(c->why, "entry \"%s\": more results than expansion_limit, %lu", entry->dn, c->conf->expansion_limit);
	return false;
}

static bool add_results(struct collection *c, const struct ldap_entry *entry, enum result_kind kind)
{
	for (size_t i = 0; i < c->conf->result_count; i++)
		if (c->conf->results[i].kind == kind && !add_result(c, entry, c->conf->results[i].template))
			return false;
	return true;
}

static bool collect_entry(struct collection *c, const struct ldap_entry *entry, unsigned long depth)
{
	const size_t before = c->results.count;
	const char *unasked = ldap_entry_unasked(entry, c->conf->attributes);
	bool refers = false;

	if (unasked != NULL) {
		buf_addf(c->why, "entry \"%s\": the server sent attribute %s, which was not asked for by this name; use the server's "
		         "names", entry->dn, unasked);
		return false;
	}
	for (size_t i = 0; c->conf->special != NULL && c->conf->special[i] != NULL && !refers; i++)
		refers = ldap_entry_find(entry, c->conf->special[i]) != NULL;
	c->partless = NULL;
	if (!add_results(c, entry, RESULT_TERMINAL))
		return false;
	if (c->results.count > before)
		return true;
	if (!add_results(c, entry, RESULT_ALWAYS) || (!refers && !add_results(c, entry, RESULT_LEAF)))
		return false;
	for (size_t i = 0; refers && c->conf->special[i] != NULL; i++)
		if (!follow_attribute(c, entry, c->conf->special[i], depth + 1))
			return false;
	if (refers || c->results.count > before)
		return true;
	if (c->partless != NULL)
		buf_addf(c->why, "entry \"%s\": the value of %s has no part before or after an @ as the template asks for",
		         entry->dn, c->partless);
	else
		buf_addf(c->why, "entry \"%s\" has no value to answer with (no right to read it?); if such entries are meant to be passed "
		         "over, say so in the filter", entry->dn);
	return false;
}

enum map_answer ldap_collect(const struct ldapconf *conf, struct ldapconn *connection, const char *key, size_t n,
                             int64_t deadline, struct buf *value, struct buf *why)
{
	struct collection c = { .conf = conf, .connection = connection, .key = key, .deadline = deadline, .why = why };
	struct dn_text base = { 0 };
	struct filter_text filter = { 0 };
	struct ldap_entries entries;
	struct ldap_search search = {
		.base = &base, .filter = &filter, .attributes = conf->attributes, .scope = conf->scope,
		.dereference = conf->dereference, .size_limit = conf->size_limit, .deadline = deadline,
	};
	enum map_answer answer;

	/* two are enough to see that there is not one */
	if (!conf->many_entries)
		search.size_limit = 2;
	pattern_add_dn(&conf->base, key, n, &base);
	pattern_add_filter(&conf->filter, key, n, &filter);
	answer = ldapconn_search(c.connection, &search, &entries, c.why);
	if (entries.count > 1 && !c.conf->many_entries) {
		buf_clear(c.why);
		buf_addf(c.why, "conflict: \"%s\" and \"%s\" both match, one entry is meant; see \"entries\" in ldap_map(5)",
		         entries.list[0].dn, entries.list[1].dn);
		answer = MAP_COULD_NOT_TELL;
	}
	for (size_t i = 0; answer == MAP_FOUND && i < entries.count; i++)
		if (!collect_entry(&c, &entries.list[i], 0))
			answer = MAP_COULD_NOT_TELL;
	ldap_entries_free(&entries);
	results_settle(&c.results);
	/* a group whose members all are gone is not an unknown address */
	if (answer == MAP_FOUND && c.results.count == 0) {
		buf_adds(c.why, "the references of the entry lead to no result");
		answer = MAP_COULD_NOT_TELL;
	}
	if (answer == MAP_FOUND && c.results.count > 1 && !c.conf->many_values) {
		buf_addf(c.why, "conflict: \"%s\" and \"%s\" are both results, one is meant; see \"values\" in ldap_map(5)",
		         c.results.list[0], c.results.list[1]);
		answer = MAP_COULD_NOT_TELL;
	}
	if (answer == MAP_FOUND)
		results_join(&c.results, ", ", value);
	results_free(&c.results);
	tdestroy(c.visited, free);
	dn_free(&base);
	filter_free(&filter);
	return answer;
}
