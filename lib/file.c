#include "lib/file.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/fsuid.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <unistd.h>
#ifdef SYS_openat2
#include <linux/openat2.h>
#endif

#include "lib/account.h"
#include "lib/alloc.h"
#include "lib/text.h"

#define PIECE 65536

static bool is_null_device(const struct stat *st)
{
	return S_ISCHR(st->st_mode) && st->st_rdev == makedev(1, 3);
}

/* A regular file, or with `null` the null device.  Refuses second names where `flags` do not follow links. */
static int open_checked(const char *path, int flags, mode_t mode, bool null)
{
	/* no wait for the other end of a pipe, and no controlling terminal */
	int fd = open(path, flags | O_NONBLOCK | O_NOCTTY | O_CLOEXEC, mode);
	struct stat st;
	int error = 0;

	if (fd < 0) {
		/* a link where none is followed is distinguished from links that lead round in a circle */
		if (errno == ELOOP && (flags & O_NOFOLLOW) != 0)
			errno = lstat(path, &st) == 0 && S_ISLNK(st.st_mode) ? EINVAL : ELOOP;
		return -1;
	}
	if (fstat(fd, &st) < 0)
		error = errno;
	else if (S_ISDIR(st.st_mode))
		error = EISDIR;
	else if (!S_ISREG(st.st_mode) && !(null && is_null_device(&st)))
		error = EINVAL;
	else if ((flags & O_NOFOLLOW) != 0 && st.st_nlink > 1 && geteuid() == 0)
		error = EMLINK;
	if (error == 0)
		return fd;
	close(fd);
	errno = error;
	return -1;
}

int file_open_regular(const char *path, int flags)
{
	return open_checked(path, flags, 0600, false);
}

int file_open_own(const char *path, int flags, mode_t mode)
{
	return open_checked(path, flags | O_NOFOLLOW, mode, false);
}

