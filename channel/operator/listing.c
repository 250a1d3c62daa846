#include "channel/operator/listing.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "channel/queue/walk.h"
#include "channel/spool/control.h"
#include "channel/spool/diagnostic.h"
#include "channel/spool/report_due.h"
#include "channel/spool/spoolid.h"
#include "channel/spool/tag.h"
#include "lib/alloc.h"
#include "lib/file.h"
#include "lib/text.h"

/* As long as the answers of queue_state.c. */
#define ANSWER_MAX 400

struct reader {
	struct listing *listing;
	struct queue_state state;
	listing_tell *tell;
	void *context;
	bool held;                /* what is read now is on hold */
	char *path;               /* of the control file that is read now */
	struct file_place place;  /* of the message files */
	bool ended;               /* no more is wanted */
};

static void tell(struct reader *r, const struct listed *e)
{
	if (!r->ended)
		r->ended = !r->tell(r->context, e);
}

static void tell_trouble(struct reader *r, enum listed_state state, const char *name, ino_t inode, int64_t arrived,
                         const char *why)
{
	r->listing->trouble++;
	tell(r, &(struct listed){
		.state = state, .name = name, .arrived = arrived, .held = r->held, .inode = inode, .why = why,
		.next = NEXT_UNKNOWN,
	});
}

/* Is its lock that of a living process?  The file is asked again, as its holder may say so by a lock of its own. */
static bool is_held(const struct reader *reader, const struct control *c, const struct control_recipient *r)
{
	int fd = r->tag == TAG_LOCKED ? control_descriptor(reader->path, O_RDONLY) : -1;
	bool held = fd >= 0 && tag_holder_lives(fd, r->locker, &c->marked);

	if (fd >= 0)
		close(fd);
	return held;
}

static void tell_recipient(struct reader *reader, const struct control *c, const struct control_recipient *r,
                           const struct control_diagnostic *last, const struct stat *message, const char *spool, bool report)
{
	struct listing *l = reader->listing;
	const struct queue_state_line *line =
		queue_state_find(&reader->state, c->name, &message->st_mtim, report ? QUEUE_STATE_REPORT : r->offset);
	bool active = is_held(reader, c, r);
	struct buf answer = { 0 };
	const struct control_diagnostic *d;
	const char *text = NULL;
	struct listed e = {
		.state = report ? LISTED_REPORT : active ? LISTED_ACTIVE : reader->held ? LISTED_HELD : LISTED_WAITING,
		.name = c->name, .spool = spool, .arrived = message->st_mtime, .held = reader->held, .inode = c->inode,
		.offset = r->offset, .locker = active ? r->locker : 0,
		.sender = control_return_path(&c->senders[r->sender]),
		.channel = r->channel, .host = r->host, .user = r->user, .orcpt = r->orcpt,
		.next = active ? NEXT_NOW : reader->held || reader->state.process == 0 ? NEXT_UNKNOWN
		        : line != NULL ? line->next : NEXT_NOW,
	};

	/* what a d line says of a recipient that still waits, and what runqueue says, whichever is newer */
	d = report ? NULL : last;
	if (d != NULL) {
		text = diagnostic_answer(d->text);
		e.answered = d->time;
	}
	if (line != NULL && line->answer[0] != '\0' && line->answered >= e.answered) {
		text = line->answer;
		e.answered = line->answered;
	}
	if (text != NULL) {
		text_add_clean_string(&answer, text, ANSWER_MAX);
		e.answer = buf_str(&answer);
	}
	if (report && e.answer == NULL)
		e.answer = reader->held ? "settled, on hold: release takes it to its report"
		           : "settled, its report is not sent yet";
	if (active && e.answer == NULL) {
		buf_addf(&answer, "locked by process %ld", (long)r->locker);
		e.answer = buf_str(&answer);
	}
	if (e.state == LISTED_HELD && e.answer == NULL)
		e.answer = LISTED_HELD_WORDS;
	l->recipients += !report;
	l->active += active;
	l->held += e.state == LISTED_HELD;
	tell(reader, &e);
	buf_free(&answer);
}

