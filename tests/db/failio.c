/*
 * Preloaded into a program: makes one call fail.  FAIL_CALL is NAME:N:ERRNO; the Nth call of NAME (pwrite, write,
 * fsync, rename, pread, read) fails so.  If FAIL_COUNT names a file, a byte is added to it when that happens.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>
#include <unistd.h>

static int fails(const char *name)
{
	static int left = -1, number;
	static char wanted[32];

	if (left < 0) {
		const char *call = getenv("FAIL_CALL");

		left = 0;
		if (call != NULL)
			sscanf(call, "%31[^:]:%d:%d", wanted, &left, &number);
	}
	if (left == 0 || strcmp(wanted, name) != 0 || --left > 0)
		return 0;
	if (getenv("FAIL_COUNT") != NULL)
		close(open(getenv("FAIL_COUNT"), O_WRONLY | O_CREAT, 0600));
	errno = number;
	return 1;
}

#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

ssize_t pwrite(int fd, const void *bytes, size_t n, off_t offset)
{
	return fails("pwrite") ? -1 : REAL(pwrite)(fd, bytes, n, offset);
}

ssize_t pwrite64(int fd, const void *bytes, size_t n, off64_t offset)
{
	return fails("pwrite") ? -1 : REAL(pwrite64)(fd, bytes, n, offset);
}

ssize_t write(int fd, const void *bytes, size_t n)
{
	return fd > 2 && fails("write") ? -1 : REAL(write)(fd, bytes, n);
}

int fsync(int fd)
{
	return fails("fsync") ? -1 : REAL(fsync)(fd);
}

int fdatasync(int fd)
{
	return fails("fsync") ? -1 : REAL(fdatasync)(fd);
}

int rename(const char *from, const char *to)
{
	return fails("rename") ? -1 : REAL(rename)(from, to);
}

ssize_t pread(int fd, void *bytes, size_t n, off_t offset)
{
	return fails("pread") ? -1 : REAL(pread)(fd, bytes, n, offset);
}

ssize_t pread64(int fd, void *bytes, size_t n, off64_t offset)
{
	return fails("pread") ? -1 : REAL(pread64)(fd, bytes, n, offset);
}

ssize_t read(int fd, void *bytes, size_t n)
{
	return fails("read") ? -1 : REAL(read)(fd, bytes, n);
}
