#include "channel/queue/lock.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sysexits.h>
#include <unistd.h>

#include "channel/spool/postoffice.h"
#include "lib/alloc.h"
#include "lib/file.h"
#include "lib/log.h"
#include "lib/process.h"

/* Between two tries, in milliseconds. */
#define PAUSE 50

pid_t lock_zmailer(const char *postoffice)
{
	char *path = xasprintf("%s/.pid.scheduler", postoffice);
	pid_t pid = process_named_in(path);

	free(path);
	return pid;
}

/*
 * The lock is for the owner of the post office, also if root was the first to make it, and for no other account: a process
 * that can open the file can hold its lock.
 */
static int open_lock(const char *postoffice, const char *path, struct buf *why, int *status)
{
	int fd = file_open_regular(path, O_RDWR | O_CREAT | O_NOFOLLOW);
	struct stat st, office;

	*status = EX_CANTCREAT;
	if (fd < 0) {
		int code = errno;

		if (code == EACCES)
			*status = EX_NOPERM;
		buf_addf(why, "%s: %s", path, file_error(code));
		spool_add_remedy(why, postoffice, code);
		return -1;
	}
	if (fstat(fd, &st) < 0 || stat(postoffice, &office) < 0) {
		buf_addf(why, "%s: %s", path, strerror(errno));
		*status = EX_OSERR;
	} else if (st.st_nlink != 1) {
		buf_addf(why, "%s: has a second name (hard link); remove it", path);
	} else if (geteuid() == 0 && (st.st_uid != office.st_uid || st.st_gid != office.st_gid) &&
	           fchown(fd, office.st_uid, office.st_gid) < 0) {
		buf_addf(why, "%s: cannot give it to the owner of %s: %s", path, postoffice, strerror(errno));
		*status = EX_OSERR;
	} else {
		/* earlier releases made it readable by all users */
		if ((st.st_mode & 07777) != 0600 && fchmod(fd, 0600) < 0)
			complain("%s: its mode cannot become 0600: %s; users who can read it can stop runqueue", path,
			         strerror(errno));
		return fd;
	}
	close(fd);
	return -1;
}

int lock_take(const char *postoffice, int patience, struct buf *why, int *status)
{
	char *path = xasprintf("%s/.pid.runqueue", postoffice);
	int fd = open_lock(postoffice, path, why, status);
	pid_t holder = 0;

	while (fd >= 0 && flock(fd, LOCK_EX | LOCK_NB) < 0) {
		holder = process_named_in(path);
		if (holder != 0 || patience <= 0) {
			if (holder != 0)
				buf_addf(why, "another runqueue runs here, process %ld by %s", (long)holder, path);
			else
				buf_addf(why, "%s: zlmtp-queue is changing the queue at this moment; try again", path);
			*status = EX_TEMPFAIL;
			close(fd);
			fd = -1;
			break;
		}
		poll(NULL, 0, PAUSE);
		patience -= PAUSE;
	}
	free(path);
	return fd;
}
