#include "channel/queue/arrivals.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "channel/queue/walk.h"
#include "channel/spool/control.h"
#include "channel/spool/tag.h"
#include "lib/alloc.h"
#include "lib/buf.h"
#include "lib/clock.h"
#include "lib/file.h"
#include "lib/log.h"
#include "lib/text.h"

/* How long until a file is looked at again, in milliseconds. */
#define LOCKED_PAUSE (32 * 1000)           /* as ZMailer: an agent of another scheduler holds a lock in it */
#define UNREADABLE_PAUSE (60 * 1000)       /* the system was short of something */
#define DAMAGED_PAUSE (10 * 60 * 1000)     /* nothing will change until the administrator looks at it */

static void put_aside(struct arrivals *in, uint64_t id, const char *name, int64_t pause)
{
	queue_put_aside(in->queue, id, name, in->now.ms + pause);
}

/*
 * In seconds.  No mail waits for a year; the system's clock stood at 1970 or somewhere else when it came, and it must not
 * fail for that after one try.
 */
#define LONGEST_WAIT (366 * 86400)

/*
 * Frees locks whose holders are gone.  TAG_TAKEN if a holder lives, TAG_ERROR with a complaint
 * if a lock cannot be looked at.
 */
static enum tag_result free_locks(struct arrivals *in, struct control *c)
{
	for (size_t i = 0; i < c->recipient_count; i++) {
		struct control_recipient *r = &c->recipients[i];
		enum tag_result result;

		if (r->tag != TAG_LOCKED)
			continue;
		result = tag_break_stale(c->fd, r->offset, &c->marked);
		if (result == TAG_TAKEN)
			complain("%s: recipient at %lld is locked by process %ld; looking again later", c->name,
			         (long long)r->offset, (long)r->locker);
		in->trouble |= result == TAG_ERROR;
		if (result == TAG_ERROR)
			complain("%s: cannot free the recipient at %lld: %s", c->name, (long long)r->offset, strerror(errno));
		if (result != TAG_OK)
			return result;
		r->tag = TAG_FREE;
	}
	return TAG_OK;
}

/* A recipient that no agent will ever take keeps its message for ever: the administrator should know. */
static bool all_deliverable(const struct control *c)
{
	if (c->recipient_count == 0) {
		complain("%s: it has no recipients; the file stays until it is removed", c->name);
		return false;
	}
	for (size_t i = 0; i < c->recipient_count; i++) {
		if (c->recipients[i].sender == CONTROL_NONE) {
			complain("%s: the recipient at %lld has no sender above it; the message waits until its control file is "
			         "repaired or removed", c->name, (long long)c->recipients[i].offset);
			return false;
		}
	}
	return true;
}

/*
 * 0 and `st`, or an errno.  A message file that is a link, or has another name somewhere, may be anybody's: the administrator
 * should know, and it is EINVAL then.
 */
static int look_at_message(struct arrivals *in, const struct control *c, const char *file, struct stat *st)
{
	/* when the spool is looked through the same directory comes again and again */
	int error = file_look_found(file, st, in->walk != NULL ? &in->place : NULL) ? 0 : errno;

	if (error != EINVAL && error != EMLINK && error != ENOTDIR)
		return error;
	complain("%s: its message file %s: %s; the message stays in the queue", c->name, file, file_error(error));
	return EINVAL;
}

/* `message` is NULL if its file is gone or cannot be looked at. */
static void add(struct arrivals *in, const struct control *c, const char *file, const struct stat *message)
{
	/* when it came: time of the message file, or, if that is gone, of its control file */
	const struct timespec arrived = message != NULL ? message->st_mtim : c->modified;
	struct message *m = queue_add(in->queue, c, file, &arrived);
	int64_t age = in->now.wall - (int64_t)arrived.tv_sec;

	for (size_t i = 0; i < c->recipient_count; i++) {
		const struct recipient *r = c->recipients[i].locker != 0 ? message_recipient(m, c->recipients[i].offset) : NULL;

		if (r != NULL)
			m->groups[r->group].begun = true;
	}
	m->file_inode = message != NULL ? message->st_ino : 0;
	m->seen_at = in->now.ms;
	/* one that would be too old, or from tomorrow, came just now */
	m->seen_age = age < 0 || age > LONGEST_WAIT ? 0 : (int32_t)age;
	if (m->open == 0) {
		in->finished = xgrow(in->finished, in->finished_count, &in->finished_capacity, sizeof *in->finished);
		in->finished[in->finished_count++] = m;
	} else {
		in->taken = xgrow(in->taken, in->count, &in->capacity, sizeof *in->taken);
		in->taken[in->count++] = m;
	}
}

