#include "db/live/cdb/users.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/pidfd.h>
#include <time.h>
#include <unistd.h>

#include "lib/alloc.h"
#include "lib/buf.h"
#include "lib/clock.h"
#include "lib/file.h"
#include "lib/process.h"
#include "lib/text.h"

#define POLL_NS 5000000
#define NAME_CAP 32
#define DELETED " (deleted)"

/* What to look for, with the names as the kernel shows them. */
struct search {
	char *regions;           /* HOME/__db. */
	char *map;
	char *fence;
	struct buf maps;         /* room for what a process has in memory */
};

static char *real_name(const char *path)
{
	char *real = realpath(path, NULL);

	return real != NULL ? real : xstrdup(path);
}

static void search_begin(struct search *search, const struct users_of *of)
{
	*search = (struct search){ 0 };
	if (of->home != NULL) {
		char *home = real_name(of->home);

		search->regions = xasprintf("%s/__db.", home);
		free(home);
	}
	search->map = of->map != NULL ? real_name(of->map) : NULL;
	search->fence = of->fence != NULL ? real_name(of->fence) : NULL;
}

static void search_end(struct search *search)
{
	free(search->regions);
	free(search->map);
	free(search->fence);
	buf_free(&search->maps);
}

/* What a file of a process, by the name that the kernel shows, means. */
static unsigned meaning(const struct search *search, const char *name)
{
	size_t n = strlen(name), d = strlen(DELETED);
	bool deleted = n > d && strcmp(name + n - d, DELETED) == 0;

	if (deleted)
		n -= d;
	if (search->regions != NULL && strncmp(name, search->regions, strlen(search->regions)) == 0)
		return deleted ? USES_OLD_REGIONS : USES_REGIONS;
	if (search->map != NULL && strlen(search->map) == n && memcmp(name, search->map, n) == 0)
		return deleted ? USES_OLD_MAP : USES_MAP;
	if (search->fence != NULL && strcmp(name, search->fence) == 0)
		return USES_FENCE;
	return 0;
}

static unsigned mapped_uses(struct search *search, const char *proc, bool *seen)
{
	char *path = xasprintf("%s/maps", proc), *line, *rest;
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	unsigned uses = 0;

	free(path);
	buf_clear(&search->maps);
	/* as a whole: there are thousands of lines in /proc, of which few are ours */
	if (fd < 0 || !file_read(fd, &search->maps)) {
		*seen = *seen && (errno == ENOENT || errno == ESRCH);
		file_directory_close(fd);
		return 0;
	}
	close(fd);
	rest = search->maps.data;
	/* "from-to rwxp offset device inode   /path" */
	while ((line = strsep(&rest, "\n")) != NULL) {
		const char *name = strchr(line, '/');

		if (name != NULL)
			uses |= meaning(search, name);
	}
	return uses;
}

static unsigned open_uses(const struct search *search, const char *proc, bool *seen)
{
	char *path = xasprintf("%s/fd", proc);
	DIR *dir = opendir(path);
	const struct dirent *entry;
	unsigned uses = 0;

	free(path);
	if (dir == NULL) {
		*seen = *seen && (errno == ENOENT || errno == ESRCH);
		return 0;
	}
	while ((entry = readdir(dir)) != NULL) {
		char name[PATH_MAX + sizeof DELETED];
		/* "." and ".." are none */
		ssize_t n = entry->d_name[0] != '.' ? readlinkat(dirfd(dir), entry->d_name, name, sizeof name - 1) : 0;

		if (n <= 0)
			continue;
		name[n] = '\0';
		uses |= meaning(search, name);
	}
	closedir(dir);
	return uses;
}

static unsigned uses_of(struct search *search, pid_t pid, bool *seen)
{
	char *proc = xasprintf("/proc/%ld", (long)pid);
	unsigned uses;

	*seen = true;
	/* a process that uses a map or holds a fence has it open; regions alone are in memory and closed */
	uses = open_uses(search, proc, seen);
	if (search->regions != NULL)
		uses |= mapped_uses(search, proc, seen);
	free(proc);
	return uses;
}

static char *name_of(pid_t pid)
{
	char *path = xasprintf("/proc/%ld/comm", (long)pid);
	FILE *f = fopen(path, "re");
	struct buf name = { 0 };
	char comm[64] = "";

	if (f != NULL && fgets(comm, sizeof comm, f) != NULL)
		comm[strcspn(comm, "\n")] = '\0';
	if (f != NULL)
		fclose(f);
	text_add_clean_string(&name, comm, NAME_CAP);
	free(path);
	return name.data != NULL ? name.data : xstrdup("");
}

static void add_user(struct users *users, pid_t pid, unsigned uses)
{
	users->list = xgrow(users->list, users->count, &users->capacity, sizeof *users->list);
	users->list[users->count++] = (struct user){ pid, uses, name_of(pid) };
}

