#include "channel/spool/write.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sysexits.h>
#include <unistd.h>

#include "channel/spool/compose.h"
#include "channel/spool/draft.h"
#include "channel/spool/fields.h"
#include "channel/spool/spoolid.h"
#include "lib/account.h"
#include "lib/alloc.h"
#include "lib/file.h"
#include "lib/publish.h"
#include "lib/text.h"

/*
 * From a number that is taken to the next one, and how often: beyond the inodes of nearly all file systems, and within 31 bits.
 */
#define NEXT_NUMBER UINT64_C(1000000000)
#define TRIES 8

/* Bytes of a message that are read together, and of a body that are written together: of a thousand that are under way. */
#define PIECE (64 * 1024)
#define WRITTEN_TOGETHER (16 * 1024)

/* ---- what may be written down ---- */

/*
 * Lines of both files end at LF, fields at TAB; whatever else is a control has no business in an address.  Beyond ASCII
 * there is UTF-8 (RFC 6531).
 */
static bool is_text(const char *s)
{
	size_t n = strlen(s), length;

	for (size_t i = 0; i < n; i += length) {
		length = text_utf8_length(s + i, n - i);
		if (length == 0 || (length == 1 && ((unsigned char)s[i] < ' ' || s[i] == 127)))
			return false;
	}
	return n > 0;
}

static bool is_word(const char *s)
{
	return is_text(s) && strchr(s, ' ') == NULL;
}

static int refuse(struct buf *why, const char *what, const char *value)
{
	buf_addf(why, "%s \"", what);
	text_add_clean_string(why, value, 200);
	buf_adds(why, "\": expected printable ASCII");
	return EX_DATAERR;
}

/* Channel and host become words of the agents' command lines. */
static bool is_unfit(const char *what, const char *value, struct buf *why)
{
	const char *unfit = quad_unfit(value);

	if (unfit == NULL)
		return false;
	buf_addf(why, "%s \"", what);
	text_add_clean_string(why, value, 200);
	buf_addf(why, "\": %s", unfit);
	return true;
}

bool spool_may_hold(const struct spool_recipient *r, struct buf *why)
{
	if (!is_word(r->channel))
		refuse(why, "channel", r->channel);
	else if (*r->host != '\0' && !is_text(r->host))
		refuse(why, "host", r->host);
	else if (!is_text(r->user))
		refuse(why, "recipient", r->user);
	else
		return !is_unfit("channel", r->channel, why) && !is_unfit("host", r->host, why);
	return false;
}

static int check_envelope(const struct spool_envelope *e, struct buf *why)
{
	if (!is_text(e->sender))
		return refuse(why, "sender", e->sender);
	if (e->envid != NULL && !is_word(e->envid))
		return refuse(why, "envelope id", e->envid);
	for (size_t i = 0; i < e->recipient_count; i++) {
		const struct spool_recipient *r = &e->recipients[i];

		if (!spool_may_hold(r, why))
			return EX_DATAERR;
		if (r->dsn != NULL && !is_text(r->dsn))
			return refuse(why, "DSN parameters", r->dsn);
	}
	return EX_OK;
}

/* ---- the message file ---- */

static bool is_null_sender(const struct spool_envelope *e)
{
	return strcmp(e->sender_channel, "error") == 0;
}

/* 0 if a file is there, else an errno: ENOENT if it is clear that there is none. */
static int look_for(const char *path)
{
	struct stat st;

	return lstat(path, &st) == 0 ? 0 : errno;
}

/* The hash prefix: letters of the number's last digits to the base of 26 (spool.md section 2). */
char *spool_job_of(const struct spool *spool, uint64_t number)
{
	struct buf job = { 0 };

	if (spool->levels >= 2)
		buf_addf(&job, "%c/", (int)('A' + number / 26 % 26));
	if (spool->levels >= 1)
		buf_addf(&job, "%c/", (int)('A' + number % 26));
	buf_addu(&job, number);
	return job.data;
}

const char *spool_number_of(const struct spool_draft *d)
{
	const char *slash = strrchr(d->job, '/');

	return slash != NULL ? slash + 1 : d->job;
}

void spool_set_names(struct spool_draft *d, const char *job)
{
	free(d->job);
	free(d->queue);
	free(d->transport);
	d->job = xstrdup(job);
	d->queue = xasprintf("%s/queue/%s", d->spool->postoffice, job);
	d->transport = xasprintf("%s/transport/%s", d->spool->postoffice, job);
}

/*
 * Makes the temporary and, from its inode number, the names.  A spool that was restored from a backup, or by intake after a
 * power cut, has files whose names are not their inode numbers, so that a number can be taken: then one is used that no inode
 * has.
 */
