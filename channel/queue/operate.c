#include "channel/queue/operate.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "channel/queue/walk.h"
#include "channel/spool/control.h"
#include "channel/spool/diagnostic.h"
#include "channel/spool/dsn.h"
#include "channel/spool/event.h"
#include "channel/spool/removals.h"
#include "channel/spool/report_due.h"
#include "channel/spool/spoolid.h"
#include "channel/spool/tag.h"
#include "channel/spool/fields.h"
#include "lib/alloc.h"
#include "lib/clock.h"
#include "lib/file.h"
#include "lib/log.h"
#include "lib/logline.h"

/* The next control file of a reroute: one, as there is one operation at a time in a post office. */
#define REROUTED "../.control.rerouted"
#define USUAL_WORDS "cancelled by the administrator"
#define USUAL_STATUS "5.7.1"

const char *const operation_verbs[OPERATION_VERBS] = { "hold", "release", "retry", "fail", "remove", "reroute" };
const char *const operation_results[OPERATION_RESULTS] = { "done", "gone", "nothing", "busy", "trouble" };

enum operation_verb operation_verb_of(const char *word)
{
	size_t i = 0;

	while (i < OPERATION_VERBS && strcmp(word, operation_verbs[i]) != 0)
		i++;
	return (enum operation_verb)i;
}

/* A message as an operation finds it. */
struct target {
	const struct operation *o;
	char *path;               /* of the control file */
	char *message;            /* of the message file, NULL if the control file is damaged */
	struct control *control;  /* NULL if it is damaged */
	const struct control_diagnostic **last;   /* of a reroute: control_last_diagnostics() */
	struct buf *why;
	int64_t now;
	size_t changed;
};

static enum operation_result trouble(struct target *t, const char *what, const char *path)
{
	int error = errno;

	buf_addf(t->why, "cannot %s %s: %s", what, path, strerror(error));
	return OPERATION_TROUBLE;
}

/* ---- is it still what was meant? ---- */

static bool is_same_message(const struct target *t)
{
	struct buf id = { 0 };
	struct stat st;
	bool same;

	/* what has no id in a listing, as it is damaged, is known by its control file */
	if (strcmp(t->o->spool, "-") == 0)
		return true;
	if (!file_look_found(t->message, &st, NULL))
		return false;
	spoolid_add(&id, &st);
	same = strcmp(buf_str(&id), t->o->spool) == 0;
	buf_free(&id);
	return same;
}

static enum operation_result gone(struct target *t)
{
	buf_clear(t->why);
	buf_adds(t->why, "it has left the queue meanwhile, or was moved; list again");
	return OPERATION_GONE;
}

/* One that no agent can take can be put aside and removed all the same. */
static bool may_be_damaged(enum operation_verb verb)
{
	return verb == OPERATION_HOLD || verb == OPERATION_RELEASE || verb == OPERATION_REMOVE;
}

static enum operation_result open_target(struct target *t)
{
	const struct operation *o = t->o;
	enum control_result result = control_open(t->path, &t->control, t->why);
	struct stat st;

	if (result == CONTROL_GONE)
		return gone(t);
	if (result == CONTROL_OK) {
		/* the path of the message file is made of the job name */
		free(t->control->name);
		t->control->name = xstrdup(o->job);
		t->message = control_message_path(t->control);
		if (t->control->inode != o->inode || !is_same_message(t))
			return gone(t);
		if (t->control->recipient_count > 0 || may_be_damaged(o->verb))
			return OPERATION_DONE;
		buf_adds(t->why, "it has no recipients");
		return OPERATION_TROUBLE;
	}
	if (result != CONTROL_DAMAGED || !may_be_damaged(o->verb))
		return OPERATION_TROUBLE;
	if (lstat(t->path, &st) < 0 || st.st_ino != o->inode)
		return gone(t);
	buf_clear(t->why);
	return OPERATION_DONE;
}

/* The first of an operation's recipients that means this one; NULL if none does. */
static const struct operation_recipient *find(const struct operation *o, const struct control_recipient *r)
{
	size_t low = 0, high = o->count;

	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (o->recipients[middle].offset < r->offset)
			low = middle + 1;
		else
			high = middle;
	}
	return low < o->count && o->recipients[low].offset == r->offset ? &o->recipients[low] : NULL;
}

