/*
 * The config file of ldapsync (ldapsync(8)): how to reach the directory, which map to keep, and the rules.
 */
#ifndef ZL_DB_SYNC_SYNCCONF_H
#define ZL_DB_SYNC_SYNCCONF_H

#include <stddef.h>

#include "db/ldap/access.h"
#include "db/sync/mapsetting.h"
#include "db/sync/rule.h"
#include "lib/buf.h"

struct syncconf {
	struct ldap_access access;
	struct mapsetting map;
	struct template *unclear;        /* the value of unclear keys; NULL: they stay as they are */
	long silence;                    /* seconds without a word of the server before it is asked whether it lives */
	long compare;                    /* seconds between comparisons of the whole; 0: only when there is reason to */
	struct sync_rule *rules;
	size_t rule_count;
	char *domains;                   /* the file of served domains; NULL: none is kept */
	struct template *domains_format; /* of its lines, with {domain} */
	char **domains_command;          /* run after it has changed; NULL: none */
};

/* 0, or EX_NOINPUT (unreadable) or EX_CONFIG with `why` naming file and line.  Free by syncconf_free() in either case. */
int syncconf_read(struct syncconf *conf, const char *path, struct buf *why);

/* The same from `n` bytes of text, and `path` is only named; without text from the file. */
int syncconf_parse(struct syncconf *conf, const char *path, const char *text, size_t n, struct buf *why);

void syncconf_free(struct syncconf *conf);

#endif
