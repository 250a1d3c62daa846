#include "channel/spool/control.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "channel/spool/fields.h"
#include "lib/alloc.h"
#include "lib/clock.h"
#include "lib/file.h"
#include "lib/parse.h"
#include "lib/text.h"

/* '@' flags (spool.md section 4.2). */
enum { FLAG_PID = 1, FLAG_DELAY = 2, FLAG_MIME = 4, FLAGS_KNOWN = 7 };

enum { PID_COLUMNS = 6, DELAY_COLUMNS = 4 };

/* Some 1.5 million recipients; whatever is larger is no control file and would only eat the memory. */
#define LARGEST ((off_t)256 * 1024 * 1024)

struct parser {
	struct control *control;
	struct buf *why;
	const char *begin;        /* of the line */
	size_t line;              /* from 1 */
	unsigned flags;
	bool has_body_offset;
	bool etrn;
	size_t current;           /* the recipient that an N line here belongs to, CONTROL_NONE without */
	size_t headed;            /* recipients before this one have their header */
	size_t sender_room, header_room, recipient_room, diagnostic_room;
};

/* Says what was expected at this place of the line; for use in `return damaged(...)`. */
static bool damaged(struct parser *p, const char *at, const char *expected)
{
	text_add_clean_string(p->why, p->control->name, 200);
	buf_addf(p->why, ":%zu:%zu: expected %s", p->line, (size_t)(at - p->begin) + 1, expected);
	return false;
}

static bool flags_line(struct parser *p, char *line, char *value)
{
	const char *digits = ascii_skip_blanks(value);
	char *end;
	unsigned long flags;

	(void)line;
	errno = 0;
	flags = strtoul(digits, &end, 0);
	if (!isdigit((unsigned char)*digits) || *ascii_skip_blanks(end) != '\0' || errno != 0 ||
	    (flags & ~(unsigned long)FLAGS_KNOWN) != 0)
		return damaged(p, digits, "format flags within 0x7");
	p->flags = (unsigned)flags;
	return true;
}

static bool sender_line(struct parser *p, char *line, char *value)
{
	struct control *c = p->control;
	struct quad quad;

	(void)line;
	if (!quad_parse(value, &quad))
		return damaged(p, value, "a sender of channel, host, user and privilege");
	c->senders = xgrow(c->senders, c->sender_count, &p->sender_room, sizeof *c->senders);
	c->senders[c->sender_count++] = (struct control_sender){ quad.channel, quad.host, quad.user };
	return true;
}

/* True if the next n bytes are columns of blanks and digits. */
static bool is_columns(const char *s, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (s[i] != ' ' && !isdigit((unsigned char)s[i]))
			return false;
	return true;
}

/*
 * The columns in front of the quad.  The flags say whether they are there; files without
 * the flags have them too at times, then they are known by their look.
 */
static bool recipient_columns(struct parser *p, char **text, pid_t *locker)
{
	char *s = *text;

	*locker = 0;
	if (is_columns(s, PID_COLUMNS)) {
		char pid[PID_COLUMNS + 1] = { 0 };

		memcpy(pid, s, PID_COLUMNS);
		*locker = (pid_t)strtol(pid, NULL, 10);
		s += PID_COLUMNS;
	} else if (p->flags & FLAG_PID) {
		return false;
	}
	if (is_columns(s, DELAY_COLUMNS))
		s += DELAY_COLUMNS;
	else if (p->flags & FLAG_DELAY)
		return false;
	*text = s;
	return true;
}

static bool recipient_line(struct parser *p, char *line, char *value)
{
	struct control *c = p->control;
	struct control_recipient r = {
		.offset = line - c->bytes,
		.tag = line[1],
		.sender = c->sender_count > 0 ? c->sender_count - 1 : CONTROL_NONE,
		.header = CONTROL_NONE,
		.dsn_offset = -1,
		.notify = NOTIFY_FAILURE,
	};
	struct quad quad;

	if (line[1] == '\0' || strchr("~+- ", line[1]) == NULL)
		return damaged(p, line + 1, "a recipient's mark of blank, ~, + or -");
	if (!recipient_columns(p, &value, &r.locker))
		return damaged(p, value, "ten columns of process id and delay");
	if (!quad_parse(value, &quad))
		return damaged(p, value, "a recipient of channel, host, user and privilege");
	if (r.tag != TAG_LOCKED)
		r.locker = 0;
	r.channel = quad.channel;
	r.host = quad.host;
	r.user = quad.user;
	r.privilege = quad.privilege;
	c->recipients = xgrow(c->recipients, c->recipient_count, &p->recipient_room, sizeof *c->recipients);
	c->recipients[c->recipient_count] = r;
	p->current = c->recipient_count++;
	return true;
}

