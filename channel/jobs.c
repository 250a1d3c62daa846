#include "channel/jobs.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "channel/job.h"
#include "channel/message/convert.h"
#include "channel/spool/spoolid.h"
#include "channel/spool/tag.h"
#include "channel/spool/verbose.h"
#include "channel/tally.h"
#include "lib/alloc.h"
#include "lib/clock.h"
#include "lib/hash.h"
#include "lib/text.h"

/* From so many files with failures on they are synced by one syncfs(2). */
#define SYNCFS_FROM 8

void jobs_init(struct jobs *jobs, const struct jobs_options *options)
{
	*jobs = (struct jobs){ .options = options };
	outcomes_init(&jobs->outcomes, options);
}

static void free_job(struct job *job)
{
	if (job->opened) {
		for (size_t i = 0; i < job->control->header_count; i++) {
			struct form *form = &job->forms[i];

			header_free(&form->header);
			if (form->converted) {
				header_free(&form->converted_header);
				body_close(&form->converted_body);
			}
		}
		free(job->forms);
		body_close(&job->body);
	}
	if (job->verbose >= 0)
		close(job->verbose);
	control_close(&job->control);
	buf_free(&job->spool);
	free(job->recipients);
	free(job->name);
	free(job->host);
	free(job);
}

void jobs_free(struct jobs *jobs)
{
	while (jobs->first != NULL) {
		struct job *job = jobs->first;

		jobs->first = job->next;
		free_job(job);
	}
	jobs->last = NULL;
	outcomes_free(&jobs->outcomes);
}

void jobs_add(struct jobs *jobs, const char *path, const char *host)
{
	struct job *job = xcalloc(1, sizeof *job);

	job->name = xstrdup(path);
	if (host == NULL)
		host = jobs->options->host;
	job->host = host ? xstrdup(host) : NULL;
	job->number = ++jobs->received;
	job->received_at = clock_ms();
	job->body.fd = -1;
	job->verbose = -1;
	if (jobs->last == NULL)
		jobs->first = job;
	else
		jobs->last->next = job;
	jobs->last = job;
}

bool jobs_empty(const struct jobs *jobs)
{
	return jobs->first == NULL;
}

const char *job_host(const struct job *job)
{
	return job->host;
}

uint64_t job_number(const struct job *job)
{
	return job->number;
}

/* Takes a job out of the list and answers it: exactly one "#hungry" for each line. */
static void finish_job(struct jobs *jobs, struct job *job)
{
	struct job **link = &jobs->first, *before = NULL;

	while (*link != job) {
		before = *link;
		link = &before->next;
	}
	*link = job->next;
	if (jobs->last == job)
		jobs->last = before;
	buf_adds(&jobs->outcomes.answers, "#hungry\n");
	free_job(job);
}

void jobs_drop_unopened(struct jobs *jobs)
{
	struct job **link = &jobs->first;

	jobs->last = NULL;
	while (*link != NULL) {
		struct job *job = *link;

		if (job->opened) {
			jobs->last = job;
			link = &job->next;
			continue;
		}
		*link = job->next;
		free_job(job);
	}
}

/* ---- opening ---- */

static void set_notify(struct job_recipient *r)
{
	static const struct { unsigned bit; const char *word; } words[] = {
		{ NOTIFY_SUCCESS, "SUCCESS" }, { NOTIFY_FAILURE, "FAILURE" }, { NOTIFY_DELAY, "DELAY" },
	};

	if (!r->line->notify_given)
		return;
	if (r->line->notify & NOTIFY_NEVER) {
		strcpy(r->notify, "NEVER");
		return;
	}
	for (size_t i = 0; i < sizeof words / sizeof words[0]; i++) {
		if (!(r->line->notify & words[i].bit))
			continue;
		if (r->notify[0] != '\0')
			strcat(r->notify, ",");
		strcat(r->notify, words[i].word);
	}
}

