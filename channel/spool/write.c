#include "channel/spool/write.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sysexits.h>
#include <unistd.h>

#include "channel/spool/compose.h"
#include "channel/spool/fields.h"
#include "channel/spool/spoolid.h"
#include "lib/account.h"
#include "lib/alloc.h"
#include "lib/file.h"
#include "lib/publish.h"
#include "lib/text.h"

/* Temporaries that at the same time keep inode numbers whose names are taken. */
#define TRIES 8

struct submission {
	const char *postoffice;
	unsigned levels;
	const char *host;
	const struct spool_envelope *envelope;
	struct incoming in;
	struct publish message;    /* its temporary, in public/ */
	struct stat st;            /* of the message file, once it is written */
	off_t body;
	char *job;                 /* "Y/K/4711002" */
	char *queue, *control;     /* where the two files are to appear */
	struct buf *why;
};

/* Whose it is: somebody else's post office is what people run into. */
static void add_owner(struct submission *s)
{
	struct stat st;

	if (stat(s->postoffice, &st) < 0 || st.st_uid == geteuid())
		return;
	buf_adds(s->why, "; the post office belongs to ");
	account_add_user(s->why, st.st_uid);
	buf_adds(s->why, ", be that user or name another one with -P");
}

/* For use in `return trouble(...)`. */
static int trouble(struct submission *s, int status, const char *what, const char *path)
{
	int code = errno;

	buf_addf(s->why, "%s ", what);
	text_add_clean_string(s->why, path, 500);
	buf_addf(s->why, ": %s", strerror(code));
	if (code == ENOENT && access(s->postoffice, F_OK) < 0)
		buf_adds(s->why, "; -m makes a post office");
	else if (code == EACCES || code == EPERM)
		add_owner(s);
	return status;
}

/* ---- what may be written down ---- */

/* Lines of both files end at LF, fields at TAB; whatever else is a control has no business in an address. */
static bool is_text(const char *s)
{
	if (*s == '\0')
		return false;
	for (; *s != '\0'; s++)
		if ((unsigned char)*s < ' ' || (unsigned char)*s > 126)
			return false;
	return true;
}

static bool is_word(const char *s)
{
	return is_text(s) && strchr(s, ' ') == NULL;
}

static int refuse(struct submission *s, const char *what, const char *value)
{
	buf_addf(s->why, "%s \"", what);
	text_add_clean_string(s->why, value, 200);
	buf_adds(s->why, "\": printable ASCII expected");
	return EX_DATAERR;
}

static int check_envelope(struct submission *s)
{
	const struct spool_envelope *e = s->envelope;

	if (!is_text(e->sender))
		return refuse(s, "sender", e->sender);
	if (e->envid != NULL && !is_word(e->envid))
		return refuse(s, "envelope id", e->envid);
	for (size_t i = 0; i < e->recipient_count; i++) {
		const struct spool_recipient *r = &e->recipients[i];

		if (!is_word(r->channel))
			return refuse(s, "channel", r->channel);
		if (*r->host != '\0' && !is_text(r->host))
			return refuse(s, "host", r->host);
		if (!is_text(r->user))
			return refuse(s, "recipient", r->user);
		if (r->dsn != NULL && !is_text(r->dsn))
			return refuse(s, "DSN parameters", r->dsn);
	}
	return EX_OK;
}

static void quad_field_add(struct buf *out, const char *field)
{
	const char *end = quad_field_end(field);
	size_t n = strlen(field), backslashes = 0;

	while (backslashes < n && field[n - 1 - backslashes] == '\\')
		backslashes++;
	if (n == 0) {
		buf_addc(out, '-');
	} else if (end != NULL && *end == '\0' && backslashes % 2 == 0) {
		buf_adds(out, field);
	} else {
		buf_addc(out, '"');
		for (; *field != '\0'; field++) {
			if (*field == '"' || *field == '\\')
				buf_addc(out, '\\');
			buf_addc(out, *field);
		}
		buf_addc(out, '"');
	}
}

void spool_quad_add(struct buf *out, const char *channel, const char *host, const char *user, long privilege)
{
	quad_field_add(out, channel);
	buf_addc(out, ' ');
	quad_field_add(out, host);
	buf_addc(out, ' ');
	quad_field_add(out, user);
	buf_addf(out, " %ld", privilege);
}

/* ---- the message file ---- */

static bool is_null_sender(const struct spool_envelope *e)
{
	return strcmp(e->sender_channel, "error") == 0;
}

/* The lines that a submitter would have put in front of the message for the router (spool.md section 3). */
static void envelope_add(struct buf *out, const struct spool_envelope *e)
{
	if (is_null_sender(e))
		buf_adds(out, "channel error\n");
	else
		buf_addf(out, "from <%s>\n", e->sender);
	if (e->envid != NULL)
		buf_addf(out, "envid %s\n", e->envid);
	if (e->ret != NULL)
		buf_addf(out, "notaryret %s\n", e->ret);
	for (size_t i = 0; i < e->recipient_count; i++) {
		if (e->recipients[i].dsn != NULL)
			buf_addf(out, "todsn %s\n", e->recipients[i].dsn);
		buf_addf(out, "to <%s>\n", e->recipients[i].user);
	}
	buf_adds(out, "env-end\n");
}

