#include "channel/queue/retire.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "channel/queue/failure.h"
#include "channel/spool/control.h"
#include "channel/spool/diagnostic.h"
#include "channel/spool/event.h"
#include "channel/spool/report_due.h"
#include "channel/spool/spoolid.h"
#include "channel/spool/tag.h"
#include "lib/alloc.h"
#include "lib/clock.h"
#include "lib/file.h"
#include "lib/log.h"
#include "lib/text.h"

/* The control file of a message, if it is still the one that was read. */
enum look { LOOK_OK, LOOK_GONE, LOOK_OTHER, LOOK_TROUBLE };

static enum look look(const struct message *m, struct control **c)
{
	struct buf why = { 0 };
	enum control_result result = control_open(m->name, c, &why);
	enum look answer = LOOK_OK;

	if (result == CONTROL_GONE) {
		answer = LOOK_GONE;
	} else if (result != CONTROL_OK) {
		complain("%s", buf_str(&why));
		answer = LOOK_TROUBLE;
	} else if ((*c)->inode != m->inode) {
		control_close(c);
		answer = LOOK_OTHER;
	}
	buf_free(&why);
	return answer;
}

/* ---- removal ---- */

static char mark_of(const struct recipient *r)
{
	return r->state == RECIPIENT_DONE ? TAG_DONE : r->state == RECIPIENT_FAILED ? TAG_FAILED : TAG_FREE;
}

/* TAG_ERROR with a complaint, and for another try. */
static enum tag_result finish(int fd, struct message *m, const struct recipient *r, const struct timespec *modified)
{
	enum tag_result result = tag_finish(fd, r->offset, m->groups[r->group].agent_pid, mark_of(r), modified);

	if (result == TAG_ERROR) {
		complain("%s: the mark of the recipient at %lld cannot be written: %s", m->name, (long long)r->offset,
		         strerror(errno));
		m->unmarked = true;
	}
	return result;
}

/* One whose mark in the file is neither that of the delivered nor that of the failed. */
static enum retire_result settled_later(const struct control *c, struct message *m,
                                        const struct control_recipient *line)
{
	const struct recipient *r = message_recipient(m, line->offset);

	if (line->tag == TAG_LOCKED && r != NULL && r->state != RECIPIENT_OPEN) {
		switch (finish(c->fd, m, r, &c->marked)) {
		case TAG_OK: return RETIRE_DONE;
		case TAG_TAKEN: return RETIRE_LATER;
		case TAG_ERROR: return RETIRE_TROUBLE;
		}
	}
	if (line->tag == TAG_LOCKED && tag_break_stale(c->fd, line->offset, &c->marked) == TAG_TAKEN)
		return RETIRE_LATER;
	complain("%s: the recipient at %lld was reported settled, but has no mark; it is tried again", c->name,
	         (long long)line->offset);
	return RETIRE_READ_AGAIN;
}

static bool tell(const struct control *c, const struct message *m, const char *reports, bool json)
{
	struct buf id = { 0 }, why = { 0 };
	struct stat st;
	bool ok;

	/* without the message file its number and the time we know name it as well */
	if (!file_look_found(m->file, &st, NULL))
		st = (struct stat){ .st_ino = m->id, .st_mtim = m->arrived };
	spoolid_add(&id, &st);
	ok = failure_write(reports, c, id.data, &st, &why);
	if (ok) {
		struct logline line = { 0 };
		struct buf file = { 0 };
		size_t told = 0;

		/* the log has it as well */
		for (size_t i = 0; i < c->recipient_count; i++)
			told += report_due_failure(c, &c->recipients[i]);
		buf_addf(&file, "postman/%s.failed", buf_str(&id));
		event_begin(&line, json, "reported", buf_str(&id));
		event_add_sender(&line, c->sender_count > 0 ? control_return_path(&c->senders[0]) : "");
		logline_add(&line, "to", "-");
		logline_number(&line, "recipients", told);
		logline_add(&line, "kind", "failure");
		logline_add(&line, "report", buf_str(&file));
		logline_end(&line);
		logline_send(&line);
		logline_free(&line);
		buf_free(&file);
	} else if (m->retire_tries == 0) {
		complain("%s: %s; kept until that works", m->name, buf_str(&why));
	}
	buf_free(&id);
	buf_free(&why);
	return ok;
}

/* Were all in it open when it was read, and are all reported delivered? */
static bool all_delivered(const struct message *m)
{
	for (size_t i = 0; i < m->count; i++)
		if (m->recipients[i].state != RECIPIENT_DONE || m->recipients[i].wants_success)
			return false;
	return m->all_open && m->count > 0;
}