void users_find(struct users *users, const struct users_of *of)
{
	struct search search;
	DIR *proc = opendir("/proc");
	const struct dirent *entry;

	search_begin(&search, of);
	while (proc != NULL && (entry = readdir(proc)) != NULL) {
		pid_t pid = (pid_t)strtol(entry->d_name, NULL, 10);
		unsigned uses;
		bool seen;

		if (!isdigit((unsigned char)entry->d_name[0]) || pid == getpid())
			continue;
		uses = uses_of(&search, pid, &seen);
		if (uses != 0)
			add_user(users, pid, uses);
		else if (!seen)
			users->unseen++;
	}
	if (proc != NULL)
		closedir(proc);
	search_end(&search);
}

void users_free(struct users *users)
{
	for (size_t i = 0; i < users->count; i++)
		free(users->list[i].name);
	free(users->list);
	*users = (struct users){ 0 };
}

void users_name(const struct users *users, struct buf *out)
{
	for (size_t i = 0; i < users->count; i++)
		buf_addf(out, "%s%ld (%s)", i > 0 ? ", " : "", (long)users->list[i].pid, users->list[i].name);
}

bool users_has_attached(const struct users *users, pid_t pid)
{
	for (size_t i = 0; i < users->count; i++)
		if (users->list[i].pid == pid)
			return (users->list[i].uses & USES_REGIONS) != 0;
	return users->unseen > 0 && process_lives(pid);
}

static bool is_among(const struct users *users, pid_t pid)
{
	for (size_t i = 0; i < users->count; i++)
		if (users->list[i].pid == pid)
			return true;
	return false;
}

void users_keep(struct users *users, unsigned uses)
{
	size_t kept = 0;

	for (size_t i = 0; i < users->count; i++) {
		if ((users->list[i].uses & uses) != 0)
			users->list[kept++] = users->list[i];
		else
			free(users->list[i].name);
	}
	users->count = kept;
}

void users_merge(struct users *users, const struct users *more, unsigned uses)
{
	for (size_t i = 0; i < more->count; i++)
		if ((more->list[i].uses & uses) == uses && !is_among(users, more->list[i].pid))
			add_user(users, more->list[i].pid, more->list[i].uses);
}

void users_subtract(struct users *users, const struct users *others)
{
	size_t kept = 0;

	for (size_t i = 0; i < users->count; i++) {
		if (!is_among(others, users->list[i].pid))
			users->list[kept++] = users->list[i];
		else
			free(users->list[i].name);
	}
	users->count = kept;
}

/* ---- stopping ----------------------------------------------------------------- */

/* A process that has ended and waits for its parent still takes signals, but uses nothing any more. */
static bool all_gone(const struct users *users, struct search *search, int *fds)
{
	bool gone = true;

	for (size_t i = 0; i < users->count; i++) {
		bool seen = true;

		if (fds[i] < 0 || (pidfd_send_signal(fds[i], 0, NULL, 0) < 0 && errno == ESRCH))
			continue;
		if (uses_of(search, users->list[i].pid, &seen) == 0 && seen) {
			close(fds[i]);
			fds[i] = -1;
		} else {
			gone = false;
		}
	}
	return gone;
}

static bool signal_and_wait(const struct users *users, struct search *search, int *fds, int sig, int64_t deadline)
{
	for (size_t i = 0; i < users->count; i++)
		if (fds[i] >= 0)
			pidfd_send_signal(fds[i], sig, NULL, 0);
	while (!all_gone(users, search, fds)) {
		if (clock_ms() >= deadline)
			return false;
		clock_pause(POLL_NS);
	}
	return true;
}

bool users_stop(const struct users *users, const struct users_of *of, int64_t patience)
{
	struct search search;
	int *fds = xreallocarray(NULL, users->count, sizeof *fds);
	bool gone, seen;

	search_begin(&search, of);
	for (size_t i = 0; i < users->count; i++) {
		fds[i] = pidfd_open(users->list[i].pid, 0);
		/* the number may be another process's by now */
		if (fds[i] >= 0 && uses_of(&search, users->list[i].pid, &seen) == 0) {
			close(fds[i]);
			fds[i] = -1;
		}
	}
	gone = signal_and_wait(users, &search, fds, SIGTERM, clock_ms() + patience) ||
	       signal_and_wait(users, &search, fds, SIGKILL, clock_ms() + patience);
	for (size_t i = 0; i < users->count; i++)
		if (fds[i] >= 0)
			close(fds[i]);
	free(fds);
	search_end(&search);
	return gone;
}

/* ---- the kernel's word ----------------------------------------------------------- */

enum users_alone users_ask_kernel(const char *path)
{
	int fd = open(path, O_RDWR | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
	enum users_alone alone;

	if (fd < 0)
		return errno == ENOENT ? USERS_NONE : USERS_UNKNOWN;
	/* granted only if no other open file, and so no memory, refers to it */
	if (fcntl(fd, F_SETLEASE, F_WRLCK) == 0) {
		fcntl(fd, F_SETLEASE, F_UNLCK);
		alone = USERS_NONE;
	} else {
		alone = errno == EAGAIN ? USERS_SOME : USERS_UNKNOWN;
	}
	close(fd);
	return alone;
}
