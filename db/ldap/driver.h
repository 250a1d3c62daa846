/*
 * What LDAP maps are to the programs that ask them: one shared object (zlmtp-ldap.so, lib/module) with libldap behind it.
 */
#ifndef ZL_DB_LDAP_DRIVER_H
#define ZL_DB_LDAP_DRIVER_H

#include <stddef.h>

#include "db/store/answer.h"
#include "lib/buf.h"

struct ldap_source;      /* a directory, as one config file has it, and what is kept of its answers */

#define LDAP_DRIVER_VERSION 1

struct ldap_driver {
	unsigned version;

	/* Reads the config file.  EX_OK; EX_CONFIG or EX_NOINPUT with `why`, which names file and line. */
	int (*open)(struct ldap_source **source, const char *path, struct buf *why);

	/* Adds the value to `value`.  MAP_COULD_NOT_TELL with `why`.  The first lookup connects. */
	enum map_answer (*find)(struct ldap_source *source, const char *key, size_t n, struct buf *value, struct buf *why);

	void (*close)(struct ldap_source *source);
};

/* What the shared object exports under the name "zlmtp_ldap_driver". */
extern const struct ldap_driver zlmtp_ldap_driver;

#endif