/* What is done to a message in which all recipients are settled; in hold/, where no scheduler looks, a fail was broken off. */
static bool is_for_settled(const struct operation *o)
{
	return o->verb == OPERATION_RELEASE || o->verb == OPERATION_RETRY || o->verb == OPERATION_REMOVE || o->refused ||
	       (o->held && o->verb == OPERATION_FAIL);
}

/* Recipients that the operation is about: those that wait; if none does, those whose report is not sent. */
static size_t concerned(const struct target *t)
{
	const struct control *c = t->control;
	const struct control_diagnostic **last = c != NULL ? control_last_diagnostics(c) : NULL;
	size_t waiting = 0, untold = 0;

	for (size_t i = 0; c != NULL && i < c->recipient_count; i++) {
		const struct control_recipient *r = &c->recipients[i];

		if (!control_is_settled(r))
			waiting += t->o->count == 0 || find(t->o, r) != NULL;
		else
			untold += report_due(c, r, last[i]) != REPORT_DUE_NONE;
	}
	free(last);
	return waiting > 0 ? waiting : untold;
}

/* Frees the locks of processes that are gone; an agent that lives keeps its message as it is. */
static enum operation_result free_locks(struct target *t)
{
	struct control *c = t->control;
	size_t open = 0;

	for (size_t i = 0; c != NULL && i < c->recipient_count; i++) {
		struct control_recipient *r = &c->recipients[i];

		open += !control_is_settled(r);
		if (r->tag != TAG_LOCKED)
			continue;
		switch (tag_break_stale(c->fd, r->offset, &c->marked)) {
		case TAG_OK:
			break;
		case TAG_TAKEN:
			buf_addf(t->why, "process %ld is delivering to a recipient of it", (long)r->locker);
			return OPERATION_BUSY;
		case TAG_ERROR:
			return trouble(t, "free the lock of a recipient in", t->path);
		}
		r->tag = TAG_FREE;
	}
	/* an agent whose scheduler is gone may be about to lock one */
	if (c != NULL && tag_any_claim(c->fd)) {
		buf_adds(t->why, "a transport agent is delivering it");
		return OPERATION_BUSY;
	}
	if (c != NULL && open == 0 && c->recipient_count > 0 && !is_for_settled(t->o)) {
		buf_adds(t->why, "all its recipients are settled; it waits for its report, or is being removed");
		return OPERATION_NOTHING;
	}
	return OPERATION_DONE;
}

/* ---- the log ---- */

static void begin_event(const struct target *t, struct logline *line, const char *event)
{
	const struct control *c = t->control;

	event_begin(line, t->o->json, event, t->o->spool);
	if (c == NULL || c->sender_count == 0)
		return;
	event_add_sender(line, control_return_path(&c->senders[0]));
}

static void log_message(const struct target *t, const char *event)
{
	struct logline line = { 0 };

	begin_event(t, &line, event);
	if (t->control != NULL) {
		logline_number(&line, "recipients", concerned(t));
		if (t->control->log_ident != NULL)
			logline_add(&line, "message_id", t->control->log_ident);
	}
	logline_add(&line, "by", t->o->by);
	logline_end(&line);
	logline_send(&line);
	logline_free(&line);
}

/* `to`: where it goes now, NULL if it is still the same. */
static void log_recipient(const struct target *t, const char *event, const struct control_recipient *r,
                          const struct operation_recipient *to, const char *status, const char *words)
{
	struct logline line = { 0 };
	struct buf orcpt = { 0 };

	begin_event(t, &line, event);
	logline_add(&line, "to", to != NULL ? to->user : r->user);
	if (r->orcpt != NULL && dsn_original(&orcpt, r->orcpt))
		logline_add(&line, "orcpt", buf_str(&orcpt));
	logline_add(&line, "channel", to != NULL ? to->channel : r->channel);
	logline_add(&line, "host", to != NULL ? to->host : r->host);
	if (status != NULL)
		logline_add(&line, "status", status);
	if (words != NULL)
		logline_add(&line, "words", words);
	logline_add(&line, "by", t->o->by);
	logline_end(&line);
	logline_send(&line);
	logline_free(&line);
	buf_free(&orcpt);
}

/* ---- hold and release ---- */

