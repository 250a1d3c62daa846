/*
 * Memory that is there or ends the program.
 *
 * None of these returns NULL: when memory runs out, the program says so in one
 * line and exits with EX_OSERR.  For a transport agent that is a deferral, as
 * the scheduler keeps every recipient it has no report for.
 */
#ifndef ZL_LIB_ALLOC_H
#define ZL_LIB_ALLOC_H

#include <stddef.h>

void *xmalloc(size_t size);
void *xcalloc(size_t count, size_t size);
void *xrealloc(void *p, size_t size);

/* Like xrealloc for `count` elements of `size` bytes; overflow counts as out of memory. */
void *xreallocarray(void *p, size_t count, size_t size);

char *xstrdup(const char *s);
char *xstrndup(const char *s, size_t n);
char *xasprintf(const char *format, ...) __attribute__((format(printf, 1, 2)));

/*
 * Makes room for element number `used` in a growing array: doubles *capacity
 * when it is full.  Returns the array, moved or not.
 */
void *xgrow(void *array, size_t used, size_t *capacity, size_t size);

/*
 * For a step that cannot be taken back: from now on "out of memory" says that `path` is in place, as what memory is missing for
 * comes behind that.  NULL: no longer.
 */
void alloc_in_place(const char *path);

/* What all of these end with. */
_Noreturn void alloc_die(void);

#endif
