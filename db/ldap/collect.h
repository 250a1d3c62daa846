/*
 * What the entries of a search amount to: the values of attributes or templates, and those of the entries that they
 * refer to (groups of distinguished names or LDAP URLs, special_result_attribute).
 */
#ifndef ZL_DB_LDAP_COLLECT_H
#define ZL_DB_LDAP_COLLECT_H

#include <stdint.h>

#include "db/ldap/conf.h"
#include "db/ldap/conn.h"
#include "db/store/answer.h"
#include "lib/buf.h"

/*
 * Looks up `key` (`n` bytes, which ldapconf_fits) before `deadline` and adds to `value`: all results, in the order of
 * their bytes, each once, with ", " between.  MAP_COULD_NOT_TELL with `why`: anything but success, several entries or
 * values where one is meant, an entry without any value, a limit that was reached.
 */
enum map_answer ldap_collect(const struct ldapconf *conf, struct ldapconn *connection, const char *key, size_t n,
                             int64_t deadline, struct buf *value, struct buf *why) MAP_MUST_LOOK;

#endif
