#include "channel/spool/tag.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "channel/spool/control.h"
#include "lib/process.h"

enum {
	PID_COLUMNS = 6,
	MARK = 1 + PID_COLUMNS,    /* tag and process id */
	READ = 1 + 16,             /* the 'r' and the 16 bytes from the tag on that ZMailer wants to see */
};

/* What fits into the columns. */
#define MOST_PID 999999

/* What stands in the file now. */
struct mark {
	char tag;
	pid_t pid;        /* 0 if the columns hold none */
	bool columns;     /* false for the ancient format, where the quad follows the tag */
};

static bool mark_read(int fd, off_t offset, struct mark *mark)
{
	char bytes[READ], pid[PID_COLUMNS + 1] = { 0 };
	ssize_t n;

	do
		n = pread(fd, bytes, sizeof bytes, offset);
	while (n < 0 && errno == EINTR);
	if (n < 0)
		return false;
	if (n != sizeof bytes || bytes[0] != 'r') {
		errno = EBADMSG;
		return false;
	}
	memcpy(pid, bytes + 2, PID_COLUMNS);
	mark->tag = bytes[1];
	mark->columns = bytes[2] == ' ' || isdigit((unsigned char)bytes[2]);
	mark->pid = mark->columns ? (pid_t)strtol(pid, NULL, 10) : 0;
	return true;
}

static enum tag_result change(int fd, off_t offset, const struct mark *old, char tag, pid_t pid)
{
	char bytes[MARK] = { tag };
	size_t length = old->columns ? MARK : 1;
	ssize_t n;

	/* as %6ld prints it: a process id fits (tag_pid_fits()) */
	memset(bytes + 1, ' ', PID_COLUMNS);
	for (size_t i = PID_COLUMNS; pid > 0 && i > 0; pid /= 10)
		bytes[i--] = (char)('0' + pid % 10);
	do
		n = pwrite(fd, bytes, length, offset + 1);
	while (n < 0 && errno == EINTR);
	if (n >= 0 && (size_t)n != length)
		errno = EIO;
	return n >= 0 && (size_t)n == length ? TAG_OK : TAG_ERROR;
}

static struct flock guard(short type, off_t first, off_t last)
{
	return (struct flock){ .l_type = type, .l_whence = SEEK_SET, .l_start = first, .l_len = last - first + 1 };
}

enum tag_result tag_guard(int fd, off_t first, off_t last)
{
	struct flock lock = guard(F_WRLCK, first, last);

	if (fcntl(fd, F_SETLK, &lock) == 0)
		return TAG_OK;
	return errno == EAGAIN || errno == EACCES ? TAG_TAKEN : TAG_ERROR;
}

void tag_unguard(int fd, off_t first, off_t last)
{
	struct flock lock = guard(F_UNLCK, first, last);

	fcntl(fd, F_SETLK, &lock);
}

enum tag_result tag_lock(int fd, off_t offset, pid_t pid)
{
	struct mark mark;

	if (!tag_pid_fits(pid)) {
		errno = ERANGE;
		return TAG_ERROR;
	}
	if (!mark_read(fd, offset, &mark))
		return TAG_ERROR;
	if (mark.tag != TAG_FREE)
		return TAG_TAKEN;
	return change(fd, offset, &mark, TAG_LOCKED, pid);
}

enum tag_result tag_unlock(int fd, off_t offset, pid_t pid, char result)
{
	struct mark mark;

	if (!mark_read(fd, offset, &mark))
		return TAG_ERROR;
	if (mark.tag != TAG_LOCKED || (mark.columns && mark.pid != pid))
		return TAG_TAKEN;
	return change(fd, offset, &mark, result, 0);
}

bool tag_is(int fd, off_t offset, char tag)
{
	struct mark mark;

	return mark_read(fd, offset, &mark) && mark.tag == tag;
}

enum tag_result tag_mark(int fd, off_t offset, char result)
{
	struct mark mark;

	if (!mark_read(fd, offset, &mark))
		return TAG_ERROR;
	return mark.tag == TAG_FREE ? change(fd, offset, &mark, result, 0) : TAG_TAKEN;
}

/* ---- is it held? ---- */

/* Behind every r line that a control file can have, a byte for each process number. */
#define CLAIMS ((off_t)1 << 40)

void tag_claim(int fd, pid_t pid)
{
#ifdef F_OFD_SETLK
	/* shared, as one process may have the same file open several times */
	struct flock claim = guard(F_RDLCK, CLAIMS + pid, CLAIMS + pid);

	fcntl(fd, F_OFD_SETLK, &claim);
#else
	(void)fd, (void)pid;
#endif
}

static bool is_claimed(int fd, off_t first, off_t last)
{
#ifdef F_OFD_SETLK
	struct flock claim = guard(F_WRLCK, first, last);

	return fcntl(fd, F_OFD_GETLK, &claim) == 0 && claim.l_type != F_UNLCK;
#else
	(void)fd, (void)first, (void)last;
	return false;
#endif
}

bool tag_any_claim(int fd)
{
	return is_claimed(fd, CLAIMS, CLAIMS + MOST_PID);
}

bool tag_holder_lives(int fd, pid_t pid, const struct timespec *modified)
{
	return pid > 0 && (is_claimed(fd, CLAIMS + pid, CLAIMS + pid) ||
	                   (process_lives(pid) && !process_began_after(pid, modified)));
}

enum tag_result tag_finish(int fd, off_t offset, pid_t pid, char result, const struct timespec *modified)
{
	struct mark mark;

	if (!mark_read(fd, offset, &mark))
		return TAG_ERROR;
	if (mark.tag != TAG_LOCKED)
		return TAG_OK;
	if ((pid == 0 || mark.pid != pid) && tag_holder_lives(fd, mark.pid, modified))
		return TAG_TAKEN;
	return change(fd, offset, &mark, result, 0);
}

enum tag_result tag_break_stale(int fd, off_t offset, const struct timespec *modified)
{
	return tag_finish(fd, offset, 0, TAG_FREE, modified);
}

bool tag_pid_fits(pid_t pid)
{
	return pid > 0 && pid <= MOST_PID;
}