static bool is_selected(const struct jobs *jobs, const struct job *job, const struct control_recipient *r)
{
	return r->tag == TAG_FREE && r->sender != CONTROL_NONE && r->header != CONTROL_NONE &&
	       strcmp(r->channel, jobs->options->channel) == 0 && ascii_equal(r->host, job->host);
}

/* "a..b"@d is the mailbox that others write a..b@d; to take two for one does no harm here. */
static bool same_mailbox(const char *a, const char *b)
{
	for (;; a++, b++) {
		a += strspn(a, "\"");
		b += strspn(b, "\"");
		if (ascii_lower(*a) != ascii_lower(*b))
			return false;
		if (*a == '\0')
			return true;
	}
}

/* Marks our recipients with the lock.  A recipient that cannot be locked is another process's, or for the next round. */
static void lock_recipients(struct jobs *jobs, struct job *job)
{
	struct control *c = job->control;
	size_t first = CONTROL_NONE, last = 0;

	for (size_t i = 0; i < c->recipient_count; i++) {
		if (is_selected(jobs, job, &c->recipients[i])) {
			first = first == CONTROL_NONE ? i : first;
			last = i;
		}
	}
	if (first == CONTROL_NONE)
		return;
	if (tag_guard(c->fd, c->recipients[first].offset, c->recipients[last].offset) != TAG_OK)
		return;
	tag_claim(c->fd, jobs->options->lock_pid);
	job->recipients = xcalloc(last - first + 1, sizeof *job->recipients);
	for (size_t i = first; i <= last; i++) {
		struct job_recipient *r = &job->recipients[job->count];
		uint64_t hash;

		if (!is_selected(jobs, job, &c->recipients[i]) ||
		    tag_lock(c->fd, c->recipients[i].offset, jobs->options->lock_pid) != TAG_OK)
			continue;
		r->line = &c->recipients[i];
		/* the same for whatever is the same_mailbox() */
		hash = HASH_START;
		for (const char *p = r->line->user; *p != '\0'; p++)
			if (*p != '"')
				hash = hash_byte(hash, (unsigned char)ascii_lower(*p));
		r->hash = hash;
		set_notify(r);
		job->count++;
	}
	tag_unguard(c->fd, c->recipients[first].offset, c->recipients[last].offset);
	job->open = job->count;
}

static const struct settlement nowhere = { .remote = "" };

/* Opens a job; false if it was answered at once and is gone. */
static bool open_job(struct jobs *jobs, struct job *job)
{
	struct buf why = { 0 }, text = { 0 };
	struct stat st;
	enum control_result result;
	char *path;
	bool ok;

	if (job->host == NULL) {
		outcomes_comment(&jobs->outcomes, "%s: no host in the job line and none on the command line", job->name);
		finish_job(jobs, job);
		return false;
	}
	result = control_open(job->name, &job->control, &why);
	if (result != CONTROL_OK && result != CONTROL_NOT_MAIL)
		outcomes_comment(&jobs->outcomes, "%s", buf_str(&why));
	buf_free(&why);
	if (result == CONTROL_OK)
		lock_recipients(jobs, job);
	if (job->count == 0) {
		/* nothing in this job is for us: the scheduler is to look at the file again */
		buf_addf(&jobs->outcomes.answers, "#resync %s\n", job->name);
		finish_job(jobs, job);
		return false;
	}
	job->opened = true;
	if (job->control->verbose != NULL && fstat(job->control->fd, &st) == 0)
		job->verbose = verbose_open(job->control->verbose, st.st_uid);
	job->forms = xcalloc(job->control->header_count, sizeof *job->forms);
	/* The message file that belongs to a locked job.  Whatever is wrong with it, no mail bounces. */
	path = control_message_path(job->control);
	ok = body_open(&job->body, path, job->control->body_offset, &text) == BODY_OK;
	if (!ok) {
		const struct result r = { .outcome = OUTCOME_DEFERRED, .stage = STAGE_LOCAL, .status = "4.3.0",
		                          .words = buf_str(&text) };

		outcomes_comment(&jobs->outcomes, "%s: %s", job->name, buf_str(&text));
		job_fail(jobs, job, &r, &nowhere);
	} else {
		spoolid_add(&job->spool, &job->body.file);
	}
	free(path);
	buf_free(&text);
	return ok;
}