static bool diagnostic_line(struct parser *p, char *line, char *value)
{
	struct control *c = p->control;
	struct control_diagnostic d = { .offset = line - c->bytes };

	(void)value;
	/* written by several programs while things go wrong: a bad one says nothing about the mail */
	if (!diagnostic_parse(line, &d))
		return true;
	c->diagnostics = xgrow(c->diagnostics, c->diagnostic_count, &p->diagnostic_room, sizeof *c->diagnostics);
	c->diagnostics[c->diagnostic_count++] = d;
	return true;
}

static bool message_line(struct parser *p, char *line, char *value)
{
	(void)line;
	/* it becomes part of a path */
	if (!isdigit((unsigned char)*value) || strchr(value, '/') != NULL)
		return damaged(p, value, "a message file name that begins with a digit");
	p->control->message = value;
	return true;
}

static bool offset_line(struct parser *p, char *line, char *value)
{
	uint64_t offset;

	(void)line;
	if (!parse_number(ascii_skip_blanks(value), INT64_MAX, &offset))
		return damaged(p, value, "the body's offset");
	p->control->body_offset = (off_t)offset;
	p->has_body_offset = true;
	return true;
}

/* It belongs to the recipient right above it and to no other (spool.md section 6). */
static bool notify_line(struct parser *p, char *line, char *value)
{
	if (p->current != CONTROL_NONE) {
		p->control->recipients[p->current].dsn_offset = line - p->control->bytes;
		dsn_parse(value, &p->control->recipients[p->current]);
	}
	return true;
}

static bool return_line(struct parser *p, char *line, char *value)
{
	(void)line;
	if (ascii_equal(value, "FULL"))
		p->control->return_size = "FULL";
	else if (ascii_equal(value, "HDRS"))
		p->control->return_size = "HDRS";
	return true;
}

static bool verbose_line(struct parser *p, char *line, char *value)
{
	(void)line;
	p->control->verbose = value;
	return true;
}

static bool ident_line(struct parser *p, char *line, char *value)
{
	(void)line;
	p->control->log_ident = value;
	return true;
}

static bool envid_line(struct parser *p, char *line, char *value)
{
	(void)line;
	p->control->envid = value;
	return true;
}

static bool etrn_line(struct parser *p, char *line, char *value)
{
	(void)line, (void)value;
	p->etrn = true;
	return true;
}

static const struct {
	char letter;
	bool is_text;             /* a NUL in it is damage */
	bool keeps_recipient;     /* what follows may be about the recipient above it all the same */
	bool (*parse)(struct parser *p, char *line, char *value);
} fields[] = {
	{ '@', true, false, flags_line }, { 'i', true, false, message_line }, { 'o', true, false, offset_line },
	{ 's', true, false, sender_line }, { 'r', true, true, recipient_line }, { 'N', true, true, notify_line },
	{ 'v', true, false, verbose_line }, { 'l', true, false, ident_line }, { 'R', true, true, return_line },
	{ 'n', true, true, envid_line }, { 'd', false, false, diagnostic_line }, { 'T', false, false, etrn_line },
};

/* One field, terminated in place at `end`.  Others than these are for ZMailer. */
static bool field(struct parser *p, char *line, char *end)
{
	char *value = end - line >= 2 ? line + 2 : end;
	size_t i = 0;

	while (i < sizeof fields / sizeof fields[0] && fields[i].letter != *line)
		i++;
	if (i == sizeof fields / sizeof fields[0]) {
		p->current = CONTROL_NONE;
		return true;
	}
	if (fields[i].is_text && strlen(line) != (size_t)(end - line))
		return damaged(p, line + strlen(line), "a line without NUL bytes");
	if (!fields[i].keeps_recipient)
		p->current = CONTROL_NONE;
	return fields[i].parse(p, line, value);
}

/*
 * An m or M block: the letter, then lines up to the first empty one.  Moves *at behind
 * it.
 */