/* A directory as transport/ is, and its owner's; EACCES: of root alone is the one above it. */
static bool make_directory(const char *path, const struct stat *like)
{
	const char *name;
	int at = file_directory_found(path, &name), fd = -1;
	bool made, ok;
	mode_t mask;

	if (at == -1)
		return false;
	/* it is opened before it has its mode */
	mask = umask(0);
	file_as_owner("./.");
	made = mkdirat(at, name, 0700) == 0;
	file_as_oneself();
	if (!made && errno == EACCES && geteuid() == 0)
		made = mkdirat(at, name, 0700) == 0 && fchownat(at, name, like->st_uid, like->st_gid, AT_SYMLINK_NOFOLLOW) == 0;
	ok = made || errno == EEXIST;
	umask(mask);
	/* no program looks for mail behind a link */
	if (ok)
		fd = openat(at, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	ok = ok && fd >= 0 && (!made || (fchmod(fd, like->st_mode & 0777) == 0 && file_sync_directory(at, name)));
	file_directory_close(fd);
	file_directory_close(at);
	return ok;
}

/* The directories above a file in hold/. */
static bool make_directories(const char *path)
{
	struct stat st;
	bool ok = stat(".", &st) == 0;

	for (const char *slash = strchr(path + 3, '/'); ok && slash != NULL; slash = strchr(slash + 1, '/')) {
		char *directory = xasprintf("%.*s", (int)(slash - path), path);
		int error;

		ok = make_directory(directory, &st);
		error = errno;
		free(directory);
		errno = error;
	}
	return ok;
}

/*
 * Moves the control file; both names are on the disk when it is said to be done.  From the rename on it is in its new place
 * for every reader, so that the log says so even if a directory cannot be synced.
 */
static enum operation_result move(struct target *t, const char *from, const char *to, const char *event)
{
	const char *old, *new;
	int here, there = -1;
	struct stat st;
	enum operation_result result = OPERATION_DONE;

	if (!make_directories(to))
		return trouble(t, "make the directory of", to);
	here = file_directory_found(from, &old);
	if (here != -1)
		there = file_directory_found(to, &new);
	if (here == -1 || there == -1) {
		result = trouble(t, "move", from);
	} else if (fstatat(there, new, &st, AT_SYMLINK_NOFOLLOW) == 0) {
		buf_addf(t->why, "%s is there already; move one of the two away", to);
		result = OPERATION_TROUBLE;
	} else if (renameat(here, old, there, new) < 0) {
		result = trouble(t, "move", from);
	} else {
		log_message(t, event);
		if (!file_sync_directory(there, new) || !file_sync_directory(here, old))
			result = trouble(t, "write down the new place of", from);
		else
			t->changed = concerned(t);
	}
	file_directory_close(there);
	file_directory_close(here);
	return result;
}

static enum operation_result hold_or_release(struct target *t)
{
	const bool hold = t->o->verb == OPERATION_HOLD;
	char *held = xasprintf(WALK_HOLD "%s", t->o->job);
	enum operation_result result;

	if (t->o->held == hold) {
		buf_adds(t->why, hold ? "it is on hold already" : "it is not on hold");
		result = OPERATION_NOTHING;
	} else {
		result = hold ? move(t, t->o->job, held, "held") : move(t, held, t->o->job, "released");
	}
	free(held);
	return result;
}

/* ---- remove ---- */

static enum operation_result remove_files(struct target *t)
{
	const char *name;
	int at = file_directory_found(t->path, &name);
	enum operation_result result = OPERATION_DONE;
	/* a spool that was saved while it changed has a message in both places, and both need its file */
	char *other = xasprintf("%s%s", t->o->held ? "" : WALK_HOLD, t->o->job);
	bool shared = access(other, F_OK) == 0;

	free(other);
	if (t->message != NULL && !shared) {
		struct removals *removals = removals_create("..");

		removals_add(removals, (const char *[]){ t->message }, 1);
		removals_free(removals);
	}
	/* a message file without a control file is never looked at again */
	if (at == -1 || unlinkat(at, name, 0) < 0) {
		result = trouble(t, "remove", t->path);
	} else {
		t->changed = concerned(t);
		log_message(t, "removed");
		if (t->message != NULL && !shared && !file_remove_found(t->message, NULL)) {
			buf_addf(t->why, "it is not in the queue any more, but its message file %s cannot be removed: %s; delete that file", t->message,
			         file_error(errno));
			result = OPERATION_TROUBLE;
		} else if (!file_sync_directory(at, name))
			result = trouble(t, "write down the removal of", t->path);
	}
	file_directory_close(at);
	return result;
}

/* ---- recipients ---- */

static bool is_meant(const struct operation *o, const struct control_recipient *r)
{
	return r->tag == TAG_FREE && r->sender != CONTROL_NONE && (o->count == 0 || find(o, r) != NULL);
}

static enum operation_result nothing_meant(struct target *t)
{
	buf_adds(t->why, "its recipients are settled already");
	return OPERATION_NOTHING;
}

/* ---- fail ---- */

/* An enhanced status code in front of the words becomes the status (RFC 3463); returns where the words go on. */
static const char *split_status(const char *text, char status[16])
{
	size_t n = strcspn(text, " ");
	unsigned subject, detail;
	int end = 0;

	if (sscanf(text, "5.%3u.%3u%n", &subject, &detail, &end) == 2 && (size_t)end == n) {
		snprintf(status, 16, "5.%u.%u", subject, detail);
		return text + n + strspn(text + n, " ");
	}
	strcpy(status, USUAL_STATUS);
	return text;
}

static enum operation_result mark_failed(struct target *t, const char *status, const char *words)
{
	struct control *c = t->control;

	for (size_t i = 0; i < c->recipient_count; i++) {
		struct control_recipient *r = &c->recipients[i];

		if (!is_meant(t->o, r))
			continue;
		if (tag_mark(c->fd, r->offset, TAG_FAILED) != TAG_OK)
			return trouble(t, "mark a recipient in", t->path);
		r->tag = TAG_FAILED;
		t->changed++;
		log_recipient(t, "failed", r, NULL, status, words);
	}
	return OPERATION_DONE;
}

/* As an agent does it: d lines, synced, then the marks. */
static enum operation_result fail(struct target *t)
{
	const struct control *c = t->control;
	struct buf lines = { 0 }, text = { 0 };
	char status[16];
	const char *words = split_status(t->o->text != NULL ? t->o->text : USUAL_WORDS, status);
	enum operation_result result;

	buf_addf(&text, "\r%s %s", status, words);
	for (size_t i = 0; i < c->recipient_count; i++) {
		const struct control_recipient *r = &c->recipients[i];
		const struct notary n = {
			.recipient = r->user, .action = "failed", .status = status, .words = words, .remote = "",
			.agent = "zlmtp-queue",
		};

		if (is_meant(t->o, r))
			diagnostic_add(&lines, r->offset, c->headers[r->header].offset,
			               r->dsn_offset >= 0 ? r->dsn_offset + 2 : -1, t->now, &n, buf_str(&text));
	}
	if (lines.len == 0)
		result = t->o->held && control_all_settled(c) ? OPERATION_DONE : nothing_meant(t);
	else if (!diagnostic_write(c->fd, &lines) || fdatasync(c->fd) < 0)
		result = trouble(t, "write into", t->path);
	else
		result = mark_failed(t, status, words);
	/* nothing in it waits any more: the scheduler reports and removes it */
	if (result == OPERATION_DONE && t->o->held && control_all_settled(c)) {
		size_t changed = t->changed;

		result = move(t, t->path, t->o->job, "released");
		t->changed = changed;
		if (result != OPERATION_DONE)
			buf_adds(t->why, "; its recipients have failed, and release takes it to its report");
	}
	buf_free(&lines);
	buf_free(&text);
	return result;
}

/* ---- reroute ---- */

/* The bytes of a control file as they are cut up for reading, and their new form. */
struct rewrite {
	struct target *target;
	struct buf old, new;
	size_t copied;            /* so much of the old is in the new */
	struct move { off_t from, delta; } *moves;   /* what stands at `from` or behind it has moved by `delta` */
	size_t count, capacity;
};

static void copy_to(struct rewrite *w, off_t offset)
{
	buf_add(&w->new, w->old.data + w->copied, (size_t)offset - w->copied);
	w->copied = (size_t)offset;
}

static void note_move(struct rewrite *w, off_t from)
{
	w->moves = xgrow(w->moves, w->count, &w->capacity, sizeof *w->moves);
	w->moves[w->count++] = (struct move){ .from = from, .delta = (off_t)w->new.len - from };
}

/* Where something of the old file stands in the new one. */
static off_t moved(const struct rewrite *w, off_t offset)
{
	size_t low = 0, high = w->count;

	if (offset < 0)
		return offset;
	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (w->moves[middle].from <= offset)
			low = middle + 1;
		else
			high = middle;
	}
	return low > 0 ? offset + w->moves[low - 1].delta : offset;
}