/* Does the file, which is still the one we know, mark them all as delivered?  If not, a closer look says why. */
static bool all_marked(const struct message *m)
{
	int fd = control_descriptor(m->name, O_RDONLY);
	struct stat st;
	bool ok = fd >= 0 && fstat(fd, &st) == 0 && st.st_ino == m->inode;

	for (size_t i = 0; ok && i < m->count; i++)
		ok = tag_is(fd, m->recipients[i].offset, TAG_DONE);
	if (fd >= 0)
		close(fd);
	return ok;
}

/* Has the report been due for as long as mail is tried?  A file for the administrator takes its place then. */
static bool is_too_late(const struct message *m, const struct control *c, const struct schedconf *conf, int64_t now)
{
	const struct control_diagnostic **last = control_last_diagnostics(c);
	bool late = true;

	for (size_t i = 0; i < c->recipient_count && late; i++) {
		const struct control_recipient *r = &c->recipients[i];
		char *host = xstrdup(r->host);
		const struct clause *clause;
		int64_t expiry;

		ascii_lower_string(host);
		clause = schedconf_match(conf, r->channel, host);
		expiry = clause != NULL ? clause->expiry : conf->defaults.expiry;
		free(host);
		if (report_due(c, r, last[i]) != REPORT_DUE_NONE)
			late = expiry > 0 && now - (last[i] != NULL ? last[i]->time : (int64_t)c->modified.tv_sec) > expiry;
	}
	free(last);
	if (late)
		complain("%s: the report to its sender could not be made before it expired, too: %s; "
		         "a file in postman/ has the failures", m->name,
		         m->untold_why);
	return late;
}

enum retire_result retire_message(struct message *m, struct reporter *reporter, const char *reports, struct remover *remover,
                                  const struct schedconf *conf, int64_t now, bool json)
{
	enum retire_result answer;
	struct control *c;

	/* the fate of most, and nothing in the file to report */
	if (all_delivered(m) && all_marked(m)) {
		remover_take(remover, m, m->name, m->file);
		return RETIRE_DONE;
	}
	switch (look(m, &c)) {
	case LOOK_OK: break;
	case LOOK_GONE: return RETIRE_GONE;
	case LOOK_OTHER: return RETIRE_READ_AGAIN;
	case LOOK_TROUBLE: return RETIRE_TROUBLE;
	}
	/* RETIRE_DONE if all are delivered or failed, by what the file says; else what is worst */
	answer = RETIRE_DONE;
	/* all of them: it may be read again because of one */
	for (size_t i = 0; i < c->recipient_count; i++) {
		struct control_recipient *line = &c->recipients[i];
		enum retire_result one = RETIRE_DONE;

		if (!control_is_settled(line)) {
			one = settled_later(c, m, line);
			/* the report is made of what the file says now */
			if (one == RETIRE_DONE)
				line->tag = mark_of(message_recipient(m, line->offset));
		}
		answer = one > answer ? one : answer;
	}
	if (answer == RETIRE_DONE && m->told != TOLD_ALL && (report_due_any(c) || report_due_any_may_have_moved(c))) {
		/* only what a sender would be told is worth a complaint */
		if (m->told == TOLD_NOT && reporter != NULL && !(m->untold_why != NULL && is_too_late(m, c, conf, now)) &&
		    (report_due_any(c) ? reporter_can(reporter) : reporter_is_there(reporter)))
			answer = RETIRE_UNTOLD;
		else if (report_due_any_failure(c) && !tell(c, m, reports, json))
			answer = RETIRE_TROUBLE;
	}
	if (answer == RETIRE_DONE)
		remover_take(remover, m, m->name, m->file);
	control_close(&c);
	return answer;
}

bool retire_mend_marks(struct message *m, const struct group *g)
{
	int fd = control_descriptor(m->name, O_RDWR);
	bool all = g == NULL || m->unmarked;
	struct timespec moment;
	struct stat st;

	m->unmarked = false;
	if (fd < 0) {
		/* a file that is gone, or another's by now, tells so when it is looked at for itself */
		m->unmarked = errno != ENOENT;
		if (m->unmarked)
			complain("%s: marks cannot be written: %s", m->name, strerror(errno));
		return !m->unmarked;
	}
	if (fstat(fd, &st) == 0 && st.st_ino == m->inode) {
		moment = clock_past(&st.st_mtim);
		for (uint32_t i = 0; i < m->group_count; i++) {
			const struct group *one = &m->groups[i];

			if (one != g && (!all || one->state == GROUP_FED))
				continue;
			for (uint32_t k = one->first; k != NO_RECIPIENT; k = m->recipients[k].next)
				finish(fd, m, &m->recipients[k], &moment);
		}
	}
	close(fd);
	return !m->unmarked;
}

