/*
 * The lock and result mark of one recipient: 7 bytes in place in the control
 * file (spool.md sections 5 and 8).  Byte-compatible with ZMailer's lockaddr.
 *
 * `fd` must not be O_APPEND: on Linux pwrite(2) would then append.  control_open()
 * gives such a descriptor.
 */
#ifndef ZL_CHANNEL_SPOOL_TAG_H
#define ZL_CHANNEL_SPOOL_TAG_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>
#include <time.h>

enum tag_result {
	TAG_OK,
	TAG_TAKEN,     /* the tag in the file is not the expected one; nothing was written */
	TAG_ERROR,     /* I/O trouble, errno set; EBADMSG if no recipient line stands there */
};

/*
 * Guards a series of tag_lock() calls on one file against our own other
 * processes by one advisory fcntl(2) lock over the bytes first..last.  Does not wait
 * longer than a moment: returns TAG_TAKEN if another holds it.
 */
enum tag_result tag_guard(int fd, off_t first, off_t last);
void tag_unguard(int fd, off_t first, off_t last);

/*
 * Blank to "~" and `pid`, for the recipient whose 'r' stands at `offset`; the tag is
 * read from the file at this moment.  `pid` must be below 1,000,000
 * (see tag_pid_fits()).
 */
enum tag_result tag_lock(int fd, off_t offset, pid_t pid);

/*
 * Says that process `pid` lives as long as `fd` is open, for the "~" marks of that number in this file: a number alone
 * may be another process's after a crash.  A file system without such locks is no obstacle.
 */
void tag_claim(int fd, pid_t pid);

/* True if a process that called it still has the file open, whether or not it has locked anything in it by now. */
bool tag_any_claim(int fd);

/*
 * Does the process live that wrote a "~" with `pid`?  By tag_claim(); without that by the number, if the process of that
 * number began before `modified`, the clock_past() of the file.
 */
bool tag_holder_lives(int fd, pid_t pid, const struct timespec *modified);

/* "~" to `mark` (TAG_FREE, TAG_DONE or TAG_FAILED) and six blanks, if the lock is `pid`'s. */
enum tag_result tag_unlock(int fd, off_t offset, pid_t pid, char mark);

/* True if the tag in the file is `tag`; false also if it cannot be read. */
bool tag_is(int fd, off_t offset, char tag);

/*
 * For the scheduler's side only: frees a lock whose holder is gone (spool.md section 11); `modified` is when the file was
 * changed last, before the first call on it.  TAG_OK if it is not locked any more, TAG_TAKEN if the holder lives.
 */
enum tag_result tag_break_stale(int fd, off_t offset, const struct timespec *modified);

/*
 * For the scheduler's side only: writes the mark that agent `pid` has reported and could not write itself, so that its
 * lock still stands there, or that of a process that is gone.  TAG_OK also if there is no lock; TAG_TAKEN if it is that of
 * another living process.
 */
enum tag_result tag_finish(int fd, off_t offset, pid_t pid, char mark, const struct timespec *modified);

/* For the scheduler's side only: blank to `mark`, for a recipient that no agent was given. */
enum tag_result tag_mark(int fd, off_t offset, char mark);

/* The lock has six columns; a process with a larger pid must not lock (spool.md section 8). */
bool tag_pid_fits(pid_t pid);

#endif
