#include "lib/publish.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/alloc.h"
#include "lib/file.h"

/*
 * Temporaries that exist now.  A slot is written before its file is made and
 * cleared after it is gone, so that the signal handler sees every one of them.
 * Slots stay where they are: another thread may clear its own while this one looks for more.  One thread at a time takes new
 * ones.
 */
static struct slots {
	struct slot {
		_Atomic(const char *) name;
		volatile int at;
	} list[32];
	_Atomic(struct slots *) more;
} slots;
static pid_t owner;

static void remove_temporaries(void)
{
	if (getpid() != owner)
		return;
	for (struct slots *s = &slots; s != NULL; s = s->more)
		for (size_t i = 0; i < sizeof s->list / sizeof s->list[0]; i++)
			if (s->list[i].name != NULL)
				unlinkat(s->list[i].at, s->list[i].name, 0);
}

static void on_signal(int sig)
{
	int saved = errno;

	remove_temporaries();
	errno = saved;
	signal(sig, SIG_DFL);
	raise(sig);
}

static void watch_exits(void)
{
	static const int signals[] = { SIGINT, SIGTERM, SIGHUP, SIGXCPU };

	if (owner == getpid())
		return;
	if (owner == 0)
		atexit(remove_temporaries);
	owner = getpid();
	for (size_t i = 0; i < sizeof signals / sizeof signals[0]; i++) {
		struct sigaction old;

		/* a program that handles the signal itself ends by exit() and so comes here too */
		if (sigaction(signals[i], NULL, &old) == 0 && old.sa_handler == SIG_DFL)
			signal(signals[i], on_signal);
	}
}

static void remember(int at, const char *name)
{
	struct slots *s = &slots;
	size_t i = 0;

	while (s->list[i].name != NULL) {
		if (++i < sizeof s->list / sizeof s->list[0])
			continue;
		if (s->more == NULL)
			s->more = xcalloc(1, sizeof *s);
		s = s->more;
		i = 0;
	}
	s->list[i].at = at;
	s->list[i].name = name;
}

static void forget(const char *name)
{
	for (struct slots *s = &slots; s != NULL; s = s->more)
		for (size_t i = 0; i < sizeof s->list / sizeof s->list[0]; i++)
			if (s->list[i].name == name)
				s->list[i].name = NULL;
}

static void release(struct publish *p)
{
	int saved = errno;

	if (p->temporary != NULL)
		forget(p->temporary);
	/* of a zeroed struct the descriptor means nothing */
	if (p->target != NULL && p->fd >= 0)
		close(p->fd);
	if (p->target != NULL)
		file_directory_close(p->at);
	free(p->temporary);
	free(p->target);
	*p = (struct publish){ .fd = -1 };
	errno = saved;
}

/* In a directory that all users write to, a user who knew the next names could take them all. */
static unsigned unguessable(void)
{
	static unsigned serial;
	unsigned number;

	return getrandom(&number, sizeof number, GRND_NONBLOCK) == (ssize_t)sizeof number ? number : serial++;
}

/* Whatever the umask is; a mode that is there already costs the file system nothing. */
static bool has_mode(int fd, mode_t mode)
{
	struct stat st;

	return (fstat(fd, &st) == 0 && (st.st_mode & 07777) == mode) || fchmod(fd, mode) == 0;
}

