/*
 * Users and groups by their names.
 */
#ifndef ZL_LIB_ACCOUNT_H
#define ZL_LIB_ACCOUNT_H

#include <sys/types.h>

#include "lib/buf.h"

/* Adds the name, or the number where there is none. */
void account_add_user(struct buf *out, uid_t uid);
void account_add_group(struct buf *out, gid_t gid);

#endif