/* 0 if a file is there, else an errno: ENOENT if it is clear that there is none. */
static int look_for(const char *path)
{
	struct stat st;

	return lstat(path, &st) == 0 ? 0 : errno;
}

/* The hash prefix: letters of the number's last digits to the base of 26 (spool.md section 2). */
static void hash_add(struct buf *out, uint64_t inode, unsigned levels)
{
	if (levels >= 2)
		buf_addf(out, "%c/", (int)('A' + inode / 26 % 26));
	if (levels >= 1)
		buf_addf(out, "%c/", (int)('A' + inode % 26));
}

static void name_files(struct submission *s)
{
	struct buf job = { 0 };

	free(s->job);
	free(s->queue);
	free(s->control);
	hash_add(&job, s->st.st_ino, s->levels);
	buf_addf(&job, "%llu", (unsigned long long)s->st.st_ino);
	s->job = xstrdup(job.data);
	s->queue = xasprintf("%s/queue/%s", s->postoffice, s->job);
	s->control = xasprintf("%s/transport/%s", s->postoffice, s->job);
	buf_free(&job);
}

static int begin(struct submission *s, struct publish *p, const char *path)
{
	if (!publish_begin(p, path, 0600))
		return trouble(s, EX_CANTCREAT, "cannot create a file in", s->postoffice);
	if (fstat(p->fd, &s->st) < 0)
		return trouble(s, EX_IOERR, "cannot use", p->temporary);
	name_files(s);
	return EX_OK;
}

/*
 * Makes the temporary and, from its inode number, the names.  A spool that was restored from a backup has files
 * whose names are no longer their inode numbers, so that a number can be taken: then the next one is asked for.
 */
static int begin_message(struct submission *s)
{
	char *path = xasprintf("%s/public/enqueue", s->postoffice);
	struct publish kept[TRIES] = { { 0 } };
	size_t n = 0;
	int status = begin(s, &kept[n], path);

	while (status == EX_OK) {
		const char *name = s->queue;
		int found = look_for(name);

		if (found == ENOENT)
			found = look_for(name = s->control);
		if (found == ENOENT)
			break;
		if (found != 0 || n + 1 == TRIES) {
			errno = found != 0 ? found : EEXIST;
			status = trouble(s, EX_CANTCREAT, "cannot create", name);
			break;
		}
		status = begin(s, &kept[++n], path);
	}
	free(path);
	s->message = kept[n];
	while (n-- > 0)
		publish_abort(&kept[n]);
	return status;
}

static int write_message(struct submission *s)
{
	int fd = s->message.fd;
	struct buf text = { 0 };
	bool ok;

	envelope_add(&text, s->envelope);
	buf_add(&text, s->in.bytes.data, s->in.header);
	if (s->in.blank)
		buf_addc(&text, '\n');
	s->body = (off_t)text.len;
	ok = file_write(fd, text.data, text.len);
	/* the header is wanted again: incoming_body() drops it */
	while (ok) {
		if (!incoming_body(&s->in, &text)) {
			buf_free(&text);
			return trouble(s, EX_IOERR, "cannot read", "the message");
		}
		if (text.len == 0)
			break;
		ok = file_write(fd, text.data, text.len);
	}
	buf_free(&text);
	if (!ok || fsync(fd) < 0 || fstat(fd, &s->st) < 0)
		return trouble(s, EX_IOERR, "cannot write", s->message.temporary);
	return EX_OK;
}

/* ---- the control file ---- */

static void recipients_add(struct buf *out, const struct spool_envelope *e)
{
	for (size_t i = 0; i < e->recipient_count; i++) {
		const struct spool_recipient *r = &e->recipients[i];

		buf_addf(out, "r %6s%4s", "", "");
		spool_quad_add(out, r->channel, r->host, r->user, r->privilege);
		buf_addc(out, '\n');
		if (r->dsn != NULL)
			buf_addf(out, "N %s\n", r->dsn);
		if (e->ret != NULL)
			buf_addf(out, "R %s\n", e->ret);
		if (e->envid != NULL)
			buf_addf(out, "n %s\n", e->envid);
	}
}

