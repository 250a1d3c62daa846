/*
 * What needs a library that most sites do without (LDAP, SQL) is a shared object, loaded when a map of that type is opened, so
 * that no program is linked with a library that it does not need.
 */
#ifndef ZL_LIB_MODULE_H
#define ZL_LIB_MODULE_H

#include "lib/buf.h"

/*
 * The operations that zlmtp-TYPE.so beside this program exports as `symbol`, loaded once: a struct whose first member, an
 * unsigned int, is `version`.  NULL with `why`.
 */
const void *module_load(const char *type, const char *symbol, unsigned version, struct buf *why);

/* Before the definition of what a shared object exports; all else in it is hidden. */
#define MODULE_EXPORT __attribute__((visibility("default")))

#endif
