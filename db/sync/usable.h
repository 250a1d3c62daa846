/*
 * Can a map keep this value?
 */
#ifndef ZL_DB_SYNC_USABLE_H
#define ZL_DB_SYNC_USABLE_H

#include "db/grammar/value.h"

/*
 * What is wrong with the value of a record, for any map or for its relation (`check`; NULL: none), as a constant text;
 * NULL if nothing is, and then *warning is what people should know of it, or NULL.
 */
const char *usable_value_fault(struct value_check *check, const struct record *record, const char **warning);

#endif
