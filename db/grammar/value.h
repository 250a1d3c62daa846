/*
 * Are the values of a map what its relation needs (maps.md section 3.2, routing.md sections 3 to 5)?
 *
 * A mistake in a value shows itself otherwise only when mail comes: as an error message to root, or a message on an odd
 * route.
 */
#ifndef ZL_DB_GRAMMAR_VALUE_H
#define ZL_DB_GRAMMAR_VALUE_H

#include <stdbool.h>

#include "db/store/records.h"
#include "lib/pool.h"

enum value_kind {
	VALUE_ANY,
	VALUE_ADDRESSES,       /* aliases, fqdnaliases, fqdnaliasesldap, userdb, fullnamemap */
	VALUE_ROUTE,           /* fqdnroutes, routesdb */
	VALUE_DOMAIN,          /* thishost: nothing, or a domain */
	VALUE_MAILBOX,         /* mboxmap: host:directory:user */
};

struct value_check {
	enum value_kind kind;
	bool references;       /* -%: "%0" to "%9" are put in */
	bool router;           /* ZMailer's router reads the map: what it cannot read is a warning */
	int known;             /* bit n: ZMailer has an argument for "%n" in this relation */
	struct pool pool;
};

/* What a relation of this name needs; VALUE_ANY for all others.  `references`: its lookup options have -%. */
void value_check_for(struct value_check *check, const char *relation, bool references, bool router);

/* A text_check; the context is a struct value_check. */
bool value_is_good(void *context, const struct record *record, size_t *offset, const char **why, bool *is_warning);

void value_check_free(struct value_check *check);

#endif
