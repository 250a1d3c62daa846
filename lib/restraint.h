/*
 * What a program and all its children together do once in a while only: to write a line of the log, to start what ended at
 * once.
 */
#ifndef ZL_LIB_RESTRAINT_H
#define ZL_LIB_RESTRAINT_H

#include <stdbool.h>
#include <stdint.h>

struct restraint;

/* `pause` in milliseconds.  Children that are forked from now on have the same one. */
struct restraint *restraint_create(int64_t pause);

/* True for the process that may do it now: none did within the pause. */
bool restraint_take(struct restraint *r);

/* True if none ever did, or it was lifted since. */
bool restraint_is_off(const struct restraint *r);

/* It may be done at any time again, as if none ever had. */
void restraint_lift(struct restraint *r);

/* Clears the caller's pointer; NULL is nothing. */
void restraint_free(struct restraint **r);

#endif
