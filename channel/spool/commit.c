/*
 * Both files of messages into their places, in the order that loses nothing (INTERNALS, states E2 to E6).
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sysexits.h>
#include <unistd.h>

#include "channel/spool/draft.h"
#include "channel/spool/journal.h"
#include "channel/spool/write.h"
#include "lib/file.h"

/* So many messages are committed by syncfs(2). */
#define SYNCFS_FROM 3

static void fail(struct spool_draft *d, int status, const char *what, const char *path)
{
	if (d->status == EX_OK)
		d->status = spool_trouble(&d->why, status, what, path);
}

static void must(struct spool_draft *d, bool ok, int status, const char *what, const char *path)
{
	if (!ok)
		fail(d, status, what, path);
}

void spool_name(struct spool_draft *const *drafts, size_t count)
{
	if (count == 0)
		return;
	file_as_user(drafts[0]->spool->uid, drafts[0]->spool->gid);
	for (size_t i = 0; i < count; i++) {
		struct spool_draft *d = drafts[i];

		/* root takes no message file with a second name: it has none before the control file is seen */
		if (d->status == EX_OK && !d->linked) {
			d->linked = publish_move(&d->message, d->queue);
			must(d, d->linked, EX_CANTCREAT, "cannot create", d->queue);
		}
	}
	file_as_oneself();
}

/* What has failed is taken back from the queue, the control file first; but nothing that the journal has promised. */
static void take_back(struct spool_draft *d)
{
	if (d->recorded)
		return;
	if (d->visible)
		unlink(d->transport);
	if (d->linked)
		unlink(d->queue);
	d->visible = d->linked = false;
}

/* The control file gets its name, so that a scheduler sees it. */
static void show(struct spool_draft *d)
{
	d->visible = publish_move(&d->control, d->transport);
	must(d, d->visible, EX_CANTCREAT, "cannot create", d->transport);
	if (!d->visible)
		take_back(d);
}

/* ---- into the journal ---- */

static void close_files(struct spool_draft *d)
{
	close(d->message.fd);
	close(d->control.fd);
	d->message.fd = d->control.fd = -1;
}

bool spool_record(struct spool_draft *const *drafts, size_t count, struct spool_journal *journal)
{
	uint64_t first = spool_journal_last(journal) + 1;
	bool written;

	for (size_t i = 0; i < count; i++) {
		struct spool_draft *d = drafts[i];

		if (d->status == EX_OK)
			d->entry = spool_journal_add(journal, &(struct spool_journal_message){
				.job = d->job, .id = buf_str(&d->id),
				.message = d->message.fd, .message_size = (size_t)d->st.st_size,
				.control = d->control.fd, .control_size = d->control_size,
			});
	}
	if (spool_journal_last(journal) < first)
		return true;
	written = spool_journal_write(journal);
	file_as_user(drafts[0]->spool->uid, drafts[0]->spool->gid);
	for (size_t i = 0; i < count; i++) {
		struct spool_draft *d = drafts[i];

		if (!written) {
			d->entry = 0;
		} else if (d->entry >= first) {
			show(d);
			d->recorded = d->visible;
			/* one that is delivered before it is synced must leave no bytes behind */
			close_files(d);
		}
	}
	file_as_oneself();
	return written;
}

/* ---- what few messages wait for ---- */

/*
 * The blocks of both files are given out, and the message has its name, before the first sync, so that a journal has all of it
 * in one commit, and the other syncs find little to do.  It promises nothing, and its errors are those of the syncs.
 */
static void begin_writing(struct spool_draft *d)
{
	(void)sync_file_range(d->message.fd, 0, 0, SYNC_FILE_RANGE_WRITE);
	(void)sync_file_range(d->control.fd, 0, 0, SYNC_FILE_RANGE_WRITE);
}

/* What a thread waits for. */
struct syncing {
	struct spool_draft *draft;
	const char *what, *path;
	int fd, error;
	bool own;                 /* it was opened for this */
	bool started;
	pthread_t thread;
};

static void *sync_one(void *context)
{
	struct syncing *s = context;

	s->error = fsync(s->fd) < 0 ? errno : 0;
	return NULL;
}

/*
 * Files that one commit of a journal can make durable wait for it together: one after the other, each would have the disk
 * flushed once more.  If no thread can be started, one after the other.
 */
static void sync_each(struct syncing *list, size_t count)
{
	sigset_t all, old;

	/* signals are for the thread that waits for them */
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	for (size_t i = 1; i < count; i++)
		list[i].started = pthread_create(&list[i].thread, NULL, sync_one, &list[i]) == 0;
	for (size_t i = 0; i < count; i++)
		if (!list[i].started)
			sync_one(&list[i]);
	for (size_t i = 0; i < count; i++) {
		if (list[i].started)
			pthread_join(list[i].thread, NULL);
		errno = list[i].error;
		must(list[i].draft, list[i].error == 0, EX_IOERR, list[i].what, list[i].path);
		if (list[i].own)
			close(list[i].fd);
	}
	pthread_sigmask(SIG_SETMASK, &old, NULL);
}