int spool_begin_file(struct spool_draft *d, struct buf *why)
{
	char *path = xasprintf("%s/public/enqueue", d->spool->postoffice);
	bool made = publish_begin(&d->message, path, 0600);

	free(path);
	if (!made)
		return spool_cannot_make(d->spool, why, "cannot create a file in", d->spool->postoffice);
	if (fstat(d->message.fd, &d->st) < 0)
		return spool_trouble(why, EX_IOERR, "cannot use", d->message.temporary);
	for (uint64_t try = 0;; try++) {
		char *job = spool_job_of(d->spool, d->st.st_ino + try * NEXT_NUMBER);
		const char *name;
		int found;

		spool_set_names(d, job);
		free(job);
		found = look_for(name = d->queue);
		if (found == ENOENT)
			found = look_for(name = d->transport);
		if (found == ENOENT)
			return EX_OK;
		if (found != 0 || try == TRIES) {
			errno = found != 0 ? found : EEXIST;
			return spool_cannot_make(d->spool, why, "cannot create", name);
		}
	}
}

int spool_begin(const struct spool *spool, const struct spool_envelope *envelope, struct spool_draft **draft,
                struct buf *why)
{
	struct spool_draft *d;
	int status = check_envelope(envelope, why);

	if (status == EX_OK)
		status = spool_check(spool, why);
	*draft = NULL;
	if (status != EX_OK)
		return status;
	d = xcalloc(1, sizeof *d);
	d->spool = spool;
	d->envelope = envelope;
	file_as_user(spool->uid, spool->gid);
	status = spool_begin_file(d, why);
	file_as_oneself();
	if (status == EX_OK)
		*draft = d;
	else
		spool_free(&d);
	return status;
}

static int write_out(struct spool_draft *d, struct buf *why)
{
	if (!file_write(d->message.fd, d->out.data, d->out.len))
		return spool_trouble(why, EX_IOERR, "cannot write", d->message.temporary);
	buf_free(&d->out);
	return EX_OK;
}

/* What has come goes into the message file, once the header is complete. */
static int proceed(struct spool_draft *d, struct buf *why)
{
	if (!d->in.complete) {
		const struct spool_envelope *e;

		switch (incoming_header(&d->in, why)) {
		case INCOMING_MORE: return EX_OK;
		case INCOMING_REFUSED: return EX_DATAERR;
		case INCOMING_COMPLETE: break;
		}
		buf_add(&d->header, d->in.bytes.data, d->in.header);
		/* the lines that a submitter would have put in front of the message for the router (spool.md section 3) */
		e = d->envelope;
		if (is_null_sender(e))
			buf_adds(&d->out, "channel error\n");
		else
			buf_addf(&d->out, "from <%s>\n", e->sender);
		if (e->envid != NULL)
			buf_addf(&d->out, "envid %s\n", e->envid);
		if (e->ret != NULL)
			buf_addf(&d->out, "notaryret %s\n", e->ret);
		for (size_t i = 0; i < e->recipient_count; i++) {
			if (e->recipients[i].dsn != NULL)
				buf_addf(&d->out, "todsn %s\n", e->recipients[i].dsn);
			buf_addf(&d->out, "to <%s>\n", e->recipients[i].user);
		}
		buf_adds(&d->out, "env-end\n");
		buf_add(&d->out, d->header.data, d->header.len);
		if (d->in.blank)
			buf_addc(&d->out, '\n');
		d->body = (off_t)d->out.len;
	}
	incoming_body(&d->in, &d->out);
	if (d->in.bytes.len == 0)
		incoming_free(&d->in);
	return d->out.len >= WRITTEN_TOGETHER ? write_out(d, why) : EX_OK;
}

int spool_add(struct spool_draft *d, const char *bytes, size_t n, struct buf *why)
{
	incoming_add(&d->in, bytes, n);
	return proceed(d, why);
}

/* ---- directories ---- */

/*
 * Makes the hash directories above `path` that are missing, and makes them last; whatever the umask is, as others of its owner's
 * programs put mail there, too.
 */
static bool make_hash(char *path, unsigned levels)
{
	char *slash = strrchr(path, '/');
	bool ok;

	if (levels == 0)
		return true;
	*slash = '\0';
	ok = access(path, F_OK) == 0 ||
	     (make_hash(path, levels - 1) && (mkdir(path, 0750) == 0 ? chmod(path, 0750) == 0 : errno == EEXIST) &&
	      publish_sync_directory(path));
	*slash = '/';
	return ok;
}

bool spool_make_places(const struct spool_draft *d)
{
	return make_hash(d->queue, d->spool->levels) && make_hash(d->transport, d->spool->levels);
}

/* ---- the control file ---- */