static size_t line_length(const struct rewrite *w, off_t offset)
{
	const char *lf = memchr(w->old.data + offset, '\n', w->old.len - (size_t)offset);

	return lf != NULL ? (size_t)(lf - w->old.data) - (size_t)offset + 1 : w->old.len - (size_t)offset;
}

/* One r line for each new destination, each with what the N line says; the last one keeps the history. */
static void put_destinations(struct rewrite *w, const struct control_recipient *r, const struct operation_recipient *to)
{
	const struct operation *o = w->target->o;
	/* the tag and its columns, and those of the delay as they were */
	size_t columns = (size_t)(r->channel - w->target->control->bytes) - (size_t)r->offset;

	copy_to(w, r->offset);
	for (const struct operation_recipient *end = o->recipients + o->count; to < end && to->offset == r->offset; to++) {
		bool last = to + 1 == end || to[1].offset != r->offset;

		if (last)
			note_move(w, r->offset);
		buf_add(&w->new, w->old.data + r->offset, columns);
		w->new.data[w->new.len - columns + 1] = TAG_FREE;
		quad_add(&w->new, to->channel, to->host, to->user, to->privilege);
		buf_addc(&w->new, '\n');
		if (!last && r->dsn_offset >= 0)
			buf_add(&w->new, w->old.data + r->dsn_offset, line_length(w, r->dsn_offset));
	}
	w->copied += line_length(w, r->offset);
	note_move(w, (off_t)w->copied);
	w->target->changed++;
}