static void add(struct syncing *list, size_t *n, struct spool_draft *d, const char *what, const char *path, int fd, bool own)
{
	list[(*n)++] = (struct syncing){ .draft = d, .what = what, .path = path, .fd = fd, .own = own };
}

static void add_directory(struct syncing *list, size_t *n, struct spool_draft *d, const char *path)
{
	char *directory = file_directory(path);
	int fd = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	must(d, fd >= 0, EX_IOERR, "cannot sync the directory of", path);
	if (fd >= 0)
		add(list, n, d, "cannot sync the directory of", path, fd, true);
	free(directory);
}

static void sync_few(struct spool_draft *const *drafts, size_t count)
{
	struct syncing list[4 * (SYNCFS_FROM - 1)];
	size_t n = 0;

	for (size_t i = 0; i < count; i++) {
		struct spool_draft *d = drafts[i];

		if (d->status != EX_OK)
			continue;
		if (d->visible) {
			add_directory(list, &n, d, d->transport);
		} else {
			add_directory(list, &n, d, d->queue);
			begin_writing(d);
			add(list, &n, d, "cannot write", d->queue, d->message.fd, false);
			add(list, &n, d, "cannot write", d->control.temporary, d->control.fd, false);
		}
	}
	sync_each(list, n);
}

/* ---- ... and many ---- */

/*
 * An error makes a file system read-only (ext4: errors=remount-ro): what it was about to write is dropped, and syncfs(2) may succeed
 * all the same.  fsync(2) of the directory that was changed last waits for just that, and fails.
 */
static bool sync_last_directory(struct spool_draft *const *drafts, size_t count)
{
	const struct spool_draft *last = NULL;
	char *directory;
	bool ok;
	int fd;

	for (size_t i = 0; i < count; i++)
		if (drafts[i]->status == EX_OK && drafts[i]->visible && !drafts[i]->recorded)
			last = drafts[i];
	if (last == NULL)
		return true;
	directory = file_directory(last->transport);
	fd = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	ok = fd >= 0 && fsync(fd) == 0;
	if (fd >= 0)
		close(fd);
	free(directory);
	return ok;
}

static void sync_systems(struct spool_draft *const *drafts, size_t count)
{
	bool ok = sync_last_directory(drafts, count) && spool_sync(drafts[0]->spool);
	int error = errno;

	for (size_t i = 0; !ok && i < count; i++) {
		errno = error;
		fail(drafts[i], EX_IOERR, "cannot sync", drafts[0]->spool->postoffice);
	}
}

/*
 * Files of what is recorded are closed: an error before they are opened again may have been told to another program, or be
 * forgotten.  The directories were open all the time, and no reply waits.
 */
static bool are_few(struct spool_draft *const *drafts, size_t count)
{
	bool recorded = false;

	for (size_t i = 0; i < count; i++)
		recorded = recorded || drafts[i]->recorded;
	return count < SYNCFS_FROM && !recorded;
}

/* ---- one step ---- */

/*
 * A scheduler never sees a control file of which a power cut may leave a part, nor one without its message, unless the journal
 * has both.
 */
bool spool_commit_step(struct spool_draft *const *drafts, size_t count, struct spool_journal *journal)
{
	uint64_t settled = 0;

	if (count == 0)
		return true;
	file_as_user(drafts[0]->spool->uid, drafts[0]->spool->gid);
	/*
	 * one wait where fsync(2) is three for each message; for a single message it would wait for what other programs have
	 * written
	 */
	if (are_few(drafts, count))
		sync_few(drafts, count);
	else
		sync_systems(drafts, count);
	for (size_t i = 0; i < count; i++) {
		struct spool_draft *d = drafts[i];

		if (d->status != EX_OK) {
			/*
			 * what was accepted stays in the journal, with all behind it; what was refused does not come back from
			 * there
			 */
			if (d->recorded)
				spool_journal_keep(journal);
			take_back(d);
		} else if (d->visible) {
			d->durable = true;
		} else {
			show(d);
		}
		if (spool_is_done(d) && d->entry > settled)
			settled = d->entry;
	}
	file_as_oneself();
	return journal == NULL || spool_journal_settle(journal, settled);
}

bool spool_is_done(const struct spool_draft *d)
{
	return d->durable || d->status != EX_OK;
}

bool spool_is_in_journal(const struct spool_draft *d)
{
	return d->entry > 0;
}

bool spool_is_recorded(const struct spool_draft *d)
{
	return d->recorded;
}

void spool_commit(struct spool_draft *const *drafts, size_t count)
{
	spool_name(drafts, count);
	spool_commit_step(drafts, count, NULL);
	spool_commit_step(drafts, count, NULL);
}
