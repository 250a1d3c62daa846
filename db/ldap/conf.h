/*
 * The config file of an LDAP map: ZMailer's keywords (maps.md section 11.1) and those of Postfix's ldap_table(5),
 * described in ldap_map(5).
 */
#ifndef ZL_DB_LDAP_CONF_H
#define ZL_DB_LDAP_CONF_H

#include <stdbool.h>

#include "db/ldap/access.h"
#include "db/ldap/key.h"
#include "db/ldap/template.h"
#include "lib/buf.h"

/* When the results of a template count. */
enum result_kind {
	RESULT_ALWAYS,
	RESULT_LEAF,         /* in entries that refer to no others */
	RESULT_TERMINAL,     /* and then nothing else does */
};

struct ldap_result {
	enum result_kind kind;
	struct template *template;
};

struct ldapconf {
	struct ldap_access access;
	struct pattern base;
	struct pattern filter;
	int scope;                        /* LDAP_SCOPE_... */
	int dereference;                  /* LDAP_DEREF_... */
	struct ldap_result *results;
	size_t result_count;
	char **special;                   /* attributes that refer to other entries; NULL if there are none */
	char **attributes;                /* all that are asked for */
	bool many_entries;                /* several entries are no conflict */
	bool many_values;                 /* nor several values */
	unsigned long size_limit;         /* entries of one search; 0: none */
	unsigned long recursion_limit;    /* depth of references */
	unsigned long expansion_limit;    /* results of a lookup; 0: none */
	char **domains;                   /* of the keys that are looked up at all; NULL: any */
	long cache_expiry;                /* seconds; 0: what was found is not kept */
	long cache_negative_expiry;
	unsigned long cache_size;         /* answers */
};

/*
 * Reads `path`.  0, or EX_NOINPUT (unreadable) or EX_CONFIG with `why` naming file and line.  Free by
 * ldapconf_free() in either case.
 */
int ldapconf_read(struct ldapconf *conf, const char *path, struct buf *why);

/* The same from `n` bytes of text, and `path` is only named; without text from the file. */
int ldapconf_parse(struct ldapconf *conf, const char *path, const char *text, size_t n, struct buf *why);

void ldapconf_free(struct ldapconf *conf);

/* True if the lookup of `key` can find anything: right domain, all parts that the patterns want. */
bool ldapconf_fits(const struct ldapconf *conf, const char *key, size_t n);

/*
 * 0, or EX_CONFIG with `why` if `text` is no filter (RFC 4515) or no distinguished name (RFC 4514); `example` is one that is.
 */
int ldap_check_filter(const struct setting *setting, const char *text, const char *example, struct buf *why);
int ldap_check_dn(const struct setting *setting, const char *text, struct buf *why);

#endif
