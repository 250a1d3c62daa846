/*
 * Whole files.
 */
#ifndef ZL_LIB_FILE_H
#define ZL_LIB_FILE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <sys/types.h>

#include "lib/buf.h"

struct stat;

/*
 * Opens a file that must be a regular one, as what stands in its place may be a pipe or a device that never ends.  Never
 * waits.  `flags` as in open(2); what O_CREAT makes has mode 0600.  -1 with errno, EINVAL if it is no regular file.
 */
int file_open_regular(const char *path, int flags);

/*
 * The same for a file of ours that may be made (O_CREAT), in a directory that may belong to another user: a symbolic link
 * is not followed, and by root a file with a second name is refused (EMLINK), since it may be another user's.
 */
int file_open_own(const char *path, int flags, mode_t mode);

/*
 * For the calls that take a directory and a name (openat(2), renameat(2)), in directories where another user may put a link in
 * the place of one at any moment: the directory of `path`, in which *name is its last part.  Root follows no link on the way
 * to it: -1 with errno then, ENOTDIR for a link.  For others it is AT_FDCWD, and *name all of `path`, as they reach nothing by
 * a link that they do not reach without.  What comes is taken back by file_directory_close(), which leaves errno alone.
 */
int file_directory_found(const char *path, const char **name);
void file_directory_close(int at);

/* fsync(2) of the directory that holds `name`, below directory `at`.  False with errno. */
bool file_sync_directory(int at, const char *name);

/*
 * The directory of the file that was found last, open for the next one, for one walk through many; zeroed at first.  Only root
 * has a use for it (file_directory_found()).
 */
struct file_place {
	bool is_open;
	int at;
	size_t length;             /* of its name */
	char directory[256];
};

void file_place_close(struct file_place *place);

/*
 * Opens a regular file to read it that another user may have put there: a symbolic link is not followed, by root in no part
 * of the path, and by root a file with a second name is refused (EMLINK): it may be anybody's.  Never waits.  *st becomes what
 * fstat(2) says.
 */
int file_open_found(const char *path, struct stat *st);

/* lstat(2) of such a file.  False with the errno that file_open_found() would have.  `place` may be NULL. */
bool file_look_found(const char *path, struct stat *st, struct file_place *place);

/*
 * Removes such a file; also true if there is none, or, for root, if it is below a link and so none of ours.  False with errno.
 * `place` may be NULL.
 */
bool file_remove_found(const char *path, struct file_place *place);

/* True if root alone can put something into the directory of `path`. */
bool file_is_of_root_alone(const char *path);

/*
 * open(2) and chdir(2) for a directory that may have been put there by another user: root follows a link in its place (ENOTDIR)
 * only if root alone can have put it there.
 */
int file_open_directory(const char *path, int flags);
bool file_enter_directory(const char *path);

/*
 * For libraries that open and make files by name, in directories where a stranger may have put a link: root takes the rights
 * of the owner of `path` until file_as_oneself(), in this thread and for files alone, unless the directory is root's alone.
 * Nothing happens for others than root.
 */
void file_as_owner(const char *path);
void file_as_user(uid_t uid, gid_t gid);
void file_as_oneself(void);

/* `path` with the working directory in front if it is relative, to be named from any directory.  Allocated; NULL for NULL. */
char *file_absolute(const char *path);

/* The directory of `path`, allocated: "." without a slash. */
char *file_directory(const char *path);

/* The path of `name` in that directory, allocated; `name` alone without a slash. */
char *file_beside(const char *path, const char *name);

/* What stands behind its last slash. */
const char *file_name(const char *path);

/*
 * True if there is no such file.  What cannot be looked at (no right, links in a circle, a disk that cannot be read) may well
 * be there, and is not missing.  errno is that of access(2).
 */
bool file_is_missing(const char *path);

/*
 * True if `path` is a regular file, or /dev/null, that may be read, for libraries that open it themselves and would wait for
 * ever for the other end of a pipe.  False with errno.
 */
bool file_can_be_read(const char *path);

/* True if both tell of the same file, whatever its name and content. */
bool file_is_same(const struct stat *a, const struct stat *b);

/* True if two times of files are the same to the nanosecond. */
bool file_is_same_time(const struct timespec *a, const struct timespec *b);

/* True if `path` is still a name of the open file `fd`; a symbolic link to it is none. */
bool file_is_named(int fd, const char *path);

/*
 * True if both tell of the same file with the same content, as far as size and times show: that of the inode is never set back.
 */
bool file_is_unchanged(const struct stat *before, const struct stat *now);

/*
 * False with `why` if others than owner and group may read the open file `path`, or others than the owner write it: it holds a
 * password.
 */
bool file_is_private(int fd, const char *path, struct buf *why);

/* The words for an errno of the functions here. */
const char *file_error(int error);

/*
 * Adds all bytes from fd up to its end to `out`; room for a regular file is taken once.  False with errno (EFBIG
 * at out->limit, and for a sparse file beyond FILE_LARGEST).
 */
bool file_read(int fd, struct buf *out);

/*
 * True for a file beyond FILE_LARGEST that is not all there (a sparse one): it seems to be as large as one likes, and fits into
 * no memory.  No text has holes, which read as NUL bytes.
 */
bool file_seems_endless(int fd, const struct stat *st);

/* False, with errno, for a device that gives bytes for ever, as /dev/zero and /dev/full do (EINVAL). */
bool file_ends(int fd);

/* What file_read_path() takes at most if the buffer has no limit: nothing that we read whole is that large. */
#define FILE_LARGEST ((size_t)1024 * 1024 * 1024)

/*
 * Opens `path` as file_open_regular() does and reads it; /dev/null is an empty file.  False with errno, EFBIG beyond out->limit
 * or FILE_LARGEST.
 */
bool file_read_path(const char *path, struct buf *out);

/*
 * The same, but not from what is kept in memory of it, unless that waits to be written: what a sync could not write stands there
 * as if it were on the disk, and the next sync has no error any more (fsync(2)).
 */
bool file_read_from_disk(const char *path, struct buf *out);

/* The same for a file that people write: it comes without byte order mark, its lines end in LF (text_unmark()). */
bool file_read_text(const char *path, struct buf *out);

/*
 * getline(3) for lines that people write: the line comes without its end (LF or CR LF), the first one (*number is 0) without
 * byte order mark, and is counted in *number.  Returns its length, or -1 at the end and on errors.
 */
ssize_t file_getline(FILE *f, char **line, size_t *size, size_t *number);

/* Writes all of n bytes.  False with errno; some may be written then. */
bool file_write(int fd, const void *bytes, size_t n);

/*
 * Replaces `path` by n bytes, so that readers see the old file or the new one; with `mode`, whatever the umask.  For
 * what may be lost when the power fails: nothing is synced (lib/publish.h does that).  The next file is made as
 * PATH.new, so only one process may replace the same file at a time; what a killed process left is overwritten.
 * False with errno; `path` is untouched then.
 */
bool file_replace(const char *path, const void *bytes, size_t n, mode_t mode);

/* The same for what need not be in memory as a whole: `write` writes it to fd, or returns false with errno. */
typedef bool file_writer(void *context, int fd);
bool file_replace_by(const char *path, mode_t mode, file_writer *write, void *context);

#endif