/* ---- transactions ---- */

static bool waits(const struct job_recipient *r)
{
	return r->outcome == OUTCOME_NONE && !r->under_way;
}

struct job *jobs_next_to_send(struct jobs *jobs, struct job *after)
{
	struct job *job = after ? after->next : jobs->first, *next;

	for (; job != NULL; job = next) {
		next = job->next;
		if (!job->opened && !open_job(jobs, job))
			continue;
		while (job->next_waiting < job->count && !waits(&job->recipients[job->next_waiting]))
			job->next_waiting++;
		if (job->next_waiting < job->count)
			return job;
	}
	return NULL;
}

/* ---- recipients under way ---- */

static struct job_recipient **bucket(struct jobs *jobs, const struct job_recipient *r)
{
	return &jobs->busy[r->hash % BUSY_BUCKETS];
}

/* Another entry for the same address, NULL if there is none. */
static const struct job_recipient *find_busy(struct jobs *jobs, const struct job_recipient *r)
{
	const struct job_recipient *b = *bucket(jobs, r);

	while (b != NULL && (b->hash != r->hash || !same_mailbox(b->line->user, r->line->user)))
		b = b->busy_next;
	return b;
}

static bool busy_elsewhere(struct jobs *jobs, const struct job_recipient *r, unsigned session)
{
	const struct job_recipient *b = find_busy(jobs, r);

	/* all entries of one address are on one session */
	return b != NULL && b->session != session;
}

unsigned job_bound_to(struct jobs *jobs, const struct job *job)
{
	const struct job_recipient *b = find_busy(jobs, &job->recipients[job->next_waiting]);

	return b ? b->session : UINT_MAX;
}

bool job_wants_new(const struct job *job)
{
	return job->recipients[job->next_waiting].newer_than > 0;
}

bool job_is_for_one(const struct job *job)
{
	return job->count == 1;
}

static void set_under_way(struct jobs *jobs, struct job_recipient *r, unsigned session)
{
	struct job_recipient **head = bucket(jobs, r);

	r->under_way = true;
	r->session = session;
	r->busy_next = *head;
	*head = r;
}

static void clear_under_way(struct jobs *jobs, struct job_recipient *r)
{
	struct job_recipient **link = bucket(jobs, r);

	while (*link != r)
		link = &(*link)->busy_next;
	*link = r->busy_next;
	r->under_way = false;
}

/* Has it a return path of its own? */
static bool goes_alone(const struct jobs *jobs, const struct job_recipient *r)
{
	return r->line->ezmlm != NULL && !jobs->options->ignore_ezmlm;
}

/* May both go in one transaction? */
static bool same_group(const struct jobs *jobs, const struct job_recipient *a, const struct job_recipient *b)
{
	return a->line->sender == b->line->sender && a->line->header == b->line->header && !goes_alone(jobs, a) &&
	       a->retried == b->retried && a->offered == b->offered && text_same(a->line->by, b->line->by);
}

