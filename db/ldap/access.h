/*
 * How to reach a directory: the settings about servers, TLS, authentication and patience, which LDAP maps and
 * ldapsync have in common (ldap_map(5)).
 */
#ifndef ZL_DB_LDAP_ACCESS_H
#define ZL_DB_LDAP_ACCESS_H

#include <stdbool.h>

#include "lib/buf.h"
#include "lib/settings.h"

enum ldap_bind {
	LDAP_BIND_NONE,
	LDAP_BIND_SIMPLE,
	LDAP_BIND_SASL,
};

/* Texts are NULL where nothing was said. */
struct ldap_access {
	char **uris;             /* one server each, tried in this order */
	enum ldap_bind bind;
	char *binddn;
	char *password;
	char *password_file;
	char *sasl_mechanism;
	char *sasl_realm;
	char *sasl_authcid;
	char *sasl_authzid;
	char *sasl_properties;
	bool start_tls;
	bool verify;             /* the server's certificate and the name in it */
	bool clear_password;     /* the password may cross a network unencrypted */
	char *ca_file;
	char *ca_directory;
	char *certificate;
	char *key;
	char *ciphers;
	long network_timeout;    /* seconds for connect, TLS and bind with one server */
	long timeout;            /* seconds for a whole lookup, whatever happens in it */
	long keepalive;          /* seconds of silence before TCP probes the other end; 0: never */
	unsigned long debug;     /* libldap's debug level */
};

/* The settings_name of these settings. */
const char *ldap_access_name(const char *word);

/*
 * Takes those of `settings` that ldap_access_name() knows, reads the password file, and checks what belongs together.
 * `file` is named where no single line is to blame.  0, EX_CONFIG or EX_NOINPUT with `why`; ldap_access_free() in
 * either case.
 */
int ldap_access_take(struct ldap_access *access, const struct settings *settings, const char *file, struct buf *why);

/* True if one connection can serve both. */
bool ldap_access_equal(const struct ldap_access *a, const struct ldap_access *b);

void ldap_access_copy(struct ldap_access *to, const struct ldap_access *from);
void ldap_access_free(struct ldap_access *access);

#endif
