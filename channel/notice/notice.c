#include "channel/notice/notice.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sysexits.h>
#include <time.h>

#include "channel/message/source.h"
#include "channel/notice/moved.h"
#include "channel/report/report.h"
#include "channel/spool/control.h"
#include "channel/spool/diagnostic.h"
#include "channel/spool/dsn.h"
#include "channel/spool/event.h"
#include "channel/spool/notify.h"
#include "channel/spool/report_due.h"
#include "channel/spool/spoolid.h"
#include "db/route/route.h"
#include "lib/alloc.h"
#include "lib/file.h"
#include "lib/log.h"
#include "lib/text.h"

/* One report on its way. */
struct told {
	enum form_kind kind;
	const char *sender;        /* of the message; "" is the null return path */
	const char *to;            /* the recipient of the report */
	bool copy;                 /* the postmaster's: not the sender's, and not remembered */
	size_t *recipients;        /* indexes in the control file */
	size_t count, capacity;
	struct spool_envelope envelope;
	struct spool_recipient *routed;
	size_t routed_count, routed_capacity;
	struct spool_draft *draft; /* NULL: the maps say to discard it */
};

struct notice {
	const struct office *office;
	const struct notice_request *request;
	struct control *control;   /* NULL: it is gone, or another's */
	const struct control_diagnostic **last;
	struct body body;
	bool has_body;
	struct buf spool_id, why, moved;
	int64_t arrival;
	struct told *told;
	size_t count, capacity;
	enum notice_answer answer;
};

/* ---- recipients of reports ---- */

static struct told *told_for(struct notice *n, enum form_kind kind, const char *sender)
{
	struct told *t;

	for (size_t i = 0; i < n->count; i++)
		if (n->told[i].kind == kind && strcmp(n->told[i].sender, sender) == 0)
			return &n->told[i];
	n->told = xgrow(n->told, n->count, &n->capacity, sizeof *n->told);
	t = &n->told[n->count++];
	*t = (struct told){ .kind = kind, .sender = sender, .to = sender };
	return t;
}

static void tell_of(struct notice *n, enum form_kind kind, size_t recipient)
{
	const struct control *c = n->control;
	const struct control_recipient *r = &c->recipients[recipient];
	const struct control_sender *s = r->sender != CONTROL_NONE ? &c->senders[r->sender] : NULL;
	const char *path = s != NULL ? control_return_path(s) : "";
	bool null = path[0] == '\0';
	struct told *t;

	/* without a sender only failures are of interest, to the postmaster */
	if (null && kind != FORM_FAILURE)
		return;
	t = told_for(n, kind, path);
	t->recipients = xgrow(t->recipients, t->count, &t->capacity, sizeof *t->recipients);
	t->recipients[t->count++] = recipient;
}

static int compare_late(const void *key, const void *element)
{
	const struct late *late = element;
	off_t offset = *(const off_t *)key;

	return offset < late->offset ? -1 : offset > late->offset;
}

static const struct late *late_of(const struct notice *n, const struct control_recipient *r)
{
	return n->request->late_count == 0
	       ? NULL : bsearch(&r->offset, n->request->late, n->request->late_count, sizeof *n->request->late, compare_late);
}

/* Is the mail that failed for the postmaster?  A copy that fails would have no other reader. */
static bool is_for(const struct notice *n, const struct told *t, const char *address)
{
	for (size_t i = 0; i < t->count; i++) {
		const struct control_recipient *r = &n->control->recipients[t->recipients[i]];
		struct buf given = { 0 };
		bool same;

		if (r->given != NULL)
			(void)dsn_original(&given, r->given);
		same = strcasecmp(buf_str(&given), address) == 0 || strcasecmp(r->user, address) == 0;
		buf_free(&given);
		if (same)
			return true;
	}
	return false;
}

/* ---- where it goes ---- */

enum reach { REACH_THERE, REACH_NOBODY, REACH_UNCLEAR };

