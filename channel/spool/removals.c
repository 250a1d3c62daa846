#include "channel/spool/removals.h"

#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "channel/spool/journal.h"
#include "channel/spool/spoolid.h"
#include "lib/alloc.h"
#include "lib/file.h"

/* Beyond so many bytes it starts again at its beginning: far more than the messages of a moment. */
#define ENOUGH ((off_t)1024 * 1024)

struct removals {
	char *path, *journal;
	pthread_mutex_t lock;      /* for what follows */
	int fd;                    /* -1: not open */
};

static char *path_in(const char *postoffice)
{
	return xasprintf("%s/.removed.runqueue", postoffice);
}

struct removals *removals_create(const char *postoffice)
{
	struct removals *r = xcalloc(1, sizeof *r);

	r->path = path_in(postoffice);
	r->journal = spool_journal_in(postoffice);
	r->fd = -1;
	pthread_mutex_init(&r->lock, NULL);
	return r;
}

static void close_list(struct removals *r)
{
	if (r->fd >= 0)
		close(r->fd);
	r->fd = -1;
}

void removals_free(struct removals *r)
{
	if (r == NULL)
		return;
	close_list(r);
	pthread_mutex_destroy(&r->lock);
	free(r->path);
	free(r->journal);
	free(r);
}

/* With the lock: it may have been removed, with its journal. */
static bool open_list(struct removals *r)
{
	struct stat st;

	if (r->fd >= 0 && (fstat(r->fd, &st) < 0 || st.st_nlink == 0))
		close_list(r);
	if (r->fd < 0) {
		file_as_owner(r->path);
		r->fd = file_open_own(r->path, O_WRONLY | O_APPEND | O_CREAT, 0600);
		file_as_oneself();
	}
	return r->fd >= 0 && fstat(r->fd, &st) == 0 && (st.st_size < ENOUGH || ftruncate(r->fd, 0) == 0);
}

void removals_add(struct removals *r, const char *const *message_files, size_t count)
{
	struct buf ids = { 0 };
	struct stat st;

	if (access(r->journal, F_OK) < 0)
		return;
	for (size_t i = 0; i < count; i++) {
		if (lstat(message_files[i], &st) < 0)
			continue;
		spoolid_add(&ids, &st);
		buf_addc(&ids, '\n');
	}
	pthread_mutex_lock(&r->lock);
	/* an error here costs a second copy at worst */
	if (ids.len > 0 && open_list(r))
		(void)!write(r->fd, ids.data, ids.len);
	pthread_mutex_unlock(&r->lock);
	buf_free(&ids);
}

bool removals_read(const char *postoffice, struct buf *noted)
{
	char *path = path_in(postoffice);
	struct stat st;
	int fd = file_open_found(path, &st);
	bool differs = fd >= 0 && (size_t)st.st_size != noted->len;

	if (differs) {
		buf_clear(noted);
		noted->limit = 2 * (size_t)ENOUGH;
		if (!file_read(fd, noted))
			buf_clear(noted);
	}
	if (fd >= 0)
		close(fd);
	free(path);
	return differs;
}

bool removals_have(const struct buf *noted, const char *id)
{
	size_t n = strlen(id);
	const char *at = noted->data, *end = at != NULL ? at + noted->len : NULL, *lf;

	for (; at != end && (lf = memchr(at, '\n', (size_t)(end - at))) != NULL; at = lf + 1)
		if ((size_t)(lf - at) == n && memcmp(at, id, n) == 0)
			return true;
	return false;
}

void removals_forget(const char *postoffice)
{
	char *path = path_in(postoffice);

	unlink(path);
	free(path);
}