/* ---- failures that we write down ---- */

static const struct control_recipient *line_at(const struct control *c, off_t offset)
{
	size_t low = 0, high = c->recipient_count;

	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (c->recipients[middle].offset < offset)
			low = middle + 1;
		else
			high = middle;
	}
	return low < c->recipient_count && c->recipients[low].offset == offset ? &c->recipients[low] : NULL;
}

/* ZMailer's scheduler gives the offset of the N line's value, not of the line. */
static off_t value_of_dsn(const struct control_recipient *r)
{
	return r->dsn_offset >= 0 ? r->dsn_offset + 2 : -1;
}

static void add_failure(struct buf *lines, const struct control *c, const struct control_recipient *r, const char *notary,
                        const char *text, int64_t now)
{
	off_t header = c->headers[r->header].offset;
	const struct notary own = {
		.recipient = r->user, .action = "failed", .status = "5.0.0", .words = "no reason was reported",
		.remote = "", .agent = "runqueue",
	};

	if (notary_is_whole(notary))
		diagnostic_add_reported(lines, r->offset, header, value_of_dsn(r), now, notary, text);
	else
		diagnostic_add(lines, r->offset, header, value_of_dsn(r), now, &own, text);
}

/* One write and one sync, however many there are. */
static bool write_down(const struct control *c, const struct buf *lines)
{
	bool ok = lines->len == 0 || (diagnostic_write(c->fd, lines) && fdatasync(c->fd) == 0);

	if (!ok)
		complain("%s: failures of recipients cannot be recorded: %s", c->name, strerror(errno));
	return ok;
}

struct retire_result_line {
	off_t recipient;
	int64_t time;
	char *notary, *text;
};

void retire_add_result(struct retire_results *r, const struct message *m, off_t recipient, const char *notary, const char *text,
                       int64_t now)
{
	r->message = m;
	r->list = xgrow(r->list, r->count, &r->capacity, sizeof *r->list);
	r->list[r->count++] = (struct retire_result_line){
		.recipient = recipient, .time = now, .notary = xstrdup(notary), .text = xstrdup(text),
	};
}

bool retire_write_results(struct retire_results *r)
{
	struct buf lines = { 0 };
	struct control *c = NULL;
	bool ok = r->message == NULL || look(r->message, &c) == LOOK_OK;

	for (size_t i = 0; i < r->count; i++) {
		const struct retire_result_line *one = &r->list[i];
		const struct control_recipient *line = c != NULL ? line_at(c, one->recipient) : NULL;

		if (line != NULL)
			add_failure(&lines, c, line, one->notary, one->text, one->time);
		ok = ok && line != NULL;
		free(one->notary);
		free(one->text);
	}
	if (c != NULL)
		ok = write_down(c, &lines) && ok;
	buf_free(&lines);
	control_close(&c);
	free(r->list);
	*r = (struct retire_results){ 0 };
	return ok;
}

#define EXPIRED "\rexpired after "
#define WORDS_MAX 400

static char *expiry_text(const struct group *g, int64_t age)
{
	char *period = age >= 2 * 86400 ? xasprintf("%lld days", (long long)age / 86400) :
	               age >= 2 * 3600 ? xasprintf("%lld hours", (long long)age / 3600) :
	                                 xasprintf("%lld minutes", (long long)age / 60);
	char *text = g->text != NULL ? xasprintf(EXPIRED "%s, problem was:\r%s", period, g->text) :
	                               xasprintf(EXPIRED "%s without an attempt", period);

	free(period);
	return text;
}

/* The notary for a recipient that was never attempted, or of which no agent said anything: what we know ourselves. */
static char *own_notary(const struct group *g)
{
	struct buf out = { 0 }, words = { 0 };
	struct notary n = { .recipient = "\003", .action = "failed", .status = "4.4.7", .remote = "", .agent = "runqueue" };

	buf_adds(&words, "delivery time expired");
	if (g->text != NULL && *g->text != '\0') {
		buf_adds(&words, ": ");
		text_add_clean_string(&words, diagnostic_answer(g->text), WORDS_MAX);
	}
	n.words = buf_str(&words);
	notary_add(&out, &n);
	buf_free(&words);
	return out.data;
}

