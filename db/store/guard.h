/*
 * Reading memory that may not be there: a file that is mapped and was cut off by another process, or whose damaged bytes lead
 * LMDB astray, is to give "could not tell", not a signal.
 */
#ifndef ZL_DB_STORE_GUARD_H
#define ZL_DB_STORE_GUARD_H

#include <stdbool.h>

/* Takes over the signals, if they are not ours yet: once before the first guarded read. */
void guard_install(void);

/*
 * Calls read(context).  True when it returns; false if it was left because of SIGBUS, SIGSEGV or guard_leave().  What is
 * read must not hold locks or change anything but `context` while it touches such memory; it may be left at any of these
 * touches.  Not nested.  A fault outside goes on to the handler that was there before.
 */
bool guard_read(void (*read)(void *context), void *context);

/* Leaves the guarded read, as a failed assertion in a library must; abort() if there is none. */
_Noreturn void guard_leave(void);

#endif
