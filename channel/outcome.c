#include "channel/outcome.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "channel/job.h"
#include "channel/spool/diagnostic.h"
#include "channel/spool/tag.h"
#include "channel/tally.h"
#include "lib/alloc.h"
#include "lib/clock.h"
#include "lib/text.h"

void outcomes_init(struct outcomes *o, const struct jobs_options *options)
{
	*o = (struct outcomes){ .options = options };
	snprintf(o->agent, sizeof o->agent, "lmtp[%ld]", (long)getpid());
}

void outcomes_free(struct outcomes *o)
{
	buf_free(&o->answers);
}

void outcomes_comment(struct outcomes *o, const char *format, ...)
{
	struct buf text = { 0 };
	va_list ap;

	va_start(ap, format);
	buf_vaddf(&text, format, ap);
	va_end(ap);
	buf_adds(&o->answers, "# ");
	text_add_clean(&o->answers, buf_str(&text), text.len, 1000);
	buf_addc(&o->answers, '\n');
	buf_free(&text);
}

static void add_command(struct buf *text, const char *command, const char *address)
{
	struct buf sent = { 0 };

	text_add_address(&sent, address);
	buf_adds(text, "\r<<- ");
	buf_adds(text, command);
	buf_adds(text, ":<");
	text_add_clean(text, buf_str(&sent), sent.len, 600);
	buf_addc(text, '>');
	buf_free(&sent);
}

/* What we had said on the way to where it was decided, as far as it concerns this recipient: nothing that was not sent. */
static void add_said(struct buf *text, const struct transaction *t, const struct transaction_recipient *to,
                     const struct result *r)
{
	if (r->stage >= STAGE_RCPT && to->rcpt_said) {
		add_command(text, "RCPT TO", to->to.address);
		if (to->rcpt_reply != NULL && r->stage != STAGE_RCPT) {
			buf_adds(text, "\r->> ");
			buf_adds(text, to->rcpt_reply);
		}
	}
	if (r->stage == STAGE_FINAL)
		buf_adds(text, t->sent_at != 0 ? "\r<<- (the message)" : "\r<<- (the message, in part)");
	else if (r->stage == STAGE_MAIL && r->remote)
		add_command(text, "MAIL FROM", t->envelope.sender);
	else if (r->stage == STAGE_DATA && r->remote)
		buf_adds(text, "\r<<- DATA");
}

static struct notary notary_of(const struct outcomes *o, const struct settled *s)
{
	return (struct notary){
		.recipient = s->recipient->line->user,
		/* a deferral says "failed" too: the scheduler keeps it for the day the message expires */
		.action = s->result.outcome != OUTCOME_DELIVERED ? "failed" : o->options->relays ? "relayed" : "delivered",
		.status = s->result.status,
		/* of a server; trouble of our own has none */
		.code = s->result.remote ? s->result.code : 0,
		.words = s->result.words,
		.remote = s->remote,
		.agent = o->agent,
	};
}

/* The mark first and nothing slow before it: a crash up to here costs a second copy. */
static enum report_word mark_delivered(struct outcomes *o, struct job *job, const struct settled *s, bool server_reports)
{
	const struct control_recipient *line = s->recipient->line;
	const struct notary notary = notary_of(o, s);
	int fd = job->control->fd;

	if (tag_unlock(fd, line->offset, o->options->lock_pid, TAG_DONE) == TAG_ERROR)
		outcomes_comment(o, "%s: recipient at %jd is delivered but cannot be marked: %m", job->name,
		             (intmax_t)line->offset);
	if (o->options->sync_marks && fdatasync(fd) < 0)
		outcomes_comment(o, "%s: the mark at %jd cannot be synced: %m", job->name, (intmax_t)line->offset);
	if (!(line->notify & NOTIFY_SUCCESS) || server_reports)
		return REPORT_OK3;
	return diagnostic_append(fd, line->offset, job->control->headers[line->header].offset, line->dsn_offset,
	                         time(NULL), &notary, buf_str(&s->text)) ? REPORT_OK2 : REPORT_OK;
}

static enum report_word mark_deferred(struct outcomes *o, struct job *job, struct settled *s)
{
	s->result.outcome = OUTCOME_DEFERRED;
	tag_unlock(job->control->fd, s->recipient->line->offset, o->options->lock_pid, TAG_FREE);
	return s->result.destination ? REPORT_RETRYAT : REPORT_DEFERRED;
}

/* The recipient is marked: the report, the log, the end of our work on it. */
static void tell(struct outcomes *o, struct job *job, const struct settled *s, enum report_word word)
{
	const struct notary notary = notary_of(o, s);
	struct buf line = { 0 };
	const struct job_recipient *r;
	struct record_entry entry;

	report_add(&o->answers, job->control->id, s->recipient->line->offset, &notary, word, buf_str(&s->text));
	/* for the user who watches by "sendmail -v" */
	if (job->verbose >= 0) {
		text_add_clean_string(&line, s->recipient->line->user, 600);
		buf_adds(&line, s->text.len > 0 && s->text.data[0] == '\r' ? ":" : ": ");
		for (size_t i = 0; i < s->text.len; i++) {
			if (s->text.data[i] == '\r')
				buf_adds(&line, "\n    ");
			else
				buf_addc(&line, s->text.data[i]);
		}
		buf_addc(&line, '\n');
		/* whether a spectator sees it must not matter to the mail */
		if (write(job->verbose, line.data, line.len) < 0)
			line.len = 0;
		buf_free(&line);
	}
	r = s->recipient;
	entry = (struct record_entry){
		.message = job->control->id,
		.spool = job->spool.len > 0 ? job->spool.data : NULL,
		.recipient = r->line->user,
		.sender = r->line->sender != CONTROL_NONE ? control_return_path(&job->control->senders[r->line->sender]) : "",
		.orcpt = r->line->orcpt,
		.result = &s->result,
		.connection = s->connection.peer != NULL ? &s->connection : NULL,
		.received_at = job->received_at,
		.begun_at = s->begun_at,
		.sent_at = s->sent_at,
	};
	record_add(o->options->record, &entry);
	tally_outcome(o->options->tally, &s->result);
	s->recipient->outcome = s->result.outcome;
	job->open--;
}

