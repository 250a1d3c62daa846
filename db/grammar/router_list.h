/*
 * Address lists that are good (db/grammar/members.h) and that ZMailer's router cannot read: it sends the mail to root, or,
 * where the list has several lines, leaves out the members of one (routing.md section 5.1).
 */
#ifndef ZL_DB_GRAMMAR_ROUTER_LIST_H
#define ZL_DB_GRAMMAR_ROUTER_LIST_H

#include <stdbool.h>
#include <stddef.h>

/*
 * NULL if it can read the list; else a constant text, and *offset is the byte of `value` that it is about.  `references`:
 * "%0" to "%9" are put in before it reads.
 */
const char *router_list_refused(const char *value, size_t length, bool references, size_t *offset);

#endif
