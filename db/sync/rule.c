#include "db/sync/rule.h"

#include <stdlib.h>
#include <string.h>

#include "db/build/text.h"
#include "db/ldap/open.h"
#include "lib/alloc.h"
#include "lib/hash.h"
#include "lib/settings.h"
#include "lib/text.h"

/* What RFC 5890 section 2.3.1 has in labels, and "_", which some use. */
#define DOMAIN_BYTES "abcdefghijklmnopqrstuvwxyz0123456789-._"

/* What one entry may make, in bytes of keys and values: each of its keys gets a value of its own. */
#define LARGEST_YIELD (4 << 20)

static bool explain(enum template_outcome outcome, const char *culprit, const char *more, struct buf *why)
{
	const char *what = NULL;

	switch (outcome) {
	case TEMPLATE_DONE: return true;
	case TEMPLATE_NO_VALUE: what = "has no value"; break;
	case TEMPLATE_NO_PART: what = "has no part before or after an @ as the template asks for"; break;
	case TEMPLATE_SEVERAL: what = "has several values, one is meant"; break;
	case TEMPLATE_BAD_VALUE: what = "has a value that is empty or has control bytes in it"; break;
	}
	buf_addf(why, "%s%s %s%s", why->len > 0 ? "; " : "", culprit, what, more);
	return false;
}

/* Values that are keys or domains count each by itself: with one that cannot be used, nothing is wrong with the others. */
static bool expand_each(const struct template *template, const struct ldap_entry *entry, struct results *results,
                        struct buf *why)
{
	const char *culprit = NULL;
	const enum template_outcome outcome = template_expand_usable(template, entry, results, &culprit);

	results_settle(results);
	return explain(outcome, culprit, results->count > 0 ? "; its other values are used" : "", why);
}

/* The value for one key; NULL if it cannot be told. */
static char *make_value(const struct sync_rule *rule, const struct ldap_entry *entry, const char *key, struct buf *why)
{
	struct results values = { 0 };
	struct buf text = { 0 };
	const char *culprit = NULL;
	const enum template_outcome outcome = template_expand(rule->value, entry, key, rule->many_values, &values, &culprit);
	char *value = NULL;

	/* a list is whole or not at all: a member that is left out would get no mail, and no one would know */
	if (explain(outcome, culprit, "", why)) {
		results_settle(&values);
		results_join(&values, ", ", &text);
		value = xstrdup(buf_str(&text));
	}
	results_free(&values);
	buf_free(&text);
	return value;
}

static void free_records(struct yield *yield)
{
	for (size_t i = 0; i < yield->count; i++) {
		free(yield->records[i].key);
		free(yield->records[i].value);
	}
	free(yield->records);
	yield->records = NULL;
	yield->count = 0;
}

/* The keys are known and stay as they are in the map; so many of them that they are too much by themselves are not. */
static void refuse_values(struct yield *yield)
{
	size_t bytes = 0;

	for (size_t i = 0; i < yield->count; i++) {
		free(yield->records[i].value);
		yield->records[i].value = NULL;
		bytes += strlen(yield->records[i].key);
	}
	if (bytes > LARGEST_YIELD)
		free_records(yield);
}

static bool add_domain(struct yield *yield, const char *domain, struct buf *why)
{
	char *lower = xstrdup(domain);
	bool ok;

	ascii_lower_string(lower);
	ok = lower[0] != '\0' && lower[strspn(lower, DOMAIN_BYTES)] == '\0';
	if (ok)
		words_add(&yield->domains, lower);
	else
		buf_addf(why, "%s\"%s\" is no domain", why->len > 0 ? "; " : "", domain);
	free(lower);
	return ok;
}

/* Keys of other forms, and address literals, are no domains to be served. */
static bool add_domains_of_keys(struct yield *yield, struct buf *why)
{
	bool ok = true;

	for (size_t i = 0; i < yield->count; i++) {
		const char *at = strrchr(yield->records[i].key, '@');

		if (at != NULL && at[1] != '[')
			ok = add_domain(yield, at + 1, why) && ok;
	}
	return ok;
}