int file_directory_found(const char *path, const char **name)
{
	const char *slash;
	int at = AT_FDCWD;

	*name = path;
	if (strchr(path, '/') == NULL || geteuid() != 0)
		return at;
	while ((slash = strchr(*name, '/')) != NULL) {
		/* no memory is asked for: what removes two files does not end between them for want of it */
		char part[NAME_MAX + 1] = "";
		size_t length = (size_t)(slash - *name);
		int next = -1, error = ENAMETOOLONG;

		if (length <= NAME_MAX) {
			memcpy(part, slash == path ? "/" : *name, slash == path ? 1 : length);
			next = openat(at, part, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
			error = errno;
		}
		if (at != AT_FDCWD)
			close(at);
		errno = error;
		at = next;
		if (at < 0)
			return -1;
		*name = slash + strspn(slash, "/");
	}
	return at;
}

void file_directory_close(int at)
{
	int saved = errno;

	if (at >= 0)
		close(at);
	errno = saved;
}

static bool is_found(const struct stat *st)
{
	errno = !S_ISREG(st->st_mode) ? EINVAL : st->st_nlink > 1 && geteuid() == 0 ? EMLINK : 0;
	return errno == 0;
}

void file_place_close(struct file_place *place)
{
	if (place->is_open)
		file_directory_close(place->at);
	place->is_open = false;
}

/* file_directory_found() for a caller that may keep the place of the last file. */
static int place_found(const char *path, struct file_place *p, const char **name)
{
	const char *slash = strrchr(path, '/');
	const size_t n = slash != NULL ? (size_t)(slash - path) : 0;

	if (p->is_open && p->length == n && memcmp(p->directory, path, n) == 0) {
		*name = path + n + 1;
		return p->at;
	}
	file_place_close(p);
	p->at = file_directory_found(path, name);
	p->is_open = p->at >= 0;
	/* no memory is asked for here, either; a longer name is found anew each time */
	p->length = n <= sizeof p->directory ? n : SIZE_MAX;
	memcpy(p->directory, path, n <= sizeof p->directory ? n : 0);
	return p->at;
}

/* openat2(2): a link in any part of the path is an error. */
static int open_without_links(const char *path, int flags)
{
#ifdef SYS_openat2
	const struct open_how how = { .flags = (unsigned)flags, .resolve = RESOLVE_NO_SYMLINKS };

	return (int)syscall(SYS_openat2, AT_FDCWD, path, &how, sizeof how);
#else
	(void)path, (void)flags;
	errno = ENOSYS;
	return -1;
#endif
}

int file_open_found(const char *path, struct stat *st)
{
	const int flags = O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC;
	int fd = open_without_links(path, flags), error = errno;

	/* an older kernel does not know that call, others than root follow links, and each error is to have its right number */
	if (fd < 0 && error != ENOENT) {
		const char *name;
		int at = file_directory_found(path, &name);

		if (at == -1)
			return -1;
		fd = openat(at, name, flags);
		error = errno == ELOOP ? EINVAL : errno;
		file_directory_close(at);
	}
	if (fd >= 0 && fstat(fd, st) == 0 && is_found(st))
		return fd;
	if (fd >= 0) {
		error = errno;
		close(fd);
	}
	errno = error;
	return -1;
}

bool file_look_found(const char *path, struct stat *st, struct file_place *place)
{
	struct file_place own = { .is_open = false };
	const char *name;
	int at = place_found(path, place != NULL ? place : &own, &name), error;
	bool ok = at != -1 && fstatat(at, name, st, AT_SYMLINK_NOFOLLOW) == 0 && is_found(st);

	error = errno;
	file_place_close(&own);
	errno = error;
	return ok;
}

bool file_sync_directory(int at, const char *name)
{
	char *directory = file_directory(name);
	int fd = openat(at, directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	bool ok = fd >= 0 && fsync(fd) == 0;

	file_directory_close(fd);
	free(directory);
	return ok;
}

bool file_remove_found(const char *path, struct file_place *place)
{
	struct file_place own = { .is_open = false };
	const char *name;
	int at = place_found(path, place != NULL ? place : &own, &name), error;
	bool ok = at != -1 ? unlinkat(at, name, 0) == 0 || errno == ENOENT : errno == ENOENT || errno == ENOTDIR;

	error = errno;
	file_place_close(&own);
	errno = error;
	return ok;
}

bool file_is_missing(const char *path)
{
	return access(path, F_OK) < 0 && (errno == ENOENT || errno == ENOTDIR);
}

bool file_can_be_read(const char *path)
{
	int fd = open_checked(path, O_RDONLY, 0600, true);

	if (fd >= 0)
		close(fd);
	return fd >= 0;
}

bool file_is_same_time(const struct timespec *a, const struct timespec *b)
{
	return a->tv_sec == b->tv_sec && a->tv_nsec == b->tv_nsec;
}

bool file_is_same(const struct stat *a, const struct stat *b)
{
	return a->st_dev == b->st_dev && a->st_ino == b->st_ino;
}

bool file_is_named(int fd, const char *path)
{
	struct stat named, opened;

	return lstat(path, &named) == 0 && fstat(fd, &opened) == 0 && file_is_same(&named, &opened);
}

bool file_is_unchanged(const struct stat *a, const struct stat *b)
{
	return file_is_same(a, b) && a->st_size == b->st_size
		&& file_is_same_time(&a->st_mtim, &b->st_mtim) && file_is_same_time(&a->st_ctim, &b->st_ctim);
}

bool file_is_private(int fd, const char *path, struct buf *why)
{
	struct stat st;

	if (fstat(fd, &st) < 0)
		buf_addf(why, "%s: %s", path, strerror(errno));
	else if (!S_ISREG(st.st_mode))
		buf_addf(why, "%s: holds a password but is no plain file", path);
	else if ((st.st_mode & 027) != 0)
		buf_addf(why, "%s: holds a password, its mode %04o lets others read or write it; chmod 600", path,
		         (unsigned)(st.st_mode & 07777));
	else if (st.st_uid == 0 || st.st_uid == geteuid())
		return true;
	else {
		buf_addf(why, "%s: holds a password but belongs to user ", path);
		account_add_user(why, st.st_uid);
		buf_adds(why, "; it must be root's, or belong to user ");
		account_add_user(why, geteuid());
	}
	return false;
}

char *file_absolute(const char *path)
{
	char *here = path != NULL && path[0] != '/' ? getcwd(NULL, 0) : NULL;
	char *absolute = here != NULL ? xasprintf("%s/%s", here, path) : path != NULL ? xstrdup(path) : NULL;

	free(here);
	return absolute;
}

char *file_directory(const char *path)
{
	const char *slash = strrchr(path, '/');

	return slash == NULL ? xstrdup(".") : xstrndup(path, slash == path ? 1 : (size_t)(slash - path));
}

char *file_beside(const char *path, const char *name)
{
	return xasprintf("%.*s%s", (int)(file_name(path) - path), path, name);
}

const char *file_name(const char *path)
{
	const char *slash = strrchr(path, '/');

	return slash != NULL ? slash + 1 : path;
}

bool file_is_of_root_alone(const char *path)
{
	char *directory = file_directory(path);
	struct stat st;
	bool alone = stat(directory, &st) == 0 && st.st_uid == 0 && (st.st_mode & 022) == 0;

	free(directory);
	return alone;
}

int file_open_directory(const char *path, int flags)
{
	bool follow = geteuid() != 0 || file_is_of_root_alone(path);

	return open(path, flags | O_DIRECTORY | O_CLOEXEC | (follow ? 0 : O_NOFOLLOW));
}

bool file_enter_directory(const char *path)
{
	int fd = file_open_directory(path, O_PATH);
	bool ok = fd >= 0 && fchdir(fd) == 0;

	file_directory_close(fd);
	return ok;
}

void file_as_owner(const char *path)
{
	struct stat st;

	if (geteuid() == 0 && !file_is_of_root_alone(path) && stat(path, &st) == 0)
		file_as_user(st.st_uid, st.st_gid);
}

/* This thread is another user for files. */
static _Thread_local bool is_other;

void file_as_user(uid_t uid, gid_t gid)
{
	if (uid == 0 || geteuid() != 0)
		return;
	is_other = true;
	setfsgid(gid);
	setfsuid(uid);
}

void file_as_oneself(void)
{
	if (!is_other)
		return;
	is_other = false;
	setfsuid(geteuid());
	setfsgid(getegid());
}

const char *file_error(int error)
{
	switch (error) {
	case EINVAL:
	case ENXIO:        /* a pipe without a reader, a socket */
		return "not a regular file";
	case ENOTDIR:
		return "a directory in its path is a symbolic link, or is none";
	case EMLINK:
		return "has more than one name";
	default:
		return strerror(error);
	}
}

/* True if there is nothing behind what was read. */
static bool at_end(int fd)
{
	char byte;
	ssize_t n;

	do
		n = read(fd, &byte, 1);
	while (n < 0 && errno == EINTR);
	if (n > 0)
		errno = EFBIG;
	return n == 0;
}

bool file_ends(int fd)
{
	struct stat st;

	if (fstat(fd, &st) < 0)
		return false;
	if (!S_ISBLK(st.st_mode) && (!S_ISCHR(st.st_mode) || is_null_device(&st) || isatty(fd)))
		return true;
	errno = EINVAL;
	return false;
}

bool file_seems_endless(int fd, const struct stat *st)
{
	off_t here, hole;

	if (st->st_size <= (off_t)FILE_LARGEST)
		return false;
	here = lseek(fd, 0, SEEK_CUR);
	hole = lseek(fd, here, SEEK_HOLE);
	lseek(fd, here, SEEK_SET);
	return hole >= 0 && hole < st->st_size;
}

bool file_read(int fd, struct buf *out)
{
	struct stat st;

	if (fstat(fd, &st) < 0)
		return false;
	if (S_ISREG(st.st_mode) && (out->limit != 0 ? st.st_size > (off_t)(out->limit - out->len) : file_seems_endless(fd, &st))) {
		errno = EFBIG;
		return false;
	}
	/* one byte more than there should be, so that the end is seen without growing */
	if (S_ISREG(st.st_mode) && st.st_size > 0)
		buf_reserve(out, (size_t)st.st_size + 1);
	for (;;) {
		size_t room = out->size > out->len + 1 ? out->size - out->len - 1 : PIECE;
		ssize_t n;
		char *p;

		/* what there is room for, a piece more when that is used up, never beyond the limit */
		if (out->limit != 0 && room > out->limit - out->len)
			room = out->limit - out->len;
		p = buf_reserve(out, room);
		if (room == 0)
			return at_end(fd);
		n = read(fd, p, room);
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0) {
			*p = '\0';
			return n == 0;
		}
		out->len += (size_t)n;
		p[n] = '\0';
	}
}

static bool read_path(const char *path, bool forget, struct buf *out)
{
	int fd = open_checked(path, O_RDONLY, 0600, true), saved;
	size_t limit = out->limit;
	bool ok;

	if (fd < 0)
		return false;
	if (forget)
		(void)posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED);
	out->limit = limit != 0 ? limit : FILE_LARGEST;
	ok = file_read(fd, out);
	saved = errno;
	out->limit = limit;
	close(fd);
	errno = saved;
	return ok;
}