static bool begin(struct publish *p, int at, const char *target, mode_t mode)
{
	const char *slash = strrchr(target, '/');
	int before = slash ? (int)(slash - target) + 1 : 0;

	watch_exits();
	alloc_in_place(NULL);
	*p = (struct publish){ .target = xstrdup(target), .at = at, .fd = -1 };
	for (unsigned try = 0; p->fd < 0 && try < 100; try++) {
		free(p->temporary);
		p->temporary = xasprintf("%.*s.%s.%ld-%u.tmp", before, target, target + before, (long)getpid(), unguessable());
		remember(at, p->temporary);
		p->fd = openat(at, p->temporary, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
		if (p->fd < 0) {
			int saved = errno;

			forget(p->temporary);
			errno = saved;
			if (errno != EEXIST)
				break;
		}
	}
	if (p->fd >= 0 && has_mode(p->fd, mode))
		return true;
	if (p->fd >= 0) {
		int saved = errno;

		publish_abort(p);
		errno = saved;
	} else {
		release(p);
	}
	return false;
}

bool publish_begin_found(struct publish *p, const char *target, mode_t mode)
{
	const char *name;
	int at = file_directory_found(target, &name);

	*p = (struct publish){ .fd = -1 };
	return at != -1 && begin(p, at, name, mode);
}

bool publish_begin(struct publish *p, const char *target, mode_t mode)
{
	return begin(p, AT_FDCWD, target, mode);
}

bool publish_owner(struct publish *p, uid_t uid, gid_t gid)
{
	struct stat st;

	if (fstat(p->fd, &st) < 0)
		return false;
	if ((uid == (uid_t)-1 || uid == st.st_uid) && (gid == (gid_t)-1 || gid == st.st_gid))
		return true;
	/* a change of owner clears set-id bits only; the mode stays */
	return fchown(p->fd, uid, gid) == 0;
}

bool publish_sync_directory(const char *path)
{
	return file_sync_directory(AT_FDCWD, path);
}

bool publish_commit(struct publish *p)
{
	bool ok = fsync(p->fd) == 0 && renameat(p->at, p->temporary, p->at, p->target) == 0;

	if (!ok) {
		int saved = errno;

		publish_abort(p);
		errno = saved;
		return false;
	}
	/* renamed: whatever happens now there is no temporary any more */
	alloc_in_place(p->target);
	ok = file_sync_directory(p->at, p->target);
	release(p);
	p->renamed = !ok;
	return ok;
}

static void gone(struct publish *p)
{
	forget(p->temporary);
	free(p->temporary);
	p->temporary = NULL;
}

/* False with errno, EEXIST if there is such a file. */
static bool move(int at, const char *from, const char *to)
{
	bool moved = renameat2(at, from, AT_FDCWD, to, RENAME_NOREPLACE) == 0;

	/* not every file system can do that in one step */
	if (!moved && (errno == EINVAL || errno == ENOSYS)) {
		moved = linkat(at, from, AT_FDCWD, to, 0) == 0;
		if (moved)
			unlinkat(at, from, 0);
	}
	return moved;
}

bool publish_move(struct publish *p, const char *path)
{
	bool moved = move(p->at, p->temporary, path);

	if (moved)
		gone(p);
	return moved;
}

char *publish_set_aside(const char *path, bool always)
{
	char *name = xasprintf("%s.damaged", path);
	unsigned n = 1;
	bool moved;

	while (!(moved = move(AT_FDCWD, path, name)) && errno == EEXIST && n < PUBLISH_ASIDE_MAX) {
		free(name);
		name = xasprintf("%s.damaged.%u", path, ++n);
	}
	if (!moved && errno == EEXIST && always)
		moved = rename(path, name) == 0;
	if (!moved) {
		const int code = errno;

		free(name);
		name = NULL;
		errno = code;
	}
	return name;
}

bool publish_replace(struct publish *p)
{
	if (renameat(p->at, p->temporary, p->at, p->target) < 0)
		return false;
	gone(p);
	return true;
}

void publish_abort(struct publish *p)
{
	if (p->temporary != NULL)
		unlinkat(p->at, p->temporary, 0);
	release(p);
}

/* The number at s, all of it digits up to `end`; -1 if it is none. */
static long number_up_to(const char *s, const char *end)
{
	long n = 0;

	if (s >= end)
		return -1;
	for (; s < end; s++) {
		if (*s < '0' || *s > '9' || n > (INT_MAX - 9) / 10)
			return -1;
		n = n * 10 + (*s - '0');
	}
	return n;
}

pid_t publish_maker(const char *entry, const char *name)
{
	size_t n = strlen(entry);
	const char *end = entry + n - (n > 4 ? 4 : n), *dash, *dot;
	long pid;

	if (entry[0] != '.' || strcmp(end, ".tmp") != 0)
		return 0;
	dash = memrchr(entry, '-', (size_t)(end - entry));
	dot = dash != NULL ? memrchr(entry, '.', (size_t)(dash - entry)) : NULL;
	if (dot == NULL || dot <= entry + 1 || strspn(dash + 1, "0123456789") != (size_t)(end - dash - 1) || end == dash + 1)
		return 0;
	if (name != NULL && (strlen(name) != (size_t)(dot - entry - 1) ||
	                     memcmp(name, entry + 1, (size_t)(dot - entry - 1)) != 0))
		return 0;
	pid = number_up_to(dot + 1, dash);
	return pid > 0 ? (pid_t)pid : 0;
}