static bool block(struct parser *p, char **at, char *end)
{
	struct control *c = p->control;
	char *start = *at, *text = start + 2, *s = text, *lf;
	size_t begun = p->line;

	p->current = CONTROL_NONE;
	if (end - start < 2 || start[1] != '\n')
		return damaged(p, start + 1, "a header block with its letter alone in the first line");
	for (;; s = lf + 1, p->line++) {
		lf = s < end ? memchr(s, '\n', (size_t)(end - s)) : NULL;
		if (lf == NULL) {
			p->line = begun;
			return damaged(p, start, "a header block with an empty line at its end");
		}
		if (lf == s)
			break;
	}
	p->line++;
	*at = lf + 1;
	if (*start == 'M')
		return true;
	c->headers = xgrow(c->headers, c->header_count, &p->header_room, sizeof *c->headers);
	for (; p->headed < c->recipient_count; p->headed++)
		c->recipients[p->headed].header = c->header_count;
	c->headers[c->header_count++] = (struct control_header){ text - c->bytes, text, (size_t)(s - text) };
	return true;
}

static bool lines(struct parser *p)
{
	char *at = p->control->bytes, *end = at + p->control->length;

	for (; at < end; p->line++) {
		char *lf;

		p->begin = at;
		if (*at == 'm' || *at == 'M') {
			if (!block(p, &at, end))
				return false;
			continue;
		}
		lf = memchr(at, '\n', (size_t)(end - at));
		if (lf == NULL && *at == 'd')
			break;     /* a disk was full; the mail above it is whole */
		if (lf == NULL)
			return damaged(p, end, "an end of the line");
		*lf = '\0';
		if (!field(p, at, lf))
			return false;
		at = lf + 1;
	}
	p->begin = at;
	return true;
}

/* What every file of a message has; a file that was cut off at a line end is found out here. */
static bool complete(struct parser *p)
{
	struct control *c = p->control;

	if (c->message == NULL)
		return damaged(p, p->begin, "an i line (message file)");
	if (!p->has_body_offset)
		return damaged(p, p->begin, "an o line (offset of the body)");
	if (p->headed < c->recipient_count)
		return damaged(p, p->begin, "a header block below the recipients");
	return true;
}

bool control_id(const char *path, uint64_t *id)
{
	const char *name = file_name(path);
	char digits[24];
	size_t n = strspn(name, "0123456789");

	if (n >= sizeof digits)
		return false;
	memcpy(digits, name, n);
	digits[n] = '\0';
	return parse_number(digits, UINT64_MAX, id);
}

bool control_is_job(const char *name)
{
	uint64_t id;

	for (int levels = 0; levels < 2 && name[0] >= 'A' && name[0] <= 'Z' && name[1] == '/'; levels++)
		name += 2;
	return strchr(name, '/') == NULL && control_id(name, &id);
}

enum control_result control_parse(const char *name, char *bytes, size_t length, struct control **control,
                                  struct buf *why)
{
	struct control *c = xcalloc(1, sizeof *c);
	struct parser p = { .control = c, .why = why, .line = 1, .current = CONTROL_NONE };
	enum control_result result = CONTROL_OK;

	c->name = xstrdup(name);
	c->fd = -1;
	c->bytes = bytes;
	c->length = length;
	if (!control_id(name, &c->id)) {
		text_add_clean_string(why, name, 200);
		buf_adds(why, ": expected a name that begins with a number");
		result = CONTROL_DAMAGED;
	} else if (!lines(&p)) {
		result = CONTROL_DAMAGED;
	} else if (p.etrn && c->recipient_count == 0) {
		text_add_clean_string(why, name, 200);
		buf_adds(why, ": no mail but an ETRN request");
		result = CONTROL_NOT_MAIL;
	} else if (!complete(&p)) {
		result = CONTROL_DAMAGED;
	}
	if (result != CONTROL_OK)
		control_close(&c);
	*control = c;
	return result;
}

/* Reads `length` bytes; NULL with errno if there are fewer or they cannot be read. */
static char *read_whole(int fd, size_t length)
{
	char *bytes = xmalloc(length);
	size_t have = 0;

	while (have < length) {
		ssize_t n = read(fd, bytes + have, length - have);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0) {
			int saved = n < 0 ? errno : EIO;

			free(bytes);
			errno = saved;
			return NULL;
		}
		have += (size_t)n;
	}
	return bytes;
}

static enum control_result unreadable(const char *name, const char *reason, struct buf *why)
{
	text_add_clean_string(why, name, 200);
	buf_addf(why, ": %s", reason);
	return CONTROL_UNREADABLE;
}