static void set_envelope(struct jobs *jobs, struct job *job, struct transaction *t, const struct job_recipient *first)
{
	const struct control *c = job->control;
	const struct control_header *fields = &c->headers[first->line->header];
	struct header *header = &job->forms[first->line->header].header;
	struct own_strings *own = &((struct job_transaction *)t)->own;
	const char *sender = control_return_path(&c->senders[first->line->sender]);

	if (header->wire.len == 0)
		header_init(header, fields->text, fields->length);
	if (first->line->ezmlm != NULL && *sender != '\0' && !jobs->options->ignore_ezmlm) {
		const char *at = strrchr(sender, '@');
		int local = at ? (int)(at - sender) : (int)strlen(sender);
		bool quoted = local > 1 && sender[0] == '"' && sender[local - 1] == '"';

		/*
		 * A mailing list's return path that names the recipient: "list-return" + tail + "-" + spool id + "@host".  In
		 * quotes, the tail goes inside.
		 */
		sender = own->sender = xasprintf("%.*s%s-%s%s%s", local - quoted, sender, first->line->ezmlm,
		                                 buf_str(&job->spool), quoted ? "\"" : "", at ? at : "");
	}
	if (first->line->by != NULL) {
		char *rest;
		long long seconds = strtoll(first->line->by, &rest, 10) - (long long)(time(NULL) - job->body.file.st_mtime);

		/*
		 * What is left of a BY= time, counted from the message's arrival (RFC 2852 section 4).  If that has passed, the
		 * smallest one that can still be said lets the server decide.
		 */
		own->by = xasprintf("%lld%s", seconds > 0 || strchr(rest, 'R') == NULL ? seconds : 1, rest);
	}
	t->envelope = (struct envelope){
		.sender = sender,
		.eightbit = header->eightbit || job->body.eightbit,
		.size = source_size(header, &job->body),
		.envid = c->envid,
		.ret = c->return_size,
		.by = own->by,
	};
}

struct transaction *job_take(struct jobs *jobs, struct job *job, size_t limit, unsigned session, uint64_t connection)
{
	size_t max = jobs->options->max_recipients, capacity = 0;
	struct transaction *t = NULL;
	struct job_recipient *first = NULL;

	if (limit != 0 && limit < max)
		max = limit;
	for (size_t i = job->next_waiting; i < job->count && (t == NULL || t->count < max); i++) {
		struct job_recipient *r = &job->recipients[i];

		if (!waits(r) || r->newer_than >= connection || (first != NULL && !same_group(jobs, r, first)) ||
		    busy_elsewhere(jobs, r, session))
			continue;
		if (t == NULL) {
			t = xcalloc(1, sizeof(struct job_transaction));
			first = r;
			/* no need to look through all the others */
			if (goes_alone(jobs, r))
				max = 1;
		}
		t->recipients = xgrow(t->recipients, t->count, &capacity, sizeof *t->recipients);
		t->recipients[t->count++] = (struct transaction_recipient){
			.to = { .address = r->line->user, .notify = r->notify[0] ? r->notify : NULL,
			        .orcpt = r->line->orcpt != NULL ? r->line->orcpt : r->line->given,
			        .ignore_quota = jobs->options->ignore_quota },
			.owner = r,
		};
		set_under_way(jobs, r, session);
	}
	if (t != NULL) {
		t->owner = job;
		t->retried = first->retried;
		t->offered = first->offered;
		set_envelope(jobs, job, t, first);
		job->under_way++;
	}
	return t;
}

/* What must be done to a message before this server gets it: CONVERT_ bits. */
static unsigned conversion_for(const struct jobs *jobs, const struct job *job, const struct header *header,
                               const struct control_header *fields, const struct caps *caps)
{
	const struct jobs_options *o = jobs->options;
	unsigned conversions = 0;

	if ((header->eightbit || job->body.eightbit) && (o->seven_bit || !(caps->has & CAP_8BITMIME)) && !o->eight_bit)
		conversions = o->plain_headers ? CONVERT_TO_7BIT : CONVERT_TO_7BIT | CONVERT_HEADERS;
	else if (o->eight_bit)
		conversions = CONVERT_DECODE;
	return conversions != 0 && convert_allowed(fields->text, fields->length) ? conversions : 0;
}

bool jobs_prepare(struct jobs *jobs, struct transaction *t, const struct caps *caps, struct buf *why)
{
	struct job *job = t->owner;
	const struct job_recipient *first = t->recipients[0].owner;
	const struct control_header *fields = &job->control->headers[first->line->header];
	struct form *form = &job->forms[first->line->header];
	unsigned conversions = conversion_for(jobs, job, &form->header, fields, caps);
	struct own_strings *own = &((struct job_transaction *)t)->own;

	own->converted = conversions != 0;
	if (conversions == 0)
		return true;
	if (!form->converted)
		form->converted = convert_message(fields->text, fields->length, &job->body, conversions, jobs->options->charset,
		                                  &form->converted_header, &form->converted_body, why);
	if (!form->converted)
		return false;
	t->envelope.eightbit = form->converted_header.eightbit || form->converted_body.eightbit;
	t->envelope.size = source_size(&form->converted_header, &form->converted_body);
	return true;
}