static void add_routed(struct told *t, const struct route_result *to, const char *dsn)
{
	for (size_t i = 0; i < t->routed_count; i++)
		if (strcmp(t->routed[i].channel, to->channel) == 0 && strcmp(t->routed[i].host, to->host) == 0 &&
		    strcmp(t->routed[i].user, to->user) == 0)
			return;
	t->routed = xgrow(t->routed, t->routed_count, &t->routed_capacity, sizeof *t->routed);
	/* the next question takes the router's words back */
	t->routed[t->routed_count++] = (struct spool_recipient){
		.channel = xstrdup(to->channel), .host = xstrdup(to->host), .user = xstrdup(to->user),
		.privilege = (long)to->privilege, .dsn = xstrdup(dsn),
	};
}

static enum reach reach(const struct office *o, struct told *t, struct buf *why)
{
	struct route_query query = {
		.address = t->to, .length = strlen(t->to), .error_message = true, .privilege = (uid_t)o->privilege,
	};
	const struct route_result *results;
	enum reach answer = REACH_NOBODY;
	struct buf dsn = { 0 };
	size_t count;

	dsn_add(&dsn, "NEVER", NULL, t->to, NULL);
	/* each result has its own answer */
	(void)!route(o->router, &query, &results, &count);
	for (size_t i = 0; i < count && answer != REACH_UNCLEAR; i++) {
		if (results[i].answer == MAP_COULD_NOT_TELL) {
			answer = REACH_UNCLEAR;
			buf_adds(why, "the maps could not tell where ");
			text_add_clean_string(why, t->to, 300);
			buf_adds(why, " is: ");
			text_add_clean_string(why, results[i].host, 300);
		/* MAIL FROM:</etc/passwd>, or a command */
		} else if (results[i].answer == MAP_FOUND && !results[i].no_mailbox) {
			answer = REACH_THERE;
			if (strcmp(results[i].channel, "bitbucket") != 0)
				add_routed(t, &results[i], buf_str(&dsn));
		}
	}
	buf_free(&dsn);
	return answer;
}

/* ---- what it says ---- */

static enum report_action action_of(enum form_kind kind, const struct control_diagnostic *d)
{
	const char *action = d != NULL ? strchr(d->notary, '\001') : NULL;

	if (kind == FORM_FAILURE)
		return REPORT_FAILED;
	if (kind == FORM_DELAY)
		return REPORT_DELAYED;
	if (action != NULL && strncmp(action, "\001relayed", 8) == 0)
		return REPORT_RELAYED;
	return action != NULL && strncmp(action, "\001expanded", 9) == 0 ? REPORT_EXPANDED : REPORT_DELIVERED;
}

/* Is the last line a server's reply, "->> 550 words", without that status? */
static bool answer_is_uncoded(const char *text, const char *status)
{
	const char *reply = diagnostic_answer(text);
	size_t n = status != NULL ? strlen(status) : 0;

	return n > 0 && strncmp(reply, "->> ", 4) == 0 && strspn(reply + 4, "0123456789") == 3 &&
	       (reply[7] != ' ' || strncmp(reply + 8, status, n) != 0);
}

/* `notary` receives a copy that is cut up, to be freed behind the report. */
static struct report_recipient describe(const struct notice *n, const struct told *t, size_t index, char **notary)
{
	const struct control_recipient *r = &n->control->recipients[index];
	const struct control_diagnostic *d = n->last[index];
	const struct late *late = t->kind == FORM_DELAY ? late_of(n, r) : NULL;
	struct report_recipient said = {
		.address = r->user, .orcpt = r->orcpt_is_ours ? NULL : r->orcpt,
		.given = r->given != r->orcpt ? r->given : NULL,
		.action = action_of(t->kind, d),
		.last_attempt = late != NULL ? late->last_attempt : d != NULL ? d->time : 0,
		.retry_until = late != NULL ? n->request->until : 0,
	};
	const char *text = late != NULL ? late->text : d != NULL ? d->text : "no reason was reported";