static void control_add(struct buf *out, const struct submission *s, const char *header, size_t length)
{
	const struct spool_envelope *e = s->envelope;
	struct buf id = { 0 }, fields = { 0 }, message_id = { 0 };

	spoolid_add(&id, &s->st);
	header_complete(&fields, header, length, &(struct completion){
		.host = s->host, .id = buf_str(&id), .sender = is_null_sender(e) ? "<>" : e->sender, .now = s->st.st_mtime,
	}, &message_id);
	buf_addf(out, "@ 0x%08x\ni %llu\no %lld\nl %s\n", 7, (unsigned long long)s->st.st_ino, (long long)s->body,
	         buf_str(&message_id));
	if (!is_null_sender(e))
		buf_addf(out, "e %s\n", e->sender);
	buf_adds(out, "s ");
	spool_quad_add(out, e->sender_channel, e->sender_host, e->sender, e->sender_privilege);
	buf_addc(out, '\n');
	recipients_add(out, e);
	buf_adds(out, "m\n");
	buf_add(out, fields.data, fields.len);
	buf_addc(out, '\n');
	buf_free(&id);
	buf_free(&fields);
	buf_free(&message_id);
}

/* ---- directories ---- */

/* Makes the hash directories above `path` that are missing, and makes them last. */
static bool make_hash(char *path, unsigned levels)
{
	char *slash = strrchr(path, '/');
	bool ok;

	if (levels == 0)
		return true;
	*slash = '\0';
	ok = access(path, F_OK) == 0 ||
	     (make_hash(path, levels - 1) && (mkdir(path, 0750) == 0 || errno == EEXIST) && publish_sync_directory(path));
	*slash = '/';
	return ok;
}

bool spool_make(const char *postoffice, struct buf *why)
{
	static const struct { const char *name; mode_t mode; } directories[] = {
		{ "", 0755 }, { "/public", 01777 }, { "/router", 01777 }, { "/queue", 0750 }, { "/transport", 0750 },
		{ "/deferred", 0750 }, { "/freezer", 0750 }, { "/postman", 0750 },
	};

	for (size_t i = 0; i < sizeof directories / sizeof directories[0]; i++) {
		char *path = xasprintf("%s%s", postoffice, directories[i].name);
		bool made = mkdir(path, directories[i].mode) == 0;
		/* whatever the umask took away; an existing one keeps what its owner gave it */
		bool ok = made ? chmod(path, directories[i].mode) == 0 && publish_sync_directory(path) : errno == EEXIST;

		if (!ok) {
			buf_adds(why, "cannot make ");
			text_add_clean_string(why, path, 500);
			buf_addf(why, ": %s", strerror(errno));
		}
		free(path);
		if (!ok)
			return false;
	}
	return true;
}

/* ---- both files, in the order that loses nothing ---- */

/*
 * The control file under a dot name, then the message in its place and synced, then the control file
 * synced and under its own name: a scheduler never sees one without the other.  link(2)
 * instead of rename(2) for the message, as it refuses to replace a file.
 */
static int appear(struct submission *s, const struct buf *control)
{
	struct publish p = { 0 };
	int status;

	if (!publish_begin(&p, s->control, 0600))
		return trouble(s, EX_CANTCREAT, "cannot create", s->control);
	if (!file_write(p.fd, control->data, control->len)) {
		status = trouble(s, EX_IOERR, "cannot write", s->control);
		publish_abort(&p);
		return status;
	}
	if (link(s->message.temporary, s->queue) < 0) {
		status = trouble(s, EX_CANTCREAT, "cannot create", s->queue);
		publish_abort(&p);
		return status;
	}
	if (!publish_sync_directory(s->queue)) {
		status = trouble(s, EX_IOERR, "cannot sync the directory of", s->queue);
		unlink(s->queue);
		publish_abort(&p);
		return status;
	}
	if (!publish_commit(&p)) {
		status = trouble(s, EX_IOERR, "cannot create", s->control);
		unlink(s->control);
		unlink(s->queue);
		return status;
	}
	return EX_OK;
}

static int submit(struct submission *s)
{
	struct buf header = { 0 }, control = { 0 };
	int status = check_envelope(s);

	if (status != EX_OK)
		return status;
	if (!incoming_header(&s->in, s->why))
		return errno == EBADMSG || errno == EFBIG ? EX_DATAERR : EX_IOERR;
	buf_add(&header, s->in.bytes.data, s->in.header);
	status = begin_message(s);
	if (status == EX_OK)
		status = write_message(s);
	if (status == EX_OK && (!make_hash(s->queue, s->levels) || !make_hash(s->control, s->levels)))
		status = trouble(s, EX_CANTCREAT, "cannot make the directory of", s->control);
	if (status == EX_OK) {
		control_add(&control, s, header.data, header.len);
		status = appear(s, &control);
	}
	publish_abort(&s->message);
	buf_free(&header);
	buf_free(&control);
	return status;
}

int spool_submit(const char *postoffice, unsigned levels, const char *host, const struct spool_envelope *envelope,
                 int in, char **name, struct buf *why)
{
	struct submission s = {
		.postoffice = postoffice, .levels = levels, .host = host, .envelope = envelope, .in = { .fd = in }, .why = why,
	};
	int status = submit(&s);

	*name = NULL;
	if (status == EX_OK) {
		*name = s.job;
		s.job = NULL;
	}
	incoming_free(&s.in);
	free(s.job);
	free(s.queue);
	free(s.control);
	return status;
}