/*
 * All recipients are settled.  In hold/, where no scheduler looks, it is listed whatever is to be reported: an operator must
 * release it.
 */
static void tell_settled(struct reader *r, const struct control *c, const struct stat *message)
{
	const struct stat known = { .st_mtim = c->modified };
	const struct control_diagnostic **last = control_last_diagnostics(c);
	bool any = report_due_any(c);
	struct buf spool = { 0 };

	if (message != NULL)
		spoolid_add(&spool, message);
	r->listing->reports += any || r->held;
	r->listing->finished += !any && !r->held;
	if ((any || r->held) && message != NULL && (r->listing->oldest == 0 || message->st_mtime < r->listing->oldest))
		r->listing->oldest = message->st_mtime;
	for (size_t i = 0; i < c->recipient_count; i++)
		if (any ? report_due(c, &c->recipients[i], last[i]) != REPORT_DUE_NONE : r->held)
			tell_recipient(r, c, &c->recipients[i], last[i], message != NULL ? message : &known,
			               message != NULL ? buf_str(&spool) : NULL, true);
	free(last);
	buf_free(&spool);
}

/* Why no agent will ever take it all, NULL if one will. */
static const char *hopeless(const struct control *c)
{
	if (c->recipient_count == 0)
		return "it has no recipients";
	for (size_t i = 0; i < c->recipient_count; i++)
		if (c->recipients[i].sender == CONTROL_NONE)
			return "a recipient has no sender above it";
	return NULL;
}

static void tell_message(struct reader *r, const struct control *c)
{
	char *path = control_message_path(c);
	const char *why = hopeless(c);
	struct stat message;
	struct buf text = { 0 };
	int error = file_look_found(path, &message, &r->place) ? 0 : errno;
	bool refused = error == EINVAL || error == EMLINK || error == ENOTDIR;

	free(path);
	if (why != NULL) {
		tell_trouble(r, LISTED_DAMAGED, c->name, c->inode, c->modified.tv_sec, why);
	} else if (!refused && control_all_settled(c)) {
		tell_settled(r, c, error == 0 ? &message : NULL);
	} else if (error != 0) {
		/* the control file goes first, so that it is not a message that is just being removed */
		if (file_is_missing(r->path))
			return;
		if (error == ENOENT)
			buf_adds(&text, "it has no message file");
		else
			buf_addf(&text, "its message file: %s", file_error(error));
		tell_trouble(r, error == ENOENT || refused ? LISTED_DAMAGED : LISTED_UNREADABLE, c->name, c->inode,
		             c->modified.tv_sec, buf_str(&text));
		buf_free(&text);
	} else {
		struct listing *l = r->listing;
		const struct control_diagnostic **last = control_last_diagnostics(c);
		struct buf spool = { 0 };

		spoolid_add(&spool, &message);
		l->messages++;
		if (l->oldest == 0 || message.st_mtime < l->oldest)
			l->oldest = message.st_mtime;
		for (size_t i = 0; i < c->recipient_count; i++)
			if (!control_is_settled(&c->recipients[i]))
				tell_recipient(r, c, &c->recipients[i], last[i], &message, buf_str(&spool), false);
		free(last);
		buf_free(&spool);
	}
}

static void tell_directory(void *context, const char *directory, int error)
{
	struct reader *r = context;
	struct buf why = { 0 };

	buf_addf(&why, "directory %s: %s", directory, strerror(error));
	tell_trouble(r, LISTED_UNREADABLE, directory, 0, 0, buf_str(&why));
	buf_free(&why);
}

static int compare(const void *a, const void *b)
{
	const struct listed *x = a, *y = b;
	int names;

	if (x->arrived != y->arrived)
		return x->arrived < y->arrived ? -1 : 1;
	names = strcmp(x->name, y->name);
	if (names != 0)
		return names;
	return x->offset < y->offset ? -1 : x->offset > y->offset;
}