static void log_expired(const struct control *c, const struct message *m, const struct control_recipient *r,
                        const struct group *g, bool json)
{
	const char *last = g->text != NULL ? strrchr(g->text, '\r') : NULL;
	struct logline line = { 0 };
	struct buf id = { 0 };

	message_add_id(&id, m);
	event_begin(&line, json, "expired", buf_str(&id));
	if (r->sender != CONTROL_NONE)
		event_add_sender(&line, control_return_path(&c->senders[r->sender]));
	logline_add(&line, "to", r->user);
	event_add_orcpt(&line, r->orcpt);
	logline_add(&line, "channel", r->channel);
	logline_add(&line, "host", r->host);
	logline_add(&line, "words", last != NULL ? last + 1 : g->text != NULL ? g->text : "never tried");
	logline_end(&line);
	logline_send(&line);
	logline_free(&line);
	buf_free(&id);
}

/* The line of a recipient of the group that no agent works on; NULL if it is no such. */
static const struct control_recipient *waiting_line(const struct control *c, const struct recipient *r)
{
	const struct control_recipient *line = r->state == RECIPIENT_OPEN ? line_at(c, r->offset) : NULL;

	return line != NULL && line->tag == TAG_FREE ? line : NULL;
}

/* Was it written down before, and could not be marked? */
static bool is_expired(const struct control_diagnostic *last)
{
	return last != NULL && strncmp(last->text, EXPIRED, strlen(EXPIRED)) == 0;
}

size_t retire_expired(struct message *m, struct group *g, int64_t age, int64_t now, bool json)
{
	const struct control_diagnostic **last;
	struct buf lines = { 0 };
	char *text, *notary;
	struct control *c;
	size_t failed = 0;

	if (look(m, &c) != LOOK_OK)
		return 0;
	last = control_last_diagnostics(c);
	text = expiry_text(g, age);
	notary = g->notary != NULL && notary_is_whole(g->notary) ? xstrdup(g->notary) : own_notary(g);
	for (uint32_t i = g->first; i != NO_RECIPIENT; i = m->recipients[i].next) {
		const struct control_recipient *line = waiting_line(c, &m->recipients[i]);

		if (line != NULL && !is_expired(last[line - c->recipients]))
			add_failure(&lines, c, line, notary, text, now);
	}
	if (write_down(c, &lines)) {
		failed = 0;
		for (uint32_t i = g->first; i != NO_RECIPIENT; i = m->recipients[i].next) {
			struct recipient *r = &m->recipients[i];
			const struct control_recipient *line = waiting_line(c, r);
			enum tag_result result = line != NULL ? tag_mark(c->fd, r->offset, TAG_FAILED) : TAG_TAKEN;

			if (result == TAG_ERROR)
				complain("%s: the mark of the recipient at %lld cannot be written: %s", m->name,
				         (long long)r->offset, strerror(errno));
			if (result != TAG_OK)
				continue;
			queue_settle(m, r, RECIPIENT_FAILED);
			log_expired(c, m, line, g, json);
			failed++;
		}
	}
	buf_free(&lines);
	free(text);
	free(notary);
	free(last);
	control_close(&c);
	return failed;
}

/* ---- what has become of it ---- */

static enum retire_found look_at(struct message *m, struct recipient *r, const struct control *c)
{
	const struct control_recipient *line = line_at(c, r->offset);

	if (line == NULL)
		return FOUND_UNTOUCHED;
	if (line->tag == TAG_DONE)
		queue_settle(m, r, RECIPIENT_DONE);
	else if (line->tag == TAG_FAILED)
		queue_settle(m, r, RECIPIENT_FAILED);
	else if (line->tag == TAG_LOCKED)
		return tag_break_stale(c->fd, r->offset, &c->marked) == TAG_TAKEN ? FOUND_HELD : FOUND_BEGUN;
	return FOUND_UNTOUCHED;
}

enum retire_found retire_look_again(struct message *m, struct group *g)
{
	enum retire_found worst = FOUND_UNTOUCHED;
	struct control *c;

	switch (look(m, &c)) {
	case LOOK_OK: break;
	case LOOK_GONE: return FOUND_GONE;
	case LOOK_OTHER: return FOUND_GONE;
	case LOOK_TROUBLE: return FOUND_HELD;
	}
	for (uint32_t i = g->first; i != NO_RECIPIENT; i = m->recipients[i].next) {
		if (m->recipients[i].state == RECIPIENT_OPEN) {
			enum retire_found found = look_at(m, &m->recipients[i], c);

			worst = found > worst ? found : worst;
		} else {
			finish(c->fd, m, &m->recipients[i], &c->marked);
		}
	}
	control_close(&c);
	return worst;
}