static bool add_own_domains(const struct sync_rule *rule, const struct ldap_entry *entry, struct yield *yield, struct buf *why)
{
	struct results domains = { 0 };
	bool ok = expand_each(rule->domain, entry, &domains, why);

	for (size_t i = 0; i < domains.count; i++)
		ok = add_domain(yield, domains.list[i], why) && ok;
	results_free(&domains);
	return ok;
}

bool rule_apply(const struct sync_rule *rule, const struct ldap_entry *entry, char folding, struct yield *yield,
                struct buf *why)
{
	const char *other = ldap_entry_unasked(entry, rule->attributes);
	bool ok = true;

	*yield = (struct yield){ 0 };
	if (entry->is_cut) {
		buf_addf(why, "it is of more than %d MB", LDAP_LARGEST_MESSAGE >> 20);
		return false;
	}
	if (other != NULL) {
		buf_addf(why, "the server sent attribute %s, which was not asked for by this name; use the server's names",
		         other);
		return false;
	}
	if (rule->key != NULL) {
		struct results keys = { 0 };
		struct buf fault = { 0 };
		size_t bytes = 0;
		bool has_values = true;

		ok = expand_each(rule->key, entry, &keys, why);
		yield->lacks_keys = !ok;
		for (size_t i = 0; i < keys.count; i++)
			text_fold(keys.list[i], text_unquote(keys.list[i], strlen(keys.list[i])), folding);
		results_settle(&keys);
		yield->records = xcalloc(keys.count + 1, sizeof *yield->records);
		for (; yield->count < keys.count; yield->count++) {
			struct wanted *w = &yield->records[yield->count];

			w->key = xstrdup(keys.list[yield->count]);
			bytes += strlen(w->key);
			w->value = bytes <= LARGEST_YIELD ? make_value(rule, entry, w->key, &fault) : NULL;
			/* what is wrong with one is wrong with all */
			if (w->value == NULL && has_values && fault.len > 0)
				buf_addf(why, "%s%s", why->len > 0 ? "; " : "", buf_str(&fault));
			has_values = has_values && w->value != NULL;
			bytes += w->value != NULL ? strlen(w->value) : 0;
		}
		if (bytes > LARGEST_YIELD) {
			buf_addf(why, "%sits %zu key%s and %s values are more than %d MB", why->len > 0 ? "; " : "", keys.count,
			         keys.count == 1 ? "" : "s", keys.count == 1 ? "its" : "their", LARGEST_YIELD >> 20);
			refuse_values(yield);
			yield->lacks_keys = yield->lacks_keys || yield->count == 0;
			has_values = false;
		}
		ok = ok && has_values;
		results_free(&keys);
		buf_free(&fault);
	}
	if (rule->keys_name_domains)
		yield->lacks_domains = !add_domains_of_keys(yield, why) || yield->lacks_keys;
	if (rule->domain != NULL)
		yield->lacks_domains = !add_own_domains(rule, entry, yield, why) || yield->lacks_domains;
	return ok && !yield->lacks_domains;
}

uint64_t rule_version(const struct ldap_entry *entry)
{
	const struct ldap_attribute *csn = ldap_entry_find(entry, "entryCSN");
	uint64_t hash;

	if (csn == NULL || csn->count != 1)
		return 0;
	hash = hash_bytes(HASH_START, csn->values[0].bytes, csn->values[0].length);
	return hash != 0 ? hash : 1;
}

void yield_add_unclear(struct yield *yield, const char *key)
{
	size_t capacity = yield->count;

	for (size_t i = 0; i < yield->count; i++)
		if (strcmp(yield->records[i].key, key) == 0)
			return;
	yield->records = xgrow(yield->records, yield->count, &capacity, sizeof *yield->records);
	yield->records[yield->count++] = (struct wanted){ .key = xstrdup(key) };
}

void yield_free(struct yield *yield)
{
	free_records(yield);
	words_free(yield->domains);
	*yield = (struct yield){ 0 };
}

void rule_free(struct sync_rule *rule)
{
	free(rule->name);
	free(rule->base);
	free(rule->filter);
	template_free(&rule->key);
	template_free(&rule->value);
	template_free(&rule->domain);
	words_free(rule->attributes);
	free(rule->definition);
	*rule = (struct sync_rule){ 0 };
}