static void read_directory(struct reader *r, bool held)
{
	struct walk *walk;
	const char *name;

	r->held = held;
	walk = walk_begin(held, tell_directory, r);
	while (!r->ended && (name = walk_next(walk)) != NULL) {
		struct control *c;
		struct buf why = { 0 };
		struct stat st = { 0 };

		free(r->path);
		r->path = xasprintf("%s%s", r->held ? WALK_HOLD : "", name);
		switch (control_look(r->path, &c, &why)) {
		case CONTROL_OK:
			/* the path of the message file is made of the job name */
			free(c->name);
			c->name = xstrdup(name);
			tell_message(r, c);
			break;
		case CONTROL_GONE:
		case CONTROL_NOT_MAIL:
			break;
		case CONTROL_UNREADABLE:
			tell_trouble(r, LISTED_UNREADABLE, name, 0, lstat(r->path, &st) == 0 ? st.st_mtime : 0, buf_str(&why));
			break;
		case CONTROL_DAMAGED:
			if (lstat(r->path, &st) < 0)
				st = (struct stat){ 0 };
			tell_trouble(r, LISTED_DAMAGED, name, st.st_ino, st.st_mtime, buf_str(&why));
			break;
		}
		control_close(&c);
		buf_free(&why);
	}
	walk_end(&walk);
	free(r->path);
	r->path = NULL;
	file_place_close(&r->place);
}

void listing_each_held(struct listing *l, listing_tell *hear, void *context)
{
	struct reader r = { .listing = l, .tell = hear, .context = context };

	*l = (struct listing){ 0 };
	read_directory(&r, true);
}

void listing_each(struct listing *l, listing_tell *hear, void *context)
{
	struct reader r = { .listing = l, .tell = hear, .context = context };
	struct buf why = { 0 };

	*l = (struct listing){ 0 };
	/* it is no mail, so it has no row */
	if (queue_state_read(&r.state, &why) == QUEUE_STATE_UNREADABLE) {
		l->no_answers = xasprintf("%s; next tries and the newest answers are not known", buf_str(&why));
		l->trouble++;
	}
	l->scheduler = r.state.process;
	read_directory(&r, false);
	read_directory(&r, true);
	queue_state_free(&r.state);
	buf_free(&why);
}

static const char *copy(const char *string)
{
	return string != NULL ? xstrdup(string) : NULL;
}

void listing_add(struct listing *l, const struct listed *e)
{
	struct listed *own;

	l->list = xgrow(l->list, l->count, &l->capacity, sizeof *l->list);
	own = &l->list[l->count++];
	*own = *e;
	own->name = copy(e->name);
	own->spool = copy(e->spool);
	own->why = copy(e->why);
	own->sender = copy(e->sender);
	own->channel = copy(e->channel);
	own->host = copy(e->host);
	own->user = copy(e->user);
	own->orcpt = copy(e->orcpt);
	own->answer = copy(e->answer);
}

void listing_sort(struct listing *l)
{
	if (l->count > 1)
		qsort(l->list, l->count, sizeof *l->list, compare);
}

static bool keep(void *context, const struct listed *e)
{
	listing_add(context, e);
	return true;
}

void listing_read(struct listing *l)
{
	struct listing list = { 0 };

	listing_each(l, keep, &list);
	l->list = list.list;
	l->count = list.count;
	l->capacity = list.capacity;
	listing_sort(l);
}

void listing_clear(struct listing *l)
{
	for (size_t i = 0; i < l->count; i++) {
		const struct listed *e = &l->list[i];

		free((char *)e->name);
		free((char *)e->spool);
		free((char *)e->why);
		free((char *)e->sender);
		free((char *)e->channel);
		free((char *)e->host);
		free((char *)e->user);
		free((char *)e->orcpt);
		free((char *)e->answer);
	}
	l->count = 0;
}

void listing_free(struct listing *l)
{
	listing_clear(l);
	free(l->list);
	free(l->no_answers);
	*l = (struct listing){ 0 };
}
