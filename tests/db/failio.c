/*
 * Preloaded into a program: makes one call fail.  FAIL_CALL is NAME:N:ERRNO; the Nth call of NAME fails so: pwrite, write,
 * fsync, rename, pread, read, reads (both), open, link, unlink, ftruncate, fork, malloc.  With "+" behind N all further ones do
 * so, too.  An ERRNO below 0 is a signal that ends the process; with 0 the call never comes to an end.
 * If FAIL_PATH is the end of a path, "reads" are those of such files.
 * If FAIL_WHILE names a file, calls are neither counted nor made to fail without it.
 * If FAIL_COUNT names a file, it is made when that happens.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <netdb.h>
#include <pwd.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <unistd.h>

static int within;       /* the name service of glibc 2.36 does not survive a lack of memory */

static int fails(const char *name)
{
	static int left = -1, number, further;
	static char wanted[32];
	const char *as_long_as = getenv("FAIL_WHILE");

	if (left < 0) {
		const char *call = getenv("FAIL_CALL");
		char plus = ':';

		left = 0;
		if (call != NULL)
			sscanf(call, "%31[^:]:%d%c", wanted, &left, &plus);
		further = plus == '+';
		if (left > 0)
			number = atoi(strrchr(call, ':') + 1);
	}
	if (left == 0 || within || strcmp(wanted, name) != 0)
		return 0;
	if (as_long_as != NULL && syscall(SYS_faccessat, AT_FDCWD, as_long_as, F_OK) != 0)
		return 0;
	if (--left > 0)
		return 0;
	left = further;
	if (getenv("FAIL_COUNT") != NULL)
		close((int)syscall(SYS_openat, AT_FDCWD, getenv("FAIL_COUNT"), O_WRONLY | O_CREAT, 0600));
	while (number == 0)
		pause();
	if (number < 0)
		kill(getpid(), -number);
	errno = number;
	return 1;
}

static int reads_fail(int fd)
{
	const char *end = getenv("FAIL_PATH");
	char link[64], path[4096];
	ssize_t n;

	if (end != NULL) {
		snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
		n = readlink(link, path, sizeof path);
		if (n < (ssize_t)strlen(end) || memcmp(path + n - strlen(end), end, strlen(end)) != 0)
			return 0;
	}
	return fails("reads");
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

int syncfs(int fd)
{
	return fails("fsync") ? -1 : REAL(syncfs)(fd);
}

int rename(const char *from, const char *to)
{
	return fails("rename") ? -1 : REAL(rename)(from, to);
}

int renameat(int from_directory, const char *from, int to_directory, const char *to)
{
	return fails("rename") ? -1 : REAL(renameat)(from_directory, from, to_directory, to);
}

int renameat2(int from_directory, const char *from, int to_directory, const char *to, unsigned flags)
{
	return fails("rename") ? -1 : REAL(renameat2)(from_directory, from, to_directory, to, flags);
}

ssize_t pread(int fd, void *bytes, size_t n, off_t offset)
{
	return fails("pread") || reads_fail(fd) ? -1 : REAL(pread)(fd, bytes, n, offset);
}

ssize_t pread64(int fd, void *bytes, size_t n, off64_t offset)
{
	return fails("pread") || reads_fail(fd) ? -1 : REAL(pread64)(fd, bytes, n, offset);
}

ssize_t read(int fd, void *bytes, size_t n)
{
	return fails("read") || reads_fail(fd) ? -1 : REAL(read)(fd, bytes, n);
}

static mode_t mode_of(int flags, va_list ap)
{
	return (flags & (O_CREAT | O_TMPFILE)) != 0 ? va_arg(ap, mode_t) : 0;
}

#define OPEN(name) \
	int name(const char *path, int flags, ...) \
	{ \
		va_list ap; \
		mode_t mode; \
		va_start(ap, flags); \
		mode = mode_of(flags, ap); \
		va_end(ap); \
		return fails("open") ? -1 : REAL(name)(path, flags, mode); \
	}

#define OPENAT(name) \
	int name(int directory, const char *path, int flags, ...) \
	{ \
		va_list ap; \
		mode_t mode; \
		va_start(ap, flags); \
		mode = mode_of(flags, ap); \
		va_end(ap); \
		return fails("open") ? -1 : REAL(name)(directory, path, flags, mode); \
	}

OPEN(open)
OPEN(open64)
OPENAT(openat)
OPENAT(openat64)

int link(const char *from, const char *to)
{
	return fails("link") ? -1 : REAL(link)(from, to);
}

int unlink(const char *path)
{
	return fails("unlink") ? -1 : REAL(unlink)(path);
}

int ftruncate(int fd, off_t size)
{
	return fails("ftruncate") ? -1 : REAL(ftruncate)(fd, size);
}

int ftruncate64(int fd, off64_t size)
{
	return fails("ftruncate") ? -1 : REAL(ftruncate64)(fd, size);
}

pid_t fork(void)
{
	return fails("fork") ? -1 : REAL(fork)();
}

#define NAMES(type, name, parameter) \
	struct type *name(parameter key) \
	{ \
		struct type *found; \
		within++; \
		found = REAL(name)(key); \
		within--; \
		return found; \
	}

NAMES(passwd, getpwnam, const char *)
NAMES(passwd, getpwuid, uid_t)
NAMES(group, getgrnam, const char *)
NAMES(group, getgrgid, gid_t)

int getaddrinfo(const char *node, const char *service, const struct addrinfo *hints, struct addrinfo **list)
{
	int result;

	within++;
	result = REAL(getaddrinfo)(node, service, hints, list);
	within--;
	return result;
}

/* dlsym() itself takes memory: these have names of their own in glibc */
extern void *__libc_malloc(size_t n);
extern void *__libc_calloc(size_t n, size_t size);
extern void *__libc_realloc(void *old, size_t n);

void *malloc(size_t n)
{
	return fails("malloc") ? NULL : __libc_malloc(n);
}

void *calloc(size_t n, size_t size)
{
	return fails("malloc") ? NULL : __libc_calloc(n, size);
}

void *realloc(void *old, size_t n)
{
	return fails("malloc") ? NULL : __libc_realloc(old, n);
}
