/*
 * Does the server's synchronization show all entries?
 *
 * OpenLDAP leaves out of a refresh what is newer than its own mark (contextCSN).  A directory that was loaded from a
 * backup without a new mark (slapadd without -w) so hides its newest entries, and a copy would lose them without a
 * word.  So whenever everything is read, an ordinary search counts the entries first, and afterwards all of them must
 * be there, or be gone from the directory.
 */
#ifndef ZL_DB_SYNC_CENSUS_H
#define ZL_DB_SYNC_CENSUS_H

#include <stdbool.h>
#include <stddef.h>

#include <ldap.h>

#include "db/sync/content.h"
#include "db/sync/control.h"
#include "db/sync/rule.h"
#include "lib/buf.h"

/* Zeroed it is empty. */
struct census {
	struct sync_uuid *uuids;
	size_t count;
	size_t capacity;
};

/*
 * Adds the entries that the rule's filter finds; a server that keeps no entryUUIDs has an empty census.  `timeout` is
 * the longest silence in seconds.  LDAP_SUCCESS, or the code of what went wrong.
 */
int census_take(LDAP *ld, const struct sync_rule *rule, long timeout, struct census *census);

/*
 * *hidden becomes the number of entries of the census that are not in `content` as entries of rule number `number`
 * though the directory has them still; it is not counted beyond a few.  LDAP_SUCCESS, or the code of what went wrong.
 */
int census_check(LDAP *ld, const struct sync_rule *rule, long timeout, const struct census *census,
                 const struct content *content, unsigned number, size_t *hidden);

void census_free(struct census *census);

#endif
