/*
 * Rules: which entries of a directory become which records of a map, and which domains are served.
 */
#ifndef ZL_DB_SYNC_RULE_H
#define ZL_DB_SYNC_RULE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "db/ldap/entry.h"
#include "db/ldap/template.h"
#include "lib/buf.h"

struct sync_rule {
	char *name;
	char *base;
	char *filter;
	int scope;                       /* LDAP_SCOPE_... */
	struct template *key;            /* NULL: no records, domains only */
	struct template *value;
	bool many_values;
	struct template *domain;         /* NULL: it names no domains of its own */
	bool keys_name_domains;          /* the domains of the keys are served */
	char **attributes;               /* that are asked for */
	char *definition;                /* all that the yield depends on as text: tells whether a rule is the one of last time */
};

/* One record that an entry wants.  `value` NULL: it does, but which value cannot be told. */
struct wanted {
	char *key;
	char *value;
};

/* What an entry amounts to; zeroed it is empty. */
struct yield {
	struct wanted *records;
	size_t count;
	char **domains;                  /* lower case, NULL at the end; NULL if there are none */
	uint64_t version;                /* stands for the entryCSN of the entry; 0: not known, or not all of it could be used */
	bool lacks_keys;                 /* there are more of them, which cannot be used */
	bool lacks_domains;
};

/*
 * Sets *yield to what the rule makes of an entry, keys folded as `folding` says ('l', 'u' or '-').  False with `why`
 * if a part of it cannot be made: then records whose key is known have no value, those whose key is not are missing, and so
 * are such domains.
 */
bool rule_apply(const struct sync_rule *rule, const struct ldap_entry *entry, char folding, struct yield *yield,
                struct buf *why);

/* What stands for the entryCSN of an entry; 0 if it has none that may be read. */
uint64_t rule_version(const struct ldap_entry *entry);

/* Adds a key whose value cannot be told, unless the key is there. */
void yield_add_unclear(struct yield *yield, const char *key);

void yield_free(struct yield *yield);

void rule_free(struct sync_rule *rule);

#endif
