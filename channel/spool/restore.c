#include "channel/spool/restore.h"

#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sysexits.h>
#include <unistd.h>

#include "channel/spool/draft.h"
#include "channel/spool/removals.h"
#include "channel/spool/write.h"
#include "lib/alloc.h"
#include "lib/file.h"
#include "lib/log.h"

struct restoring {
	const struct spool *spool;
	struct buf removed;        /* ids */
	size_t count;
	int status;
	struct buf *why;
};

/* ---- what is there ---- */

enum presence {
	ABSENT,
	WHOLE,            /* all bytes are there */
	REMAINS,          /* what a power cut may leave of it: a part, and zeros */
	OTHER,            /* another file, or one that cannot be read */
};

/* The mark of a recipient and the process in it are written over by agents (spool.md section 8): these bytes may be any. */
static void blank_marks(char *control, size_t size)
{
	for (char *line = control, *end; line < control + size; line = end) {
		const char *lf = memchr(line, '\n', (size_t)(control + size - line));

		end = lf != NULL ? control + (lf - control) + 1 : control + size;
		if (*line == 'm')
			return;
		for (char *c = line + 1; *line == 'r' && c < line + 8 && c < end; c++)
			*c = ' ';
	}
}

/*
 * Are these two control files of one mail, one of them rerouted (zlmtp-queue)?  Then there are other recipients between the same
 * beginning and the same header, in which the Received field has the spool id.
 */
static bool is_rerouted(const struct buf *expected, const struct buf *found)
{
	const char *recipients = memmem(expected->data, expected->len, "\nr", 2);
	const char *old = memmem(expected->data, expected->len, "\nm\n", 3), *new = memmem(found->data, found->len, "\nm\n", 3);
	size_t start, rest;

	if (recipients == NULL || old == NULL || new == NULL)
		return false;
	start = (size_t)(recipients - expected->data) + 2;
	rest = expected->len - (size_t)(old - expected->data);
	return found->len >= start && memcmp(found->data, expected->data, start) == 0 &&
	       found->len - (size_t)(new - found->data) >= rest && memcmp(new, old, rest) == 0;
}

/*
 * A control file is `marked`: agents may have appended to it, too (d lines).  Whoever was here before may have ended because of an
 * error of the disk.
 */
static enum presence look(const char *path, const char *bytes, size_t size, bool marked)
{
	struct buf found = { 0 }, expected = { 0 };
	struct stat st;
	enum presence presence = OTHER;

	if (lstat(path, &st) < 0)
		return errno == ENOENT ? ABSENT : OTHER;
	buf_add(&expected, bytes, size);
	if (S_ISREG(st.st_mode) && (marked || (size_t)st.st_size <= size) && file_read_from_disk(path, &found)) {
		size_t n = found.len < size ? found.len : size, same = 0;

		if (marked && n > 0) {
			blank_marks(expected.data, size);
			blank_marks(found.data, n);
		}
		while (same < n && (found.data[same] == expected.data[same] || found.data[same] == '\0'))
			same++;
		if (same == n)
			presence = n == size && memcmp(found.data, expected.data, n) == 0 ? WHOLE : REMAINS;
		else if (marked && is_rerouted(&expected, &found))
			presence = WHOLE;
	}
	buf_free(&found);
	buf_free(&expected);
	return presence;
}

/* ---- what is made ---- */

/*
 * A whole file in the place of what is left of it, or where there is none; *taken: another file has the name by now.  It is
 * synced with all others.
 */
static int write_file(const char *path, const char *bytes, size_t size, enum presence presence, bool *taken, struct buf *why)
{
	struct publish p;
	int status = EX_OK;

	if (!publish_begin(&p, path, 0600))
		return spool_trouble(why, EX_CANTCREAT, "cannot create", path);
	if (!file_write(p.fd, bytes, size))
		status = spool_trouble(why, EX_IOERR, "cannot write", path);
	else if (!(presence == ABSENT ? publish_move(&p, path) : publish_replace(&p)) &&
	         !(*taken = presence == ABSENT && errno == EEXIST))
		status = spool_trouble(why, EX_CANTCREAT, "cannot create", path);
	publish_abort(&p);
	return status;
}

/* *taken: other mail has come by that name meanwhile. */
static int write_under_own_name(struct restoring *r, const struct spool_draft *d, const struct spool_journal_message *m,
                                enum presence message, enum presence control, bool *taken)
{
	int status = EX_OK;

	if (!spool_make_places(d))
		return spool_trouble(r->why, EX_CANTCREAT, "cannot make the directory of", d->transport);
	if (message != WHOLE)
		status = write_file(d->queue, m->message_bytes, m->message_size, message, taken, r->why);
	if (status == EX_OK && !*taken && control != WHOLE) {
		status = write_file(d->transport, m->control_bytes, m->control_size, control, taken, r->why);
		if (*taken && message == ABSENT)
			unlink(d->queue);
	}
	return status;
}

