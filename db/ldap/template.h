/*
 * Text made from an entry: "smtp-lmtp!node!{mailbox}%2".
 *
 *   template = *( literal / "{{" / "}}" / "{" name [ ":local" / ":domain" ] "}" )
 *
 * `name` is an attribute, or "key" for the key that was looked up.  local and domain are what stands before and behind
 * the last "@" of the value; a value without "@" is all local.  "%" is left alone in the template: the relation that
 * uses the map replaces it (routing.md 3).  If the template has such a reference, "%" in values is doubled, so that it
 * stays what it is.
 */
#ifndef ZL_DB_LDAP_TEMPLATE_H
#define ZL_DB_LDAP_TEMPLATE_H

#include <stdbool.h>
#include <stddef.h>

#include "db/ldap/entry.h"
#include "db/ldap/key.h"
#include "lib/buf.h"

struct template;

/* A growing list of texts; the owner frees it by results_free(). */
struct results {
	char **list;
	size_t count;
	size_t capacity;
};

/* True if `n` bytes can be the name of an attribute, without options (RFC 4512 section 1.4). */
bool template_is_attribute(const char *name, size_t n);

/* NULL with `why` (column and what was expected) if it is damaged.  Free by template_free(). */
struct template *template_parse(const char *text, struct buf *why);

/* What result_format means for one attribute: %s %u %d are parts of its value, capitals and digits parts of the key. */
struct template *template_of_pattern(const struct pattern *format, const char *attribute);

void template_free(struct template **template);

/* Adds the names of its attributes to a list that ends with NULL (words_free); each name once. */
void template_attributes(const struct template *template, char ***names);

/* True if the key has all parts of it that the template wants. */
bool template_fits(const struct template *template, const char *key, size_t n);

enum template_outcome {
	TEMPLATE_DONE,
	TEMPLATE_NO_VALUE,     /* an attribute has no value */
	TEMPLATE_NO_PART,      /* a value has no such part: no domain in "user1" */
	TEMPLATE_SEVERAL,      /* several values where one is meant */
	TEMPLATE_BAD_VALUE,    /* a value is empty or has control bytes */
};

/*
 * Adds what the template makes of `entry` and `key` (NULL where there is none).  With `many`, one attribute may have
 * several values: one result each.  On the other outcomes nothing is added and *attribute (it lives as long as the
 * template) names the culprit.
 */
enum template_outcome template_expand(const struct template *template, const struct ldap_entry *entry, const char *key,
                                      bool many, struct results *results, const char **attribute);

/*
 * The same with `many`, where each value counts by itself: those that cannot be used are left out, and of them is what is
 * returned.
 */
enum template_outcome template_expand_usable(const struct template *template, const struct ldap_entry *entry,
                                             struct results *results, const char **attribute);

void results_add(struct results *results, const char *text);

/* Puts them into the order of their bytes and drops repeated ones: results are a set. */
void results_settle(struct results *results);

/* All of them with ", " between (a list of addresses), or whatever `separator` is. */
void results_join(const struct results *results, const char *separator, struct buf *out);

void results_free(struct results *results);

#endif
