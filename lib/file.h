/*
 * Whole files.
 */
#ifndef ZL_LIB_FILE_H
#define ZL_LIB_FILE_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

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

/*
 * Replaces `path` by n bytes, so that readers see the old file or the new one; with `mode`, whatever the umask.  For
 * what may be lost when the power fails: nothing is synced (lib/publish.h does that).  The next file is made as
 * PATH.new, so nobody else may replace the same file at the same time; what a killed process left is overwritten.
 * False with errno; `path` is untouched then.
 */
bool file_replace(const char *path, const void *bytes, size_t n, mode_t mode);

#endif