	*notary = xstrdup(late != NULL ? late->notary : d != NULL ? d->notary : "");
	report_from_notary(&said, *notary);
	/* of one that was never tried, the scheduler's own word; the line has the time when that was said */
	if (late == NULL && said.status != NULL && strcmp(said.status, "4.4.7") == 0 &&
	    (said.remote == NULL || *said.remote == '\0'))
		said.last_attempt = 0;
	said.uncoded = answer_is_uncoded(text, said.status);
	if (said.diagnostic == NULL || *said.diagnostic == '\0')
		said.diagnostic = diagnostic_answer(text);
	return said;
}

static bool piece_of_body(void *context, uint64_t at, struct buf *piece, struct buf *why)
{
	return body_piece(context, at, piece, why);
}

struct sink {
	struct spool_draft *draft;
	struct buf *why;
	int status;
};

static bool add_bytes(void *context, const char *bytes, size_t n)
{
	struct sink *sink = context;

	sink->status = spool_add(sink->draft, bytes, n, sink->why);
	return sink->status == EX_OK;
}

static bool write_report(struct notice *n, struct told *t, const struct report *report)
{
	const struct office *o = n->office;
	struct sink sink = { .why = &n->why };
	bool smtputf8, ok;

	t->envelope = (struct spool_envelope){
		.sender_channel = "error", .sender_host = "<>", .sender = "<>", .sender_privilege = o->privilege,
		.recipients = t->routed, .recipient_count = t->routed_count,
	};
	ok = spool_begin(&o->spool, &t->envelope, &t->draft, &n->why) == EX_OK;
	if (ok)
		sink.draft = t->draft;
	ok = ok && report_compose(report, &o->settings, &o->forms, add_bytes, &sink, &smtputf8, &n->why) == REPORT_COMPOSED &&
	     spool_end(t->draft, &n->why) == EX_OK;
	if (!ok)
		spool_free(&t->draft);
	return ok;
}

/* False with n->why if it is not possible now. */
static bool make_report(struct notice *n, struct told *t)
{
	const struct control *c = n->control;
	const struct control_header *header = &c->headers[c->recipients[t->recipients[0]].header];
	const struct report_message message = {
		.sender = t->sender, .envid = c->envid, .ret = c->return_size, .spool_id = buf_str(&n->spool_id),
		.arrival = n->arrival, .header = header->text, .header_length = header->length,
		.body_length = n->has_body ? body_length(&n->body) : 0, .body = piece_of_body, .body_context = &n->body,
	};
	struct report_recipient *recipients = xcalloc(t->count, sizeof *recipients);
	char **notaries = xcalloc(t->count, sizeof *notaries);
	time_t now = time(NULL);
	struct tm local = { 0 };
	bool ok;

	localtime_r(&now, &local);
	for (size_t i = 0; i < t->count; i++)
		recipients[i] = describe(n, t, t->recipients[i], &notaries[i]);
	ok = write_report(n, t, &(struct report){
		.kind = t->kind, .to = t->to, .now = (int64_t)now, .utc_offset = local.tm_gmtoff, .message = &message,
		.recipients = recipients, .count = t->count,
	});
	for (size_t i = 0; i < t->count; i++)
		free(notaries[i]);
	free(notaries);
	free(recipients);
	return ok;
}

/* ---- one after the other ---- */

static void make(struct notice *n, struct told *t)
{
	const char *postmaster = n->office->settings.postmaster;
	enum reach answer = *t->to != '\0' ? reach(n->office, t, &n->why) : REACH_NOBODY;

	if (answer == REACH_NOBODY && t->kind == FORM_FAILURE) {
		n->answer = n->answer == NOTICE_DONE ? NOTICE_FILE : n->answer;
		t->copy = true;
		/* once, when there is nothing more to come */
		if (postmaster == NULL || !n->request->final || is_for(n, t, postmaster))
			return;
		t->to = postmaster;
		answer = reach(n->office, t, &n->why);
	}
	if (answer == REACH_UNCLEAR || (t->routed_count > 0 && !make_report(n, t)))
		n->answer = NOTICE_LATER;
}