/* It was named in the log: nothing will change before the administrator looks at it. */
static void damaged(struct arrivals *in, uint64_t id, const char *name)
{
	in->trouble = true;
	put_aside(in, id, name, DAMAGED_PAUSE);
}

static void take(struct arrivals *in, struct control *c)
{
	enum tag_result locks = free_locks(in, c);
	char *file = control_message_path(c);
	struct stat st;
	int error;

	if (locks != TAG_OK)
		put_aside(in, c->id, c->name, locks == TAG_TAKEN ? LOCKED_PAUSE : UNREADABLE_PAUSE);
	else if (!all_deliverable(c) || (error = look_at_message(in, c, file, &st)) == EINVAL)
		damaged(in, c->id, c->name);
	else
		add(in, c, file, error == 0 ? &st : NULL);
	free(file);
}

/* True if there is nothing to do: it is in the queue already, or was put aside for longer. */
static bool is_known(struct arrivals *in, uint64_t id, const char *name)
{
	struct message *m = queue_find(in->queue, id);

	if (m == NULL)
		return false;
	if (strcmp(m->name, name) != 0 && m->look_again == 0) {
		complain("%s: %s has the same number; this message waits until that one has left the queue", name, m->name);
		in->trouble = true;
		return true;
	}
	/* without open recipients its files are removed, and then its name is free for the next one */
	if (m->look_again == 0)
		m->came_again |= m->open == 0;
	if (m->look_again == 0 || m->look_again > in->now.ms)
		return true;
	queue_remove(in->queue, m);
	return false;
}

void arrivals_file(struct arrivals *in, const char *name, struct moment now)
{
	struct buf why = { 0 };
	struct control *c;
	uint64_t id;

	in->now = now;
	/* a name with controls or blanks in it cannot stand in a job line */
	if (text_has_controls(name, strlen(name)) || strchr(name, ' ') != NULL)
		return;
	if (!control_id(name, &id) || is_known(in, id, name))
		return;
	switch (control_open(name, &c, &why)) {
	case CONTROL_OK:
		take(in, c);
		break;
	case CONTROL_GONE:
		break;
	case CONTROL_NOT_MAIL:
		put_aside(in, id, name, DAMAGED_PAUSE);
		break;
	case CONTROL_UNREADABLE:
		complain("%s; the message waits until its control file can be read", buf_str(&why));
		in->trouble = true;
		put_aside(in, id, name, UNREADABLE_PAUSE);
		break;
	case CONTROL_DAMAGED:
		complain("%s; the message waits until its control file is repaired or removed", buf_str(&why));
		damaged(in, id, name);
		break;
	}
	control_close(&c);
	buf_free(&why);
}

static void tell_directory(void *context, const char *directory, int error)
{
	struct arrivals *in = context;

	complain("%s: %s", directory, strerror(error));
	in->trouble = true;
}

void arrivals_begin(struct arrivals *in)
{
	walk_end(&in->walk);
	in->walk = walk_begin(false, tell_directory, in);
}

void arrivals_go_on(struct arrivals *in, struct moment now, int64_t slice)
{
	/* how long it takes is what counts here */
	int64_t end = clock_ms() + slice;
	const char *name;

	do {
		name = walk_next(in->walk);
		if (name != NULL)
			arrivals_file(in, name, now);
	} while (name != NULL && clock_ms() < end);
	if (name == NULL) {
		walk_end(&in->walk);
		file_place_close(&in->place);
	}
}

static int older(const void *a, const void *b)
{
	const struct message *x = *(struct message *const *)a, *y = *(struct message *const *)b;

	if (x->arrived.tv_sec != y->arrived.tv_sec)
		return x->arrived.tv_sec < y->arrived.tv_sec ? -1 : 1;
	if (x->arrived.tv_nsec != y->arrived.tv_nsec)
		return x->arrived.tv_nsec < y->arrived.tv_nsec ? -1 : 1;
	return x->id < y->id ? -1 : x->id > y->id;
}

void arrivals_sort(struct arrivals *in)
{
	if (in->count > 1)
		qsort(in->taken, in->count, sizeof *in->taken, older);
}

void arrivals_clear(struct arrivals *in)
{
	in->count = 0;
	in->finished_count = 0;
}

void arrivals_free(struct arrivals *in)
{
	walk_end(&in->walk);
	file_place_close(&in->place);
	free(in->taken);
	free(in->finished);
	*in = (struct arrivals){ .queue = in->queue };
}
