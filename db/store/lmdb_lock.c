/*
 * The locks of LMDB maps that are changed in place: LMDB's own lock file, and Postfix's lock on the map.
 */
#include "config.h"

#if HAVE_LMDB

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "db/store/lmdb.h"
#include "lib/alloc.h"
#include "lib/clock.h"
#include "lib/file.h"

#define POLL_NS 2000000

static bool wait_lock(int fd, int command, struct flock *lock, int64_t deadline, pid_t *holder)
{
	*holder = 0;
	for (;;) {
		struct flock asked = *lock;

		if (fcntl(fd, command, &asked) == 0 && (command != F_GETLK || asked.l_type == F_UNLCK))
			return true;
		if (command != F_GETLK && errno != EAGAIN && errno != EACCES && errno != EINTR)
			return false;
		if (clock_ms() >= deadline) {
			asked = *lock;
			if (fcntl(fd, command == F_GETLK ? F_GETLK : F_OFD_GETLK, &asked) == 0 && asked.l_type != F_UNLCK)
				*holder = asked.l_pid;
			return false;
		}
		clock_pause(POLL_NS);
	}
}

const char *lmdb_locker(pid_t holder, const char *otherwise)
{
	static char text[40];

	if (holder <= 0)
		return otherwise;
	snprintf(text, sizeof text, "process %ld", (long)holder);
	return text;
}

bool lmdb_lock_map(int fd, short type, int64_t deadline, pid_t *holder)
{
	return wait_lock(fd, F_OFD_SETLK, &(struct flock){ .l_type = type, .l_whence = SEEK_SET }, deadline, holder);
}

bool lmdb_lock_file_is_free(const char *map, int64_t deadline, pid_t *holder)
{
	char *path = xasprintf("%s-lock", map);
	int fd = file_open_own(path, O_RDWR, 0);
	/* the byte that LMDB locks when it opens, and waits for without any limit */
	struct flock lock = { .l_type = F_RDLCK, .l_whence = SEEK_SET, .l_len = 1 };
	bool is_free = fd < 0 || wait_lock(fd, F_GETLK, &lock, deadline, holder);

	if (fd >= 0)
		close(fd);
	free(path);
	return is_free;
}

bool lmdb_lock_file_is_plain(const char *map, struct buf *why)
{
	char *path = xasprintf("%s-lock", map);
	struct stat st;
	bool there = lstat(path, &st) == 0;

	if (there && !S_ISREG(st.st_mode))
		buf_addf(why, "its lock file %s is not a regular file", path);
	else if (there && st.st_nlink > 1)
		buf_addf(why, "its lock file %s has more than one name", path);
	else if (there || errno == ENOENT)
		there = true;
	free(path);
	return why->len == 0;
}

/* With the rights that the file will be opened with. */
static bool may_use_lock_file(const char *map)
{
	char *path = xasprintf("%s-lock", map);
	bool may;

	file_as_owner(map);
	may = faccessat(AT_FDCWD, path, R_OK | W_OK, AT_EACCESS) == 0;
	if (!may && errno == ENOENT) {
		char *slash = strrchr(path, '/');

		if (slash != NULL)
			*slash = '\0';
		may = faccessat(AT_FDCWD, slash == NULL ? "." : slash == path ? "/" : path, W_OK, AT_EACCESS) == 0;
	}
	file_as_oneself();
	free(path);
	return may;
}

bool lmdb_choose_lock(const char *map, int fd, unsigned *flags, struct buf *why)
{
	bool has_other_names;
	struct stat st;
	pid_t holder;

	if (!lmdb_lock_file_is_plain(map, why))
		return false;
	/* by another name of the map its lock file has another one, too */
	has_other_names = (lstat(map, &st) == 0 && S_ISLNK(st.st_mode)) || (fstat(fd, &st) == 0 && st.st_nlink > 1);
	*flags = may_use_lock_file(map) && !has_other_names ? 0 : MDB_NOLOCK;
	if (*flags == 0 || lmdb_lock_map(fd, F_RDLCK, clock_ms() + LMDB_WAIT_MS, &holder))
		return true;
	buf_addf(why, "locked for %d s by %s", LMDB_WAIT_MS / 1000, lmdb_locker(holder, "a program that changes it"));
	return false;
}

#else

/* An empty file is no C. */
typedef int no_lmdb;

#endif