static void open_message(struct notice *n)
{
	char *path = control_message_path(n->control);
	struct stat st;

	/* without the message file its header is there all the same */
	if (!file_look_found(path, &st, NULL))
		st = (struct stat){ .st_ino = (ino_t)n->control->id, .st_mtim = n->control->modified };
	spoolid_add(&n->spool_id, &st);
	n->arrival = st.st_mtim.tv_sec;
	switch (body_open(&n->body, path, n->control->body_offset, &n->why)) {
	case BODY_OK:
		n->has_body = true;
		break;
	case BODY_GONE:
	case BODY_ENDLESS:
		buf_clear(&n->why);
		break;
	case BODY_UNREADABLE:
		n->answer = NOTICE_LATER;
		break;
	}
	free(path);
}

/* True if no report is made now, as a recipient has moved, or may have. */
static bool look_for_moved(struct notice *n)
{
	switch (moved_ask(n->office->router, n->control, n->last, !n->request->waiting, &n->moved)) {
	case MOVED_NOBODY:
		return n->request->waiting;
	case MOVED_SOMEBODY:
		n->answer = NOTICE_MOVED;
		return true;
	case MOVED_UNCLEAR:
		/* those that wait are asked for again after the next try */
		if (n->request->waiting)
			return true;
		buf_adds(&n->why, "the maps could not tell whether a recipient that its server does not know has moved");
		n->answer = NOTICE_LATER;
		return true;
	}
	return false;
}

struct notice *notice_begin(const struct office *office, const struct notice_request *request)
{
	struct notice *n = xcalloc(1, sizeof *n);
	enum control_result result;

	n->office = office;
	n->request = request;
	result = control_open(request->job, &n->control, &n->why);
	if (result == CONTROL_OK && (uint64_t)n->control->inode != request->inode)
		control_close(&n->control);
	else if (result != CONTROL_OK && result != CONTROL_GONE)
		n->answer = NOTICE_LATER;
	if (n->control == NULL)
		return n;
	n->last = control_last_diagnostics(n->control);
	if (request->age == 0 && look_for_moved(n))
		return n;
	if (request->age > 0) {
		for (size_t i = 0; i < n->control->recipient_count; i++) {
			const struct control_recipient *r = &n->control->recipients[i];

			if (!control_is_settled(r) && late_of(n, r) != NULL)
				tell_of(n, FORM_DELAY, i);
		}
	} else {
		for (size_t i = 0; i < n->control->recipient_count; i++) {
			switch (report_due(n->control, &n->control->recipients[i], n->last[i])) {
			case REPORT_DUE_FAILURE: tell_of(n, FORM_FAILURE, i); break;
			case REPORT_DUE_SUCCESS: tell_of(n, FORM_SUCCESS, i); break;
			case REPORT_DUE_NONE: break;
			}
		}
	}
	if (n->count > 0)
		open_message(n);
	for (size_t i = 0; i < n->count && n->answer != NOTICE_LATER; i++)
		make(n, &n->told[i]);
	for (size_t i = 0; i < n->count && n->answer == NOTICE_LATER; i++)
		spool_free(&n->told[i].draft);
	return n;
}

void notice_collect(const struct notice *n, struct spool_draft ***drafts, size_t *count, size_t *capacity)
{
	for (size_t i = 0; i < n->count; i++) {
		if (n->told[i].draft == NULL)
			continue;
		*drafts = xgrow(*drafts, *count, capacity, sizeof **drafts);
		(*drafts)[(*count)++] = n->told[i].draft;
	}
}

/* ---- afterwards ---- */

