#include "channel/queue/listing.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "channel/queue/walk.h"
#include "channel/spool/control.h"
#include "channel/spool/spoolid.h"
#include "channel/spool/tag.h"
#include "lib/alloc.h"
#include "lib/text.h"

/* As long as the answers of outlook.c. */
#define ANSWER_MAX 400

struct reader {
	struct listing *listing;
	struct outlook outlook;
};

static struct listed *add(struct listing *l, enum listed_state state, const char *name)
{
	l->list = xgrow(l->list, l->count, &l->capacity, sizeof *l->list);
	l->list[l->count] = (struct listed){ .state = state, .name = xstrdup(name), .next = NEXT_UNKNOWN };
	return &l->list[l->count++];
}

static void add_trouble(struct listing *l, enum listed_state state, const char *name, int64_t arrived, const char *why)
{
	struct listed *e = add(l, state, name);

	e->why = xstrdup(why);
	e->arrived = arrived;
	l->trouble++;
}

/* Is its lock that of a living process?  The file is asked again, as who holds it may say so by a lock of its own. */
static bool is_held(const struct control *c, const struct control_recipient *r)
{
	int fd = r->tag == TAG_LOCKED ? control_descriptor(c->name, O_RDONLY) : -1;
	bool held = fd >= 0 && tag_holder_lives(fd, r->locker, &c->modified);

	if (fd >= 0)
		close(fd);
	return held;
}

static bool is_open(const struct control_recipient *r)
{
	return r->tag != TAG_DONE && r->tag != TAG_FAILED;
}

/* What a d line says of somebody who still waits, and what runqueue says, whichever is newer. */
static void set_answer(struct listed *e, const struct control_diagnostic *d, const struct outlook_line *line)
{
	struct buf clean = { 0 };
	const char *text = NULL;

	if (d != NULL) {
		const char *cr = strrchr(d->text, '\r');

		text = cr != NULL ? cr + 1 : d->text;
		e->answered = d->time;
	}
	if (line != NULL && line->answer[0] != '\0' && line->answered >= e->answered) {
		text = line->answer;
		e->answered = line->answered;
	}
	if (text == NULL)
		return;
	text_add_clean_string(&clean, text, ANSWER_MAX);
	e->answer = xstrdup(buf_str(&clean));
	buf_free(&clean);
}

static int64_t next_try(const struct reader *r, const struct outlook_line *line)
{
	if (r->outlook.process == 0)
		return NEXT_UNKNOWN;
	return line != NULL ? line->next : NEXT_NOW;
}

static void add_recipient(struct reader *reader, const struct control *c, const struct control_recipient *r,
                          const struct control_diagnostic *last, const struct stat *message)
{
	struct listing *l = reader->listing;
	bool active = is_held(c, r);
	struct listed *e = add(l, active ? LISTED_ACTIVE : LISTED_WAITING, c->name);
	const struct control_sender *s = &c->senders[r->sender];
	const struct outlook_line *line = outlook_find(&reader->outlook, c->name, &message->st_mtim, r->offset);
	struct buf spool = { 0 };

	spoolid_add(&spool, message);
	e->spool = xstrdup(buf_str(&spool));
	e->arrived = message->st_mtime;
	e->offset = r->offset;
	e->locker = active ? r->locker : 0;
	e->sender = xstrdup(strcmp(s->channel, "error") == 0 || strcmp(s->user, "<>") == 0 ? "" : s->user);
	e->channel = xstrdup(r->channel);
	e->host = xstrdup(r->host);
	e->user = xstrdup(r->user);
	e->next = active ? NEXT_NOW : next_try(reader, line);
	set_answer(e, last, line);
	if (active && e->answer == NULL)
		e->answer = xasprintf("locked by process %ld", (long)r->locker);
	l->recipients++;
	l->active += active;
	buf_free(&spool);
}

static void add_recipients(struct reader *r, const struct control *c, const struct stat *message)
{
	struct listing *l = r->listing;
	const struct control_diagnostic **last = control_last_diagnostics(c);

	l->messages++;
	for (size_t i = 0; i < c->recipient_count; i++)
		if (is_open(&c->recipients[i]))
			add_recipient(r, c, &c->recipients[i], last[i], message);
	if (l->oldest == 0 || message->st_mtime < l->oldest)
		l->oldest = message->st_mtime;
	free(last);
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

static bool is_finished(const struct control *c)
{
	for (size_t i = 0; i < c->recipient_count; i++)
		if (is_open(&c->recipients[i]))
			return false;
	return true;
}

static void add_message(struct reader *r, const struct control *c)
{
	struct listing *l = r->listing;
	char *path = control_message_path(c);
	const char *why = hopeless(c);
	struct stat message;
	int error = lstat(path, &message) < 0 ? errno : 0;

	free(path);
	if (why != NULL) {
		add_trouble(l, LISTED_DAMAGED, c->name, c->modified.tv_sec, why);
	} else if (is_finished(c)) {
		l->finished++;
	} else if (error != 0) {
		/* the control file goes first, so that it is not somebody who just removes it */
		if (access(c->name, F_OK) < 0)
			return;
		add_trouble(l, error == ENOENT ? LISTED_DAMAGED : LISTED_UNREADABLE, c->name, c->modified.tv_sec,
		            error == ENOENT ? "it has no message file" : strerror(error));
	} else {
		add_recipients(r, c, &message);
	}
}

static void add_file(struct reader *r, const char *name)
{
	struct control *c;
	struct buf why = { 0 };
	struct stat st;

	switch (control_look(name, &c, &why)) {
	case CONTROL_OK:
		add_message(r, c);
		break;
	case CONTROL_GONE:
	case CONTROL_NOT_MAIL:
		break;
	case CONTROL_UNREADABLE:
		add_trouble(r->listing, LISTED_UNREADABLE, name, lstat(name, &st) == 0 ? st.st_mtime : 0, buf_str(&why));
		break;
	case CONTROL_DAMAGED:
		add_trouble(r->listing, LISTED_DAMAGED, name, lstat(name, &st) == 0 ? st.st_mtime : 0, buf_str(&why));
		break;
	}
	control_close(&c);
	buf_free(&why);
}

static void add_directory(void *context, const char *directory, int error)
{
	struct reader *r = context;
	struct buf why = { 0 };

	buf_addf(&why, "directory %s: %s", directory, strerror(error));
	add_trouble(r->listing, LISTED_UNREADABLE, directory, 0, buf_str(&why));
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

void listing_read(struct listing *l)
{
	struct reader r = { .listing = l };
	struct buf why = { 0 };
	struct walk *walk;
	const char *name;

	*l = (struct listing){ 0 };
	if (outlook_read(&r.outlook, &why) == OUTLOOK_UNREADABLE)
		add_trouble(l, LISTED_UNREADABLE, OUTLOOK_NAME, 0, buf_str(&why));
	l->scheduler = r.outlook.process;
	walk = walk_begin(add_directory, &r);
	while ((name = walk_next(walk)) != NULL)
		add_file(&r, name);
	walk_end(&walk);
	if (l->count > 1)
		qsort(l->list, l->count, sizeof *l->list, compare);
	outlook_free(&r.outlook);
	buf_free(&why);
}

void listing_free(struct listing *l)
{
	for (size_t i = 0; i < l->count; i++) {
		struct listed *e = &l->list[i];

		free(e->name);
		free(e->spool);
		free(e->why);
		free(e->sender);
		free(e->channel);
		free(e->host);
		free(e->user);
		free(e->answer);
	}
	free(l->list);
	*l = (struct listing){ 0 };
}