int control_descriptor(const char *name, int mode)
{
	const char *last;
	int at = file_directory_found(name, &last), fd;

	if (at == -1)
		return -1;
	/* not O_APPEND, which would make pwrite(2) of a tag append it; not blocking, should it be a pipe */
	fd = openat(at, last, mode | O_NONBLOCK | O_NOFOLLOW | O_NOCTTY | O_CLOEXEC);
	file_directory_close(at);
	return fd;
}

static enum control_result open_as(const char *name, int mode, struct control **control, struct buf *why)
{
	enum control_result result;
	struct stat st;
	char *bytes;
	int fd;

	*control = NULL;
	fd = control_descriptor(name, mode);
	if (fd < 0) {
		result = errno == ENOENT ? CONTROL_GONE : CONTROL_UNREADABLE;
		unreadable(name, strerror(errno), why);
		return result;
	}
	if (fstat(fd, &st) < 0)
		result = unreadable(name, strerror(errno), why);
	else if (!S_ISREG(st.st_mode))
		result = unreadable(name, "not a regular file", why);
	else if (st.st_size > LARGEST)
		result = unreadable(name, "too large for a control file", why);
	else if ((bytes = read_whole(fd, (size_t)st.st_size)) == NULL)
		result = unreadable(name, strerror(errno), why);
	else
		result = control_parse(name, bytes, (size_t)st.st_size, control, why);
	if (result == CONTROL_OK) {
		(*control)->fd = fd;
		(*control)->inode = st.st_ino;
		(*control)->modified = st.st_mtim;
		(*control)->marked = clock_past(&st.st_mtim);
	} else {
		close(fd);
	}
	return result;
}

enum control_result control_open(const char *name, struct control **control, struct buf *why)
{
	return open_as(name, O_RDWR, control, why);
}

enum control_result control_look(const char *name, struct control **control, struct buf *why)
{
	enum control_result result = open_as(name, O_RDONLY, control, why);

	if (result == CONTROL_OK) {
		close((*control)->fd);
		(*control)->fd = -1;
	}
	return result;
}

void control_close(struct control **control)
{
	struct control *c = *control;

	if (c == NULL)
		return;
	if (c->fd >= 0)
		close(c->fd);
	free(c->name);
	free(c->senders);
	free(c->headers);
	free(c->recipients);
	free(c->diagnostics);
	free(c->bytes);
	free(c);
	*control = NULL;
}

static int compare_offset(const void *key, const void *element)
{
	off_t offset = *(const off_t *)key;
	const struct control_recipient *r = element;

	return offset < r->offset ? -1 : offset > r->offset;
}

bool diagnostic_is_delay(const struct control_diagnostic *d)
{
	const char *action = strchr(d->notary, '\001');

	return action != NULL && strncmp(action + 1, "delayed\001", 8) == 0;
}

const char *control_return_path(const struct control_sender *sender)
{
	return strcmp(sender->channel, "error") == 0 || strcmp(sender->user, "<>") == 0 ? "" : sender->user;
}

const struct control_diagnostic **control_last_diagnostics(const struct control *c)
{
	const struct control_diagnostic **last = xcalloc(c->recipient_count, sizeof *last);

	for (size_t i = 0; i < c->diagnostic_count; i++) {
		const struct control_recipient *r = bsearch(&c->diagnostics[i].recipient, c->recipients, c->recipient_count,
		                                            sizeof *c->recipients, compare_offset);

		if (r != NULL && !diagnostic_is_delay(&c->diagnostics[i]))
			last[r - c->recipients] = &c->diagnostics[i];
	}
	return last;
}

bool control_is_settled(const struct control_recipient *r)
{
	return r->tag == TAG_DONE || r->tag == TAG_FAILED;
}

bool control_all_settled(const struct control *control)
{
	for (size_t i = 0; i < control->recipient_count; i++)
		if (!control_is_settled(&control->recipients[i]))
			return false;
	return true;
}

char *control_message_path(const struct control *control)
{
	const char *slash = strrchr(control->name, '/');
	/* as in ZMailer: a prefix is a hash only if it begins with a letter */
	size_t prefix = slash != NULL && control->name[0] >= 'A' ? (size_t)(slash - control->name) + 1 : 0;
	struct buf path = { 0 };

	buf_adds(&path, "../queue/");
	buf_add(&path, control->name, prefix);
	buf_adds(&path, control->message);
	return path.data;
}
