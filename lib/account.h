/*
 * Users and groups by their names.
 */
#ifndef ZL_LIB_ACCOUNT_H
#define ZL_LIB_ACCOUNT_H

#include <stdbool.h>
#include <sys/types.h>

#include "lib/buf.h"

/* Adds the name, or the number where there is none. */
void account_add_user(struct buf *out, uid_t uid);
void account_add_group(struct buf *out, gid_t gid);

/* The user or group that a text names, or gives the number of.  False if there is no such name. */
bool account_find_user(const char *text, uid_t *uid);
bool account_find_group(const char *text, gid_t *gid);

/*
 * Root becomes the owner of a directory, for good, so that what it makes there is the owner's; others, and root where root
 * is the owner, stay what they are.  False with errno and, in `name`, whom it could not become.
 */
bool account_become_owner(const char *directory, struct buf *name);

/* The uid of the user without rights of its own. */
long account_nobody(void);

#endif
