/*
 * References "%0" to "%9" in the values of maps (routing.md section 3), with "%%" for a '%'.
 *
 * One pass from left to right; what was put in is not looked at again.  A reference without an argument
 * becomes nothing; '%' in front of any other byte, or at the end, stays.
 *
 * Arguments come from addresses, so from strangers.  In the user of a route, and in an address list, they must not be
 * able to become syntax: a local part is filled in as content and gets quotes as a whole if it needs them.
 */
#ifndef ZL_DB_ROUTE_SUBSTITUTE_H
#define ZL_DB_ROUTE_SUBSTITUTE_H

#include <stdbool.h>

#include "lib/buf.h"
#include "lib/pool.h"

/* [0] the key that matched, [1] user, [2] tail with its '+', [3] "@domain", [4] domain, [5] the whole address. */
struct arguments {
	const char *text[10];      /* NULL where there is none */
};

/* True if the value holds a reference or "%%". */
bool substitute_needed(const char *value);

/* Adds `value` with everything put in. */
void substitute(struct buf *out, const char *value, const struct arguments *arguments);

/*
 * Only "%0", "%3", "%4" and "%5", whose arguments are addresses and domains in their proper form; "%1", "%2" and "%%"
 * stay for substitute_content(), and so does every '%' that was put in.
 */
void substitute_syntax(struct buf *out, const char *value, const struct arguments *arguments);

/* The rest: user and tail, as content of a local part, and "%%". */
void substitute_content(struct buf *out, const char *value, const struct arguments *arguments);

/*
 * Adds the user of a route, filled in.  A local part into which a user or tail comes that needs quotes
 * becomes one quoted string.  False if such text would come behind the '@'.
 */
bool substitute_user(struct pool *pool, struct buf *out, const char *value, const struct arguments *arguments);

#endif
