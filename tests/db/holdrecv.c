/*
 * Preloaded into a program: the second recv(2) waits before it reads.  HOLD names two FIFOs: HOLD.at is opened for writing when
 * the call is there, and it goes on when HOLD.go was opened for writing, too.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

static void wait_at(const char *end, int how)
{
	char path[200];
	int fd;

	snprintf(path, sizeof path, "%s.%s", getenv("HOLD"), end);
	fd = open(path, how);
	if (fd >= 0)
		close(fd);
}

ssize_t recv(int fd, void *bytes, size_t n, int flags)
{
	static int calls;

	if (++calls == 2) {
		wait_at("at", O_WRONLY);
		wait_at("go", O_RDONLY);
	}
	return ((__typeof__(&recv))dlsym(RTLD_NEXT, "recv"))(fd, bytes, n, flags);
}
