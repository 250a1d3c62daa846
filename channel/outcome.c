#include "channel/outcome.h"

#include <string.h>
#include <time.h>
#include <unistd.h>

#include "channel/spool/diagnostic.h"
#include "channel/spool/tag.h"
#include "channel/tally.h"
#include "lib/clock.h"
#include "lib/text.h"

/* Trouble of our own has no reply code; NOTARY wants one of three digits. */
static int reported_code(const struct result *r)
{
	return r->code ? r->code : 400;
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

static void add_reply(struct buf *text, const struct result *r)
{
	buf_adds(text, "\r->> ");
	buf_addu(text, (uint64_t)r->code);
	buf_addc(text, ' ');
	buf_adds(text, r->status);
	buf_addc(text, ' ');
	buf_adds(text, r->words);
}

/* What people read about one recipient: what was said for it, and what decided. */
static void add_text(struct buf *text, const struct transaction *t, const struct transaction_recipient *to,
                     const struct result *r)
{
	if (r->remote && r->stage >= STAGE_LHLO && r->stage <= STAGE_AUTH)
		buf_addf(text, "\r<<- %s", stage_name(r->stage));
	if (to != NULL)
		add_said(text, t, to, r);
	if (r->remote)
		add_reply(text, r);
	else
		buf_addf(text, "%ssmtp; %d (%s)", text->len > 0 ? "\r" : "", reported_code(r), r->words);
	if (r->maybe_duplicate && r->outcome != OUTCOME_DELIVERED)
		buf_adds(text, " (delivery state unknown: the whole message was sent)");
}

static void log_outcome(struct jobs *jobs, const struct job *job, const struct job_recipient *r,
                        const struct result *result, const struct transaction *t, const struct settlement *how)
{
	struct record_entry entry = {
		.message = job->control->id,
		.spool = job->spool.len > 0 ? job->spool.data : NULL,
		.recipient = r->line->user,
		.orcpt = r->line->orcpt,
		.result = result,
		.connection = how->connection,
		.received_at = job->received_at,
		.begun_at = t ? t->begun_at : 0,
		.sent_at = t ? t->sent_at : 0,
	};

	record_add(jobs->options->record, &entry);
}

/* For the user who watches by "sendmail -v". */
static void tell_verbosely(const struct job *job, const struct job_recipient *r, const struct buf *text)
{
	struct buf line = { 0 };

	if (job->verbose < 0)
		return;
	text_add_clean_string(&line, r->line->user, 600);
	buf_adds(&line, text->len > 0 && text->data[0] == '\r' ? ":" : ": ");
	for (size_t i = 0; i < text->len; i++) {
		if (text->data[i] == '\r')
			buf_adds(&line, "\n    ");
		else
			buf_addc(&line, text->data[i]);
	}
	buf_addc(&line, '\n');
	/* whether a spectator sees it must not matter to the mail */
	if (write(job->verbose, line.data, line.len) < 0)
		line.len = 0;
	buf_free(&line);
}

static bool write_diagnostic(const struct job *job, const struct control_recipient *line, const struct notary *notary,
                             const struct buf *text)
{
	return diagnostic_append(job->control->fd, line->offset, job->control->headers[line->header].offset,
	                         line->dsn_offset, time(NULL), notary, buf_str(text));
}

/* The mark first and nothing slow before it: a crash up to here costs a second copy. */
static enum report_word mark_delivered(struct jobs *jobs, struct job *job, const struct control_recipient *line,
                                       const struct notary *notary, const struct buf *text, bool server_reports)
{
	int fd = job->control->fd;

	if (tag_unlock(fd, line->offset, jobs->options->lock_pid, TAG_DONE) == TAG_ERROR)
		jobs_comment(jobs, "%s: recipient at %jd is delivered but cannot be marked: %m", job->name,
		             (intmax_t)line->offset);
	if (jobs->options->sync_marks && fdatasync(fd) < 0)
		jobs_comment(jobs, "%s: the mark at %jd cannot be synced: %m", job->name, (intmax_t)line->offset);
	if (!(line->notify & NOTIFY_SUCCESS) || server_reports)
		return REPORT_OK3;
	return write_diagnostic(job, line, notary, text) ? REPORT_OK2 : REPORT_OK;
}

/* False if it cannot be written down: then nobody would ever tell the sender, and it must not count. */
static bool mark_failed(struct jobs *jobs, struct job *job, const struct control_recipient *line,
                        const struct notary *notary, const struct buf *text)
{
	if (!write_diagnostic(job, line, notary, text)) {
		jobs_comment(jobs, "%s: failure of the recipient at %jd cannot be written down: %m", job->name,
		             (intmax_t)line->offset);
		return false;
	}
	tag_unlock(job->control->fd, line->offset, jobs->options->lock_pid, TAG_FAILED);
	return true;
}

void outcome_conclude(struct jobs *jobs, struct job *job, struct job_recipient *r, const struct result *given,
                      const struct transaction *t, const struct transaction_recipient *to,
                      const struct settlement *how)
{
	const struct control_recipient *line = r->line;
	struct result result = *given;
	enum report_word word = REPORT_ERROR2;
	struct buf text = { 0 };
	const struct notary notary = {
		.recipient = line->user,
		/* a deferral says "failed" too: the scheduler keeps it for the day the message expires */
		.action = result.outcome == OUTCOME_DELIVERED ? "delivered" : "failed",
		.status = result.status,
		.code = reported_code(&result),
		.words = result.words,
		.remote = how->remote,
		.agent = jobs->agent,
	};

	result.maybe_duplicate |= r->maybe_taken;
	add_text(&text, t, to, &result);
	if (result.outcome == OUTCOME_DELIVERED) {
		word = mark_delivered(jobs, job, line, &notary, &text, how->server_reports);
	} else if (result.outcome != OUTCOME_FAILED || !mark_failed(jobs, job, line, &notary, &text)) {
		result.outcome = OUTCOME_DEFERRED;
		word = result.destination ? REPORT_RETRYAT : REPORT_DEFERRED;
		tag_unlock(job->control->fd, line->offset, jobs->options->lock_pid, TAG_FREE);
	}
	report_add(&jobs->answers, job->control->id, line->offset, &notary, word, buf_str(&text));
	tell_verbosely(job, r, &text);
	log_outcome(jobs, job, r, &result, t, how);
	tally_outcome(jobs->options->tally, &result);
	if (result.remote && result.stage == STAGE_FINAL && t->sent_at != 0)
		tally_step(jobs->options->tally, STEP_ANSWER, clock_ms() - t->sent_at);
	buf_free(&text);
	r->outcome = result.outcome;
	job->open--;
}