bool file_read_path(const char *path, struct buf *out)
{
	return read_path(path, false, out);
}

bool file_read_from_disk(const char *path, struct buf *out)
{
	return read_path(path, true, out);
}

bool file_read_text(const char *path, struct buf *out)
{
	size_t before = out->len;

	if (!file_read_path(path, out))
		return false;
	if (out->len > before) {
		out->len = before + text_unmark(out->data + before, out->len - before);
		out->data[out->len] = '\0';
	}
	return true;
}

ssize_t file_getline(FILE *f, char **line, size_t *size, size_t *number)
{
	ssize_t n = getline(line, size, f);

	if (n < 0)
		return -1;
	if ((*line)[n - 1] == '\n')
		n--;
	if (n > 0 && (*line)[n - 1] == '\r')
		n--;
	if ((*number)++ == 0)
		n = (ssize_t)text_unmark(*line, (size_t)n);
	(*line)[n] = '\0';
	return n;
}

bool file_write(int fd, const void *bytes, size_t n)
{
	const char *at = bytes;

	while (n > 0) {
		ssize_t done = write(fd, at, n);

		if (done < 0 && errno == EINTR)
			continue;
		if (done < 0)
			return false;
		at += done;
		n -= (size_t)done;
	}
	return true;
}

bool file_replace_by(const char *path, mode_t mode, file_writer *write, void *context)
{
	char *next = xasprintf("%s.new", path);
	int fd = -1;
	bool ok;

	/* not what another user may have put there for us to follow or to fill */
	if (unlink(next) == 0 || errno == ENOENT)
		fd = open(next, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	ok = fd >= 0 && write(context, fd) && fchmod(fd, mode) == 0;
	if (fd >= 0 && close(fd) < 0)
		ok = false;
	ok = ok && rename(next, path) == 0;
	if (!ok && fd >= 0) {
		int saved = errno;

		unlink(next);
		errno = saved;
	}
	free(next);
	return ok;
}

struct bytes {
	const void *bytes;
	size_t n;
};

static bool write_bytes(void *context, int fd)
{
	const struct bytes *b = context;

	return file_write(fd, b->bytes, b->n);
}

bool file_replace(const char *path, const void *bytes, size_t n, mode_t mode)
{
	return file_replace_by(path, mode, write_bytes, &(struct bytes){ bytes, n });
}
