#include "channel/queue/watch.h"

#ifdef __linux__

#include <errno.h>
#include <limits.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <unistd.h>

#include "channel/queue/walk.h"
#include "channel/spool/control.h"

/* Where each watch stands: a watch's number is small and grows, so it is the index. */
enum { DIRECTORIES = 4096 };
static char prefixes[DIRECTORIES][5];

/*
 * Watches a directory and those below it; `prefix` is "", "Y/" or "Y/K/".  Names of directories are tried, as to read a
 * directory with a million files in it for them would keep the first mail waiting.
 */
static bool watch(int fd, const char *prefix)
{
	size_t n = strlen(prefix);
	char path[8];
	bool ok = true;
	int wd;

	snprintf(path, sizeof path, "%.*s", n > 0 ? (int)n - 1 : 1, n > 0 ? prefix : ".");
	wd = inotify_add_watch(fd, path, IN_MOVED_TO | IN_CREATE | IN_ONLYDIR | IN_DONT_FOLLOW);
	if (wd < 0 || wd >= DIRECTORIES)
		return false;
	snprintf(prefixes[wd], sizeof prefixes[wd], "%s", prefix);
	for (char letter = 'A'; ok && n < 4 && letter <= 'Z'; letter++) {
		snprintf(path, sizeof path, "%.2s%c/", prefix, letter);
		ok = watch(fd, path) || errno == ENOENT || errno == ENOTDIR;
	}
	return ok;
}

int watch_open(void)
{
	int fd = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);

	if (fd >= 0 && !watch(fd, "")) {
		close(fd);
		fd = -1;
	}
	return fd;
}

static bool event(int fd, const struct inotify_event *e, void (*arrived)(void *context, const char *name),
                  void *context)
{
	char name[NAME_MAX + 8];

	if ((e->mask & IN_Q_OVERFLOW) || e->wd < 0 || e->wd >= DIRECTORIES)
		return false;
	if (e->len == 0)
		return true;
	snprintf(name, sizeof name, "%s%s", prefixes[e->wd], e->name);
	if (e->mask & IN_ISDIR) {
		char below[8];

		if (!walk_is_hash_directory(e->name) || strlen(prefixes[e->wd]) == 4)
			return true;
		snprintf(below, sizeof below, "%.2s%c/", prefixes[e->wd], e->name[0]);
		watch(fd, below);
		/* something may have come into it before we watched */
		return false;
	}
	/* a file that is created under its own name is still being written: the next scan finds it */
	if ((e->mask & IN_MOVED_TO) && control_is_job(name))
		arrived(context, name);
	return true;
}

bool watch_read(int fd, void (*arrived)(void *context, const char *name), void *context)
{
	union {
		struct inotify_event event;
		char bytes[64 * 1024];
	} room;
	bool whole = true;

	for (;;) {
		ssize_t n = read(fd, room.bytes, sizeof room.bytes);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return whole;
		for (size_t at = 0; at < (size_t)n;) {
			const struct inotify_event *e = (const void *)(room.bytes + at);

			whole &= event(fd, e, arrived, context);
			at += sizeof *e + e->len;
		}
	}
}

#else

int watch_open(void)
{
	return -1;
}

bool watch_read(int fd, void (*arrived)(void *context, const char *name), void *context)
{
	(void)fd, (void)arrived, (void)context;
	return false;
}

#endif
