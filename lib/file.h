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

/* What file_read_path() takes at most if the buffer has no limit: nothing that we read whole is that large. */
#define FILE_LARGEST ((size_t)1024 * 1024 * 1024)

/*
 * Opens a file that must be a regular one, as what stands in its place may be a pipe or a device that never ends.  Never
 * waits.  `flags` as in open(2); what O_CREAT makes has mode 0600.  -1 with errno, EINVAL if it is no regular file.
 */
int file_open_regular(const char *path, int flags);

/* Opens `path` like that and reads it.  False with errno, EFBIG beyond out->limit or FILE_LARGEST. */
bool file_read_path(const char *path, struct buf *out);

/* The words for an errno of the two above. */
const char *file_error(int error);

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
