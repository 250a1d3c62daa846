#include "db/live/fence.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sysexits.h>
#include <time.h>
#include <unistd.h>

#include "db/live/cdb/users.h"
#include "lib/alloc.h"
#include "lib/clock.h"
#include "lib/file.h"

#define POLL_NS 2000000

enum { TURNSTILE, MAP };

char *fence_path(const char *map)
{
	return xasprintf("%s.lock", map);
}

int fence_open(struct fence *fence, const char *map, struct buf *why)
{
	struct stat st;
	int error;

	*fence = (struct fence){ .map = xstrdup(map), .path = fence_path(map), .fd = -1 };
	fence->fd = file_open_own(fence->path, O_RDWR | O_CREAT | O_EXCL, 0600);
	if (fence->fd < 0 && errno == EEXIST) {
		fence->fd = file_open_own(fence->path, O_RDWR, 0);
	} else if (fence->fd >= 0 && stat(map, &st) == 0 && fchown(fence->fd, st.st_uid, st.st_gid) == 0) {
		/*
		 * A new one gets owner and mode of the map: users who may write it may lock it, and no others, who could block
		 * them.  Only root can give files away; where it cannot be done the creator is the one who updates.
		 */
		fchmod(fence->fd, (st.st_mode & 0222) | (st.st_mode & 0222) << 1 | 0600);
	}
	if (fence->fd >= 0)
		return EX_OK;
	error = errno;
	buf_addf(why, "%s: cannot open the lock file: %s", fence->path, file_error(error));
	return error == EACCES || error == EPERM ? EX_NOPERM : error == ENOENT || error == EROFS ? EX_CANTCREAT : EX_IOERR;
}

static bool try_lock(int fd, int byte, short type)
{
	struct flock lock = { .l_type = type, .l_whence = SEEK_SET, .l_start = byte, .l_len = 1 };

	return fcntl(fd, F_OFD_SETLK, &lock) == 0;
}

static bool wait_lock(int fd, int byte, int64_t deadline)
{
	while (!try_lock(fd, byte, F_WRLCK)) {
		if ((errno != EAGAIN && errno != EACCES && errno != EINTR) || clock_ms() >= deadline)
			return false;
		clock_pause(POLL_NS);
	}
	return true;
}

int fence_take(struct fence *fence, int64_t deadline, struct buf *why)
{
	const struct users_of of = { .fence = fence->path };
	struct users users = { 0 };

	if (fence->held)
		return EX_OK;
	if (wait_lock(fence->fd, TURNSTILE, deadline)) {
		fence->held = wait_lock(fence->fd, MAP, deadline);
		try_lock(fence->fd, TURNSTILE, F_UNLCK);
	}
	if (fence->held)
		return EX_OK;
	users_find(&users, &of);
	buf_addf(why, "%s: locked", fence->map);
	if (users.count > 0) {
		buf_adds(why, " by ");
		users_name(&users, why);
	}
	buf_adds(why, "; if that does not end, stop that process; \"dbupdate ... recover\" repairs what it leaves");
	users_free(&users);
	return EX_TEMPFAIL;
}

bool fence_is_named(const struct fence *fence)
{
	return file_is_named(fence->fd, fence->path);
}

void fence_release(struct fence *fence)
{
	if (fence->held)
		try_lock(fence->fd, MAP, F_UNLCK);
	fence->held = false;
}

void fence_close(struct fence *fence)
{
	fence_release(fence);
	fence_leave(fence);
}

void fence_leave(struct fence *fence)
{
	if (fence->path != NULL && fence->fd >= 0)
		close(fence->fd);
	free(fence->map);
	free(fence->path);
	*fence = (struct fence){ .fd = -1 };
}
