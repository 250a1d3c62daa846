#include "channel/spool/postoffice.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sysexits.h>
#include <unistd.h>

#include "lib/account.h"
#include "lib/alloc.h"
#include "lib/file.h"
#include "lib/publish.h"
#include "lib/text.h"

/* ---- errors ---- */

int spool_trouble(struct buf *why, int status, const char *what, const char *path)
{
	int code = errno;

	buf_addf(why, "%s ", what);
	text_add_clean_string(why, path, 500);
	buf_addf(why, ": %s", strerror(code));
	return status;
}

void spool_add_remedy(struct buf *why, const char *postoffice, int code)
{
	struct stat st;

	if (code == ENOENT) {
		buf_adds(why, "; name the post office with -P, or make one with enqueue -m");
	} else if ((code == EACCES || code == EPERM) && stat(postoffice, &st) == 0 && st.st_uid != geteuid()) {
		buf_adds(why, "; the post office belongs to ");
		account_add_user(why, st.st_uid);
		buf_adds(why, ": run this as that user, or name another post office with -P");
	}
}

int spool_cannot_make(const struct spool *spool, struct buf *why, const char *what, const char *path)
{
	int code = errno;

	spool_trouble(why, EX_CANTCREAT, what, path);
	spool_add_remedy(why, spool->postoffice, code);
	return EX_CANTCREAT;
}

/* ---- the directories of a post office ---- */

static bool make_place(const char *path, mode_t mode, struct buf *why)
{
	bool made = mkdir(path, mode) == 0;
	/* whatever the umask took away; an existing one keeps what its owner gave it */
	bool ok = made ? chmod(path, mode) == 0 && publish_sync_directory(path) : errno == EEXIST;

	if (!ok)
		spool_trouble(why, EX_CANTCREAT, "cannot make", path);
	return ok;
}

bool spool_make(const char *postoffice, struct buf *why)
{
	static const struct { const char *name; mode_t mode; } directories[] = {
		{ "public", 01777 }, { "router", 01777 }, { "queue", 0750 }, { "transport", 0750 },
		{ "deferred", 0750 }, { "freezer", 0750 }, { "postman", 0750 },
	};
	char *inside = xasprintf("%s/.", postoffice);
	bool ok = make_place(postoffice, 0755, why);

	/* the office of another user: so are its directories, and what that user puts in their place is not root's to change */
	file_as_owner(inside);
	for (size_t i = 0; ok && i < sizeof directories / sizeof directories[0]; i++) {
		char *path = xasprintf("%s/%s", postoffice, directories[i].name);

		ok = make_place(path, directories[i].mode, why);
		free(path);
	}
	file_as_oneself();
	free(inside);
	return ok;
}

int spool_enter_transport(const char *postoffice, struct buf *why)
{
	char *path = xasprintf("%s/transport", postoffice);
	int code = file_enter_directory(path) ? 0 : errno;

	if (code != 0) {
		buf_addf(why, "%s: %s", path, strerror(code));
		spool_add_remedy(why, postoffice, code);
	}
	free(path);
	return code == 0 ? EX_OK : code == EACCES ? EX_NOPERM : EX_NOINPUT;
}

static int open_place(const struct spool *spool, const char *name, int flags, struct buf *why)
{
	char *path = xasprintf("%s/%s", spool->postoffice, name);
	int fd = file_open_directory(path, flags);

	if (fd < 0)
		spool_cannot_make(spool, why, "cannot create a file in", spool->postoffice);
	free(path);
	return fd;
}

bool spool_open(struct spool *spool, struct buf *why)
{
	struct stat st;

	spool->queue = open_place(spool, "queue", O_RDONLY, why);
	spool->transport = spool->queue >= 0 ? open_place(spool, "transport", O_RDONLY, why) : -1;
	if (spool->transport >= 0 && fstat(spool->transport, &st) == 0) {
		spool->uid = st.st_uid;
		spool->gid = st.st_gid;
		return true;
	}
	spool_close(spool);
	return false;
}

void spool_close(struct spool *spool)
{
	if (spool->queue >= 0)
		close(spool->queue);
	if (spool->transport >= 0)
		close(spool->transport);
	spool->queue = spool->transport = -1;
}

/*
 * The journal and syncfs(2) know the directory that was opened.  If its owner changed, files of the former one could not be
 * read by runqueue.
 */
static int check_place(const struct spool *spool, const char *name, int opened, struct buf *why)
{
	int fd = open_place(spool, name, O_PATH, why);
	struct stat then = { 0 }, now = { 0 };
	bool same = fd >= 0 && fstat(opened, &then) == 0 && fstat(fd, &now) == 0 && file_is_same(&then, &now) &&
	            (opened != spool->transport || now.st_uid == spool->uid);

	if (fd >= 0)
		close(fd);
	if (fd >= 0 && !same)
		buf_addf(why, "%s/%s: since the start it was replaced, or its owner changed; start again", spool->postoffice,
		         name);
	return same ? EX_OK : EX_CANTCREAT;
}

int spool_check(const struct spool *spool, struct buf *why)
{
	int status = check_place(spool, "queue", spool->queue, why);

	return status == EX_OK ? check_place(spool, "transport", spool->transport, why) : status;
}

bool spool_sync(const struct spool *spool)
{
	struct stat queue, transport;

	return fstat(spool->queue, &queue) == 0 && fstat(spool->transport, &transport) == 0 && syncfs(spool->queue) == 0 &&
	       (queue.st_dev == transport.st_dev || syncfs(spool->transport) == 0);
}