/* ---- failures: many of them for one sync ---- */

/* Keeps what was settled, with strings that outlive reply and connection, until its d line is on the disk. */
static void keep_failure(struct outcomes *o, struct job *job, const struct settled *s)
{
	const struct control_recipient *line = s->recipient->line;
	const struct notary notary = notary_of(o, s);
	struct settled *kept;

	if (job->failure_count == 0) {
		if (o->failing == NULL)
			o->failing_since = clock_ms();
		job->next_failing = o->failing;
		o->failing = job;
	}
	job->failures = xgrow(job->failures, job->failure_count, &job->failure_capacity, sizeof *job->failures);
	kept = &job->failures[job->failure_count++];
	*kept = *s;
	kept->result.status = xstrdup(s->result.status);
	kept->result.words = xstrdup(s->result.words);
	kept->remote = xstrdup(s->remote);
	kept->connection.session = xstrdup(s->connection.session);
	kept->connection.tls = xstrdup(s->connection.tls);
	/* it is settled, though it may not be reported yet */
	s->recipient->outcome = OUTCOME_FAILED;
	diagnostic_add(&job->lines, line->offset, job->control->headers[line->header].offset, line->dsn_offset, time(NULL),
	               &notary, buf_str(&s->text));
}

/* Notes in job->lines whether they are in the file: it is empty then. */
void outcome_write_failures(struct outcomes *o, struct job *job)
{
	if (diagnostic_write(job->control->fd, &job->lines))
		buf_free(&job->lines);
	else
		outcomes_comment(o, "%s: failures of %zu recipients cannot be recorded: %m", job->name, job->failure_count);
}

void outcome_conclude_failures(struct outcomes *o, struct job *job, bool synced)
{
	bool durable = job->lines.len == 0;

	if (durable && !synced && fdatasync(job->control->fd) < 0) {
		outcomes_comment(o, "%s: failures of %zu recipients cannot be synced: %m", job->name, job->failure_count);
		durable = false;
	}
	for (size_t i = 0; i < job->failure_count; i++) {
		struct settled *s = &job->failures[i];

		if (durable) {
			tag_unlock(job->control->fd, s->recipient->line->offset, o->options->lock_pid, TAG_FAILED);
			tell(o, job, s, REPORT_ERROR2);
		} else {
			tell(o, job, s, mark_deferred(o, job, s));
		}
		free((char *)s->result.status);
		free((char *)s->result.words);
		free((char *)s->remote);
		free((char *)s->connection.session);
		free((char *)s->connection.tls);
		buf_free(&s->text);
	}
	free(job->failures);
	job->failures = NULL;
	job->failure_count = job->failure_capacity = 0;
	buf_free(&job->lines);
}

void outcome_conclude(struct outcomes *o, struct job *job, struct job_recipient *r, const struct result *given,
                      const struct transaction *t, const struct transaction_recipient *to,
                      const struct settlement *how)
{
	struct settled s = {
		.recipient = r,
		.result = *given,
		.remote = how->remote,
		.connection = how->connection != NULL ? *how->connection : (struct record_connection){ .session = "", .tls = "" },
		.begun_at = t ? t->begun_at : 0,
		.sent_at = t ? t->sent_at : 0,
	};

	s.result.maybe_duplicate |= r->maybe_taken;
	/* what people read about one recipient: what was said for it, and what decided */
	if (s.result.remote && s.result.stage >= STAGE_LHLO && s.result.stage <= STAGE_AUTH)
		buf_addf(&s.text, "\r<<- %s", stage_name(s.result.stage));
	if (to != NULL)
		add_said(&s.text, t, to, &s.result);
	if (s.result.remote) {
		buf_adds(&s.text, "\r->> ");
		buf_addu(&s.text, (uint64_t)s.result.code);
		if (!s.result.uncoded) {
			buf_addc(&s.text, ' ');
			buf_adds(&s.text, s.result.status);
		}
		buf_addc(&s.text, ' ');
		buf_adds(&s.text, s.result.words);
	} else
		buf_addf(&s.text, "%s%s", s.text.len > 0 ? "\r" : "", s.result.words);
	if (s.result.maybe_duplicate && s.result.outcome != OUTCOME_DELIVERED)
		buf_adds(&s.text, " (delivery state unknown: the whole message was sent)");
	if (s.result.remote && s.result.stage == STAGE_FINAL && s.sent_at != 0)
		tally_step(o->options->tally, STEP_ANSWER, clock_ms() - s.sent_at);
	switch (s.result.outcome) {
	case OUTCOME_DELIVERED:
		tell(o, job, &s, mark_delivered(o, job, &s, how->server_reports));
		break;
	case OUTCOME_FAILED:
		keep_failure(o, job, &s);
		return;
	default:
		tell(o, job, &s, mark_deferred(o, job, &s));
		break;
	}
	buf_free(&s.text);
}