static int write_control(struct spool_draft *d, struct buf *why)
{
	struct buf control = { 0 }, fields = { 0 };
	int status = EX_OK;
	const struct spool_envelope *e;

	if (!spool_make_places(d))
		return spool_cannot_make(d->spool, why, "cannot make the directory of", d->transport);
	e = d->envelope;
	header_complete(&fields, d->header.data, d->header.len, &(struct completion){
		.host = d->spool->host, .id = buf_str(&d->id), .sender = is_null_sender(e) ? "<>" : e->sender,
		.now = d->st.st_mtime, .client = e->client, .with = e->with,
	}, &d->message_id);
	buf_addf(&control, "@ 0x%08x\ni %s\no %lld\nl %s\n", 7, spool_number_of(d), (long long)d->body,
	         buf_str(&d->message_id));
	if (!is_null_sender(e))
		buf_addf(&control, "e %s\n", e->sender);
	buf_adds(&control, "s ");
	quad_add(&control, e->sender_channel, e->sender_host, e->sender, e->sender_privilege);
	buf_addc(&control, '\n');
	for (size_t i = 0; i < e->recipient_count; i++) {
		const struct spool_recipient *r = &e->recipients[i];

		buf_addf(&control, "r %6s%4s", "", "");
		quad_add(&control, r->channel, r->host, r->user, r->privilege);
		buf_addc(&control, '\n');
		if (r->dsn != NULL)
			buf_addf(&control, "N %s\n", r->dsn);
		if (e->ret != NULL)
			buf_addf(&control, "R %s\n", e->ret);
		if (e->envid != NULL)
			buf_addf(&control, "n %s\n", e->envid);
	}
	buf_adds(&control, "m\n");
	buf_add(&control, fields.data, fields.len);
	buf_addc(&control, '\n');
	buf_free(&fields);
	if (!publish_begin(&d->control, d->transport, 0600))
		status = spool_cannot_make(d->spool, why, "cannot create", d->transport);
	else if (!file_write(d->control.fd, control.data, control.len))
		status = spool_trouble(why, EX_IOERR, "cannot write", d->transport);
	d->control_size = control.len;
	buf_free(&control);
	return status;
}

int spool_end(struct spool_draft *d, struct buf *why)
{
	int status;

	d->in.eof = true;
	status = proceed(d, why);
	if (status == EX_OK)
		status = write_out(d, why);
	if (status != EX_OK)
		return status;
	if (fstat(d->message.fd, &d->st) < 0)
		return spool_trouble(why, EX_IOERR, "cannot use", d->message.temporary);
	spoolid_add(&d->id, &d->st);
	d->hops = header_count(d->header.data, d->header.len, "Received");
	file_as_user(d->spool->uid, d->spool->gid);
	status = write_control(d, why);
	file_as_oneself();
	buf_free(&d->header);
	incoming_free(&d->in);
	return status;
}

int spool_status(const struct spool_draft *d)
{
	return d->status;
}

const char *spool_why(const struct spool_draft *d)
{
	return buf_str(&d->why);
}

size_t spool_held(const struct spool_draft *d)
{
	return d->in.bytes.size + d->header.size + d->out.size;
}

const char *spool_job(const struct spool_draft *d)
{
	return d->job;
}

const char *spool_id(const struct spool_draft *d)
{
	return buf_str(&d->id);
}

const char *spool_message_id(const struct spool_draft *d)
{
	return buf_str(&d->message_id);
}

off_t spool_size(const struct spool_draft *d)
{
	return d->st.st_size;
}

const struct spool_envelope *spool_envelope_of(const struct spool_draft *d)
{
	return d->envelope;
}

size_t spool_hops(const struct spool_draft *d)
{
	return d->hops;
}

void spool_free(struct spool_draft **draft)
{
	struct spool_draft *d = *draft;

	if (d == NULL)
		return;
	file_as_user(d->spool->uid, d->spool->gid);
	publish_abort(&d->message);
	publish_abort(&d->control);
	file_as_oneself();
	incoming_free(&d->in);
	buf_free(&d->header);
	buf_free(&d->out);
	buf_free(&d->id);
	buf_free(&d->message_id);
	buf_free(&d->why);
	free(d->job);
	free(d->queue);
	free(d->transport);
	free(d);
	*draft = NULL;
}

/* ---- one message, read from a file ---- */

int spool_submit(const struct spool *spool, const struct spool_envelope *envelope, int in, struct spool_draft **draft,
                 struct buf *why)
{
	int status = spool_begin(spool, envelope, draft, why);

	if (status == EX_OK) {
		char *piece = xmalloc(PIECE);
		ssize_t n;

		do {
			n = read(in, piece, PIECE);
			if (n > 0)
				status = spool_add(*draft, piece, (size_t)n, why);
			else if (n < 0 && errno != EINTR)
				status = spool_trouble(why, EX_IOERR, "cannot read", "the message");
		} while (status == EX_OK && n != 0);
		free(piece);
	}
	if (status == EX_OK)
		status = spool_end(*draft, why);
	if (status == EX_OK) {
		spool_commit(draft, 1);
		status = spool_status(*draft);
		buf_adds(why, spool_why(*draft));
	}
	if (status != EX_OK)
		spool_free(draft);
	return status;
}