/* The control file with this number in its i line, which names the message file. */
static void add_control(struct buf *out, const struct spool_journal_message *m, const char *number)
{
	const char *line = memmem(m->control_bytes, m->control_size, "\ni ", 3);
	size_t at = line != NULL ? (size_t)(line - m->control_bytes) + 3 : m->control_size, n = 0;

	while (at + n < m->control_size && isdigit((unsigned char)m->control_bytes[at + n]))
		n++;
	buf_add(out, m->control_bytes, at);
	buf_adds(out, number);
	buf_add(out, m->control_bytes + at + n, m->control_size - at - n);
}

/* Other mail has the number by now, since the power cut took the file that held it. */
static int write_under_new_name(struct restoring *r, struct spool_draft *d, const struct spool_journal_message *m)
{
	struct buf control = { 0 };
	bool taken = false;
	int status = spool_begin_file(d, r->why);

	if (status != EX_OK)
		return status;
	add_control(&control, m, spool_number_of(d));
	if (!spool_make_places(d))
		status = spool_trouble(r->why, EX_CANTCREAT, "cannot make the directory of", d->transport);
	else if (!file_write(d->message.fd, m->message_bytes, m->message_size))
		status = spool_trouble(r->why, EX_IOERR, "cannot write", d->queue);
	else if (!publish_move(&d->message, d->queue))
		status = spool_trouble(r->why, EX_CANTCREAT, "cannot create", d->queue);
	else
		status = write_file(d->transport, control.data, control.len, ABSENT, &taken, r->why);
	if (status == EX_OK && taken)
		status = spool_trouble(r->why, EX_CANTCREAT, "cannot create", d->transport);
	buf_free(&control);
	return status;
}

/* What runqueue removes meanwhile is noted before it goes. */
static bool was_removed(struct restoring *r, const char *id)
{
	return removals_have(&r->removed, id) ||
	       (removals_read(r->spool->postoffice, &r->removed) && removals_have(&r->removed, id));
}

/*
 * One that is missing may have been delivered.  After a kill it is known to be removed, after a power cut it may be a second
 * copy.
 */
static bool restore_message(void *context, const struct spool_journal_message *m)
{
	struct restoring *r = context;
	struct spool_draft *d = xcalloc(1, sizeof *d);
	/* a new name has the hash levels of the old one, as intake makes its names there and finds out which are taken */
	struct spool spool = *r->spool;
	enum presence control, message;

	spool.levels = 0;
	for (const char *slash = m->job; (slash = strchr(slash, '/')) != NULL; slash++)
		spool.levels++;
	d->spool = &spool;
	spool_set_names(d, m->job);
	control = look(d->transport, m->control_bytes, m->control_size, true);
	if (control == ABSENT) {
		/* an operator may have put it aside */
		char *held = xasprintf("%s/hold/%s", r->spool->postoffice, m->job);

		control = look(held, m->control_bytes, m->control_size, true) == WHOLE ? WHOLE : ABSENT;
		free(held);
	}
	message = look(d->queue, m->message_bytes, m->message_size, false);
	/* its number may be that of other mail by now */
	if ((control != WHOLE || message != WHOLE) && !((control == ABSENT || control == OTHER) && was_removed(r, m->id))) {
		/* the control file says whose the number is */
		bool taken = control == OTHER || (message == OTHER && control != WHOLE);

		if (!taken)
			r->status = write_under_own_name(r, d, m, message, control, &taken);
		if (r->status == EX_OK && taken)
			r->status = write_under_new_name(r, d, m);
		r->count++;
	}
	spool_free(&d);
	return r->status == EX_OK;
}

/* All is on the disk before the journal knows. */
static bool settle(struct restoring *r, struct spool_journal *journal)
{
	if (!spool_sync(r->spool))
		r->status = spool_trouble(r->why, EX_IOERR, "cannot sync", r->spool->postoffice);
	else if (!spool_journal_settle(journal, spool_journal_last(journal)))
		r->status = spool_trouble(r->why, EX_IOERR, "cannot write", spool_journal_path(journal));
	return r->status == EX_OK;
}

struct spool_journal *spool_restore(const struct spool *spool, bool stay, size_t *restored, int *status, struct buf *why)
{
	struct restoring r = { .spool = spool, .why = why, .status = EX_OK };
	bool unread, damaged = false;
	struct spool_journal *journal = spool_journal_open(spool, stay, &unread, why);

	*restored = 0;
	*status = unread ? EX_IOERR : EX_OK;
	if (journal == NULL)
		return NULL;
	file_as_user(spool->uid, spool->gid);
	if (spool_journal_read(journal, restore_message, &r, &damaged) && settle(&r, journal)) {
		*restored = r.count;
		removals_forget(spool->postoffice);
	}
	file_as_oneself();
	buf_free(&r.removed);
	*status = r.status;
	if (r.status == EX_OK && damaged) {
		spool_journal_set_aside(&journal, why);
		journal = spool_journal_open(spool, stay, &unread, why);
	}
	if (r.status != EX_OK || !stay)
		spool_journal_close(&journal);
	return journal;
}

void spool_restore_log(size_t restored)
{
	if (restored > 0)
		complain("%zu message%s put into the queue from the journal of intake; mail that had been delivered just before is delivered "
		         "a second time", restored, restored == 1 ? "" : "s");
}