/* The new file takes the place of the old one, and is on the disk there. */
static enum operation_result write_new(const struct rewrite *w)
{
	struct target *t = w->target;
	const char *name;
	int at = file_directory_found(t->path, &name), fd = -1;
	enum operation_result result = OPERATION_DONE;
	struct stat st;
	bool ok;

	if (at == -1)
		return trouble(t, "rewrite", t->path);
	unlink(REROUTED);
	fd = open(REROUTED, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	ok = fd >= 0 && fstat(t->control->fd, &st) == 0 && (geteuid() != 0 || fchown(fd, st.st_uid, st.st_gid) == 0) &&
	     fchmod(fd, st.st_mode & 0777) == 0 && file_write(fd, w->new.data, w->new.len) && fsync(fd) == 0;
	if (fd >= 0 && close(fd) < 0)
		ok = false;
	ok = ok && renameat(AT_FDCWD, REROUTED, at, name) == 0;
	if (!ok) {
		result = trouble(t, "rewrite", t->path);
		if (fd >= 0)
			unlink(REROUTED);
	} else if (!file_sync_directory(at, name)) {
		result = trouble(t, "write down the new", t->path);
	}
	file_directory_close(at);
	return result;
}

static bool is_rerouted(const struct target *t, const struct control_recipient *r)
{
	const struct control *c = t->control;
	bool refused = t->o->refused && r->sender != CONTROL_NONE && report_due_may_have_moved(r, t->last[r - c->recipients]);

	/* diagnostics are added at the end, behind all recipients */
	return (refused || is_meant(t->o, r)) && find(t->o, r) != NULL &&
	       (c->diagnostic_count == 0 || c->diagnostics[0].offset > r->offset);
}

/*
 * A d line names places in the file: they get their new numbers.  The last word on a recipient that gets another chance is
 * marked as told: no report is sent of it.
 */
static void put_diagnostic(struct rewrite *w, off_t offset, bool taken_back)
{
	size_t n = line_length(w, offset);
	long long recipient, header, dsn;
	int end = 0;

	copy_to(w, offset);
	if (sscanf(w->old.data + offset + 2, "%lld:%lld:%lld%n", &recipient, &header, &dsn, &end) != 3)
		return;
	buf_add(&w->new, w->old.data + offset, 2);
	if (taken_back)
		w->new.data[w->new.len - 1] = TAG_DONE;
	/* that of the N line is the place of its value, which moves with it */
	buf_addf(&w->new, "%lld:%lld:%lld", (long long)moved(w, recipient), (long long)moved(w, header),
	         (long long)moved(w, dsn));
	buf_add(&w->new, w->old.data + offset + 2 + end, n - 2 - (size_t)end);
	w->copied += n;
}

static void log_rerouted(const struct target *t)
{
	const struct operation *o = t->o;

	for (size_t i = 0; i < t->control->recipient_count; i++) {
		const struct control_recipient *r = &t->control->recipients[i];
		const struct operation_recipient *to = is_rerouted(t, r) ? find(o, r) : NULL;

		for (; to != NULL && to < o->recipients + o->count && to->offset == r->offset; to++)
			log_recipient(t, "rerouted", r, to, NULL, NULL);
	}
}

static enum operation_result reroute(struct target *t)
{
	const struct control *c = t->control;
	struct rewrite w = { .target = t };
	enum operation_result result;
	bool *taken_back;