void jobs_content(struct transaction *t, struct source *source)
{
	struct job *job = t->owner;
	const struct job_recipient *first = t->recipients[0].owner;
	const struct form *form = &job->forms[first->line->header];

	if (((struct job_transaction *)t)->own.converted)
		source_init(source, &form->converted_header, &form->converted_body, !t->bdat);
	else
		source_init(source, &form->header, &job->body, !t->bdat);
}

static void finish_if_settled(struct jobs *jobs, struct job *job)
{
	if (job->open == 0 && job->under_way == 0)
		finish_job(jobs, job);
}

int64_t jobs_failures_due(const struct jobs *jobs)
{
	return jobs->outcomes.failing != NULL ? jobs->outcomes.failing_since + FAILURES_WAIT : CLOCK_NEVER;
}

/*
 * One wait for the file system of many files instead of one for each; for few it would be a wait for what others have written.
 * True with the number of the file system whose files need no sync any more.  Its error says nothing of one file: each is
 * asked then.
 */
static bool sync_together(const struct job *failing, dev_t *system)
{
	size_t count = 0;
	struct stat st;

	for (const struct job *job = failing; job != NULL; job = job->next_failing)
		count++;
	if (count < SYNCFS_FROM || fstat(failing->control->fd, &st) < 0 || syncfs(failing->control->fd) < 0)
		return false;
	*system = st.st_dev;
	return true;
}

void jobs_write_failures(struct jobs *jobs)
{
	bool together;
	dev_t system;

	/* all files are written before the first is synced: file systems then sync them together */
	for (struct job *job = jobs->outcomes.failing; job != NULL; job = job->next_failing)
		outcome_write_failures(&jobs->outcomes, job);
	together = sync_together(jobs->outcomes.failing, &system);
	while (jobs->outcomes.failing != NULL) {
		struct job *job = jobs->outcomes.failing;
		struct stat st;

		jobs->outcomes.failing = job->next_failing;
		outcome_conclude_failures(&jobs->outcomes, job,
		                          together && fstat(job->control->fd, &st) == 0 && st.st_dev == system);
		finish_if_settled(jobs, job);
	}
}

/* What a connection has failed goes on one that was begun later; then, if that was used up too, as the first of a new one. */
static void try_again(const struct jobs *jobs, struct job_recipient *r, const struct transaction *t)
{
	if (t->used_up)
		r->offered++;
	else
		r->retried = true;
	r->maybe_taken = r->maybe_taken || t->maybe_taken;
	r->newer_than = r->offered >= MAIL_OFFERS ? CONNECTION_NEW - 1 : jobs->options->tally->begun;
}

void jobs_done(struct jobs *jobs, struct transaction *t)
{
	struct job *job = t->owner;

	for (size_t i = 0; i < t->count; i++) {
		struct job_recipient *r = t->recipients[i].owner;

		clear_under_way(jobs, r);
		if (r->outcome != OUTCOME_NONE)
			continue;
		if (!t->recipients[i].later)
			try_again(jobs, r, t);
		if ((size_t)(r - job->recipients) < job->next_waiting)
			job->next_waiting = (size_t)(r - job->recipients);
	}
	job->under_way--;
	free(t->recipients);
	free(((struct job_transaction *)t)->own.sender);
	free(((struct job_transaction *)t)->own.by);
	free(t);
	finish_if_settled(jobs, job);
}

void job_fail(struct jobs *jobs, struct job *job, const struct result *result, const struct settlement *how)
{
	for (size_t i = 0; i < job->count; i++)
		if (waits(&job->recipients[i]))
			outcome_conclude(&jobs->outcomes, job, &job->recipients[i], result, NULL, NULL, how);
	finish_if_settled(jobs, job);
}