static void add_line(struct buf *lines, const struct control *c, const struct control_recipient *r, const char *action,
                     const char *status, const char *text)
{
	const struct notary notary = {
		.recipient = *r->user != '\0' ? r->user : "-", .action = action, .status = status,
		.words = "the sender was told",
		.remote = "", .agent = "zlmtp-report",
	};
	struct buf fields = { 0 };

	notary_add(&fields, &notary);
	diagnostic_add_told(lines, r->offset, c->headers[r->header].offset, r->dsn_offset, (int64_t)time(NULL),
	                    buf_str(&fields), text);
	buf_free(&fields);
}

/*
 * Sets the tag '+' of what was told, and adds lines for what has none.  They need not be synced: what a power cut takes
 * back is told once more.
 */
static void remember(const struct notice *n, const struct told *t)
{
	const struct control *c = n->control;
	struct buf lines = { 0 }, age = { 0 };
	bool ok = true;

	buf_addf(&age, "%ld", (long)n->request->age);
	for (size_t i = 0; i < t->count; i++) {
		size_t index = t->recipients[i];

		if (t->kind == FORM_DELAY)
			add_line(&lines, c, &c->recipients[index], "delayed", "4.0.0", buf_str(&age));
		else if (n->last[index] == NULL)
			add_line(&lines, c, &c->recipients[index], "failed", "5.0.0", "no reason was reported");
		else
			ok = diagnostic_mark_told(c->fd, n->last[index]->offset) && ok;
	}
	ok = (lines.len == 0 || diagnostic_write(c->fd, &lines)) && ok;
	if (!ok)
		complain("%s: the report to its sender cannot be recorded: %s; it may be sent again", c->name, strerror(errno));
	buf_free(&lines);
	buf_free(&age);
}

enum notice_answer notice_end(struct notice *n, struct buf *words)
{
	for (size_t i = 0; i < n->count && n->answer != NOTICE_LATER; i++) {
		struct told *t = &n->told[i];

		if (t->draft != NULL && spool_status(t->draft) != EX_OK) {
			n->answer = NOTICE_LATER;
			buf_adds(&n->why, spool_why(t->draft));
			break;
		}
		if (t->draft != NULL)
			notify_send(spool_job(t->draft));
		if (!t->copy)
			remember(n, t);
		if (t->draft != NULL || !t->copy) {
			struct logline line = { 0 };

			event_begin(&line, n->office->json, "reported", buf_str(&n->spool_id));
			event_add_sender(&line, t->sender);
			logline_add(&line, "to", t->to);
			logline_number(&line, "recipients", t->count);
			logline_add(&line, "kind", form_kind_name(t->kind));
			logline_add(&line, "report", t->draft != NULL ? spool_id(t->draft) : "-");
			logline_end(&line);
			logline_send(&line);
			if (t->draft != NULL) {
				event_queued(&line, n->office->json, t->draft, "local", "-");
				logline_send(&line);
			}
			logline_free(&line);
		}
	}
	if (n->answer == NOTICE_LATER)
		buf_add(words, n->why.data, n->why.len);
	if (n->answer == NOTICE_MOVED)
		buf_add(words, n->moved.data, n->moved.len);
	return n->answer;
}

void notice_free(struct notice **notice)
{
	struct notice *n = *notice;

	for (size_t i = 0; i < n->count; i++) {
		struct told *t = &n->told[i];

		spool_free(&t->draft);
		for (size_t k = 0; k < t->routed_count; k++) {
			free((char *)t->routed[k].channel);
			free((char *)t->routed[k].host);
			free((char *)t->routed[k].user);
			free((char *)t->routed[k].dsn);
		}
		free(t->routed);
		free(t->recipients);
	}
	if (n->has_body)
		body_close(&n->body);
	free(n->told);
	free(n->last);
	control_close(&n->control);
	buf_free(&n->spool_id);
	buf_free(&n->why);
	buf_free(&n->moved);
	free(n);
	*notice = NULL;
}