	if (lseek(c->fd, 0, SEEK_SET) < 0 || !file_read(c->fd, &w.old) || w.old.len != c->length) {
		buf_free(&w.old);
		return trouble(t, "read", t->path);
	}
	t->last = control_last_diagnostics(c);
	taken_back = xcalloc(c->diagnostic_count + 1, sizeof *taken_back);
	for (size_t i = 0; i < c->recipient_count; i++) {
		const struct control_recipient *r = &c->recipients[i];

		if (!is_rerouted(t, r))
			continue;
		put_destinations(&w, r, find(t->o, r));
		if (r->tag == TAG_FAILED)
			taken_back[t->last[i] - c->diagnostics] = true;
	}
	for (size_t i = 0; i < c->diagnostic_count; i++)
		put_diagnostic(&w, c->diagnostics[i].offset, taken_back[i]);
	copy_to(&w, (off_t)w.old.len);
	if (t->changed == 0)
		result = nothing_meant(t);
	else
		result = write_new(&w);
	if (result == OPERATION_DONE)
		log_rerouted(t);
	else
		t->changed = 0;
	buf_free(&w.old);
	buf_free(&w.new);
	free(w.moves);
	free(taken_back);
	return result;
}

/* ---- all of them ---- */

static enum operation_result retry(struct target *t)
{
	if (t->o->held) {
		buf_adds(t->why, "it is on hold and is not tried before it is released");
		return OPERATION_NOTHING;
	}
	t->changed = concerned(t);
	return OPERATION_DONE;
}

enum operation_result operate(const struct operation *o, int64_t now, size_t *changed, struct buf *why)
{
	static enum operation_result (*const verbs[OPERATION_VERBS])(struct target *t) = {
		[OPERATION_HOLD] = hold_or_release, [OPERATION_RELEASE] = hold_or_release, [OPERATION_RETRY] = retry,
		[OPERATION_FAIL] = fail, [OPERATION_REMOVE] = remove_files, [OPERATION_REROUTE] = reroute,
	};
	struct target t = { .o = o, .why = why, .now = now };
	enum operation_result result;

	t.path = xasprintf("%s%s", o->held ? WALK_HOLD : "", o->job);
	result = open_target(&t);
	if (result == OPERATION_DONE)
		result = free_locks(&t);
	if (result == OPERATION_DONE)
		result = verbs[o->verb](&t);
	*changed = t.changed;
	free(t.last);
	control_close(&t.control);
	free(t.path);
	free(t.message);
	return result;
}

/* ---- what was broken off ---- */

static void tell_directory(void *context, const char *directory, int error)
{
	(void)context;
	complain("%s: %s", directory, strerror(error));
}

/* A fail of a message on hold was broken off before its last step: it goes to its report. */
static void release_failed(struct control *c, const char *path, const char *job, bool json, int64_t now)
{
	struct buf why = { 0 }, id = { 0 };
	char *message;
	struct stat st;
	size_t changed;

	free(c->name);
	c->name = xstrdup(job);
	message = control_message_path(c);
	if (file_look_found(message, &st, NULL))
		spoolid_add(&id, &st);
	else
		buf_addc(&id, '-');
	free(message);
	operate(&(struct operation){
		.verb = OPERATION_RELEASE, .job = job, .spool = buf_str(&id), .inode = c->inode, .held = true, .by = "runqueue",
		.json = json,
	}, now, &changed, &why);
	if (why.len > 0)
		complain("%s: all its recipients are settled, but it cannot leave hold/ for its report: %s", path,
		         buf_str(&why));
	buf_free(&id);
	buf_free(&why);
}

bool operate_bring_back(struct walk **walk, bool json, int64_t now, int64_t end)
{
	const char *job;

	if (*walk == NULL)
		*walk = walk_begin(true, tell_directory, NULL);
	while ((job = walk_next(*walk)) != NULL) {
		struct buf why = { 0 };
		char *path = xasprintf(WALK_HOLD "%s", job);
		struct control *c;

		/* a damaged one is reported when an operator wants to release it */
		if (control_look(path, &c, &why) == CONTROL_OK && c->recipient_count > 0 && control_all_settled(c))
			release_failed(c, path, job, json, now);
		control_close(&c);
		free(path);
		buf_free(&why);
		if (clock_ms() >= end)
			return false;
	}
	walk_end(walk);
	return true;
}
