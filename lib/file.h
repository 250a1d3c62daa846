/*
 * Whole files.
 */
#ifndef ZL_FILE_H
#define ZL_FILE_H

#include <stdbool.h>
#include <stddef.h>

#include "lib/buf.h"

/*
 * Adds all bytes from fd up to its end to `out`; room for a regular file is taken once.  False with errno (EFBIG
 * at out->limit).
 */
bool file_read(int fd, struct buf *out);

/* Opens `path` and reads it.  False with errno. */
bool file_read_path(const char *path, struct buf *out);

/* Writes all of n bytes.  False with errno; some may be written then. */
bool file_write(int fd, const void *bytes, size_t n);

#endif
