#include "channel/message/convert.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "channel/message/downgrade.h"
#include "channel/message/mime.h"
#include "channel/message/quoted.h"
#include "lib/alloc.h"
#include "lib/text.h"

#define WRITE_AT ((size_t)64 * 1024)

/* What the first pass finds out about each entity. */
struct finding {
	struct mime_entity entity;
	bool stays;             /* ... that nothing can be done about, in it or inside of it */
	bool eightbit;          /* bytes above 127 in its content */
	bool undecodable;       /* not clean quoted-printable text */
	bool not_utf8;
};

struct conversion {
	unsigned conversions;
	const char *charset;
	struct finding *findings;
	size_t count, capacity;
	struct buf scratch;
	/* second pass */
	struct buf header;      /* of the message itself */
	struct buf out;         /* everything behind it, on its way to the file */
	FILE *file;
	int error;              /* errno of the first failed write */
};

bool convert_allowed(const char *fields, size_t n)
{
	static const char *const signatures[] = { "DKIM-Signature", "ARC-Message-Signature", "DomainKey-Signature" };
	char *wish = mime_field(fields, n, "Content-Conversion");
	bool allowed = wish == NULL || strcasestr(wish, "prohibited") == NULL;

	free(wish);
	for (size_t i = 0; i < sizeof signatures / sizeof signatures[0]; i++) {
		char *signature = mime_field(fields, n, signatures[i]);

		allowed = allowed && signature == NULL;
		free(signature);
	}
	return allowed;
}

/* ---- first pass: look ---- */

static void look_header(void *context, const struct mime_entity *e, const char *fields, size_t n)
{
	struct conversion *c = context;

	(void)fields;
	(void)n;
	c->findings = xgrow(c->findings, c->count, &c->capacity, sizeof *c->findings);
	c->findings[c->count++] = (struct finding){ .entity = *e };
}

static void look_nothing(void *context)
{
	(void)context;
}

static void look_line(void *context, const struct mime_entity *e, const char *line, size_t n, bool ended)
{
	struct conversion *c = context;
	struct finding *f = &c->findings[e->number];

	if (text_is_eightbit(line, n)) {
		f->eightbit = true;
		f->not_utf8 = f->not_utf8 || !text_is_utf8(line, n);
	}
	if (e->encoding == MIME_QUOTED && !f->undecodable) {
		buf_clear(&c->scratch);
		f->undecodable = !quoted_decode_line(&c->scratch, line, n, ended);
	}
}

static void look_outside(void *context, size_t of, bool sealed, const char *line, size_t n, bool ended)
{
	struct conversion *c = context;

	(void)ended;
	if (sealed && text_is_eightbit(line, n))
		c->findings[of].stays = true;
}

/* ---- second pass: write ---- */

enum change {
	KEEP,
	ENCODE,     /* to quoted-printable */
	REPAIR,     /* 8-bit bytes in what is quoted-printable already */
	DECODE,
	RELABEL,    /* called 8bit, but it is 7bit, now at least */
};

static enum change change_of(const struct conversion *c, const struct mime_entity *e)
{
	const struct finding *f = &c->findings[e->number];

	if (e->sealed)
		return KEEP;
	if ((c->conversions & CONVERT_TO_7BIT) && e->encoding <= MIME_BINARY) {
		if (e->kind == MIME_LEAF && f->eightbit)
			return ENCODE;
		return e->encoding == MIME_7BIT || f->stays ? KEEP : RELABEL;
	}
	if ((c->conversions & CONVERT_TO_7BIT) && e->kind == MIME_LEAF && e->encoding == MIME_QUOTED && f->eightbit &&
	    !f->undecodable)
		return REPAIR;
	if ((c->conversions & CONVERT_DECODE) && e->kind == MIME_LEAF && e->text && e->encoding == MIME_QUOTED &&
	    !f->undecodable)
		return DECODE;
	return KEEP;
}

static struct buf *sink(struct conversion *c, const struct mime_entity *e)
{
	return e->number == 0 ? &c->header : &c->out;
}

static void flush(struct conversion *c, size_t at)
{
	if (c->out.len < at || c->out.len == 0)
		return;
	if (c->error == 0 && fwrite(c->out.data, 1, c->out.len, c->file) != c->out.len)
		c->error = errno;
	buf_clear(&c->out);
}

/* A header block without field `name`. */
static void add_without(struct buf *out, const char *fields, size_t n, const char *name)
{
	const char *end = fields + n;
	size_t length = strlen(name);
	bool dropping = false;

	for (const char *p = fields; p < end;) {
		const char *lf = memchr(p, '\n', (size_t)(end - p)), *next = lf ? lf + 1 : end;

		if (*p != ' ' && *p != '\t')
			dropping = (size_t)(next - p) > length && strncasecmp(p, name, length) == 0 && p[length] == ':';
		if (!dropping)
			buf_add(out, p, (size_t)(next - p));
		p = next;
	}
}

static void write_header(void *context, const struct mime_entity *e, const char *fields, size_t n)
{
	struct conversion *c = context;
	enum change change = change_of(c, e);
	struct buf changed = { 0 };

	if (change == KEEP || change == REPAIR) {
		buf_add(&changed, fields, n);
	} else {
		static const char *const names[] = { [ENCODE] = "quoted-printable", [DECODE] = "8bit", [RELABEL] = "7bit" };
		const struct finding *f;
		char *version;

		add_without(&changed, fields, n, "Content-Transfer-Encoding");
		f = &c->findings[e->number];
		version = e->number == 0 ? mime_field(buf_str(&changed), changed.len, "MIME-Version") : NULL;
		if (e->number == 0 && version == NULL)
			buf_adds(&changed, "MIME-Version: 1.0\n");
		free(version);
		/* text that said nothing must say what it is, now that it is no longer plain */
		if (change == ENCODE && !e->has_type)
			buf_addf(&changed, "Content-Type: text/plain; charset=%s\n", f->not_utf8 ? c->charset : "utf-8");
		buf_addf(&changed, "Content-Transfer-Encoding: %s\n", names[change]);
	}
	if ((c->conversions & CONVERT_HEADERS) && !e->sealed && text_is_eightbit(buf_str(&changed), changed.len))
		downgrade_header(sink(c, e), changed.data, changed.len, c->charset);
	else
		buf_add(sink(c, e), buf_str(&changed), changed.len);
	buf_free(&changed);
	c->count++;
}

/* The message's own header goes without its empty line: header_init() adds it. */
static void write_end_of_header(void *context)
{
	struct conversion *c = context;

	if (c->count > 1)
		buf_addc(&c->out, '\n');
}

static void write_line(void *context, const struct mime_entity *e, const char *line, size_t n, bool ended)
{
	struct conversion *c = context;

	switch (change_of(c, e)) {
	case ENCODE:
		quoted_encode_line(&c->out, line, n, ended);
		break;
	case REPAIR:
		buf_clear(&c->scratch);
		quoted_decode_line(&c->scratch, line, n, true);
		ended = c->scratch.len > 0 && c->scratch.data[c->scratch.len - 1] == '\n';
		quoted_encode_line(&c->out, buf_str(&c->scratch), c->scratch.len - ended, ended);
		break;
	case DECODE:
		quoted_decode_line(&c->out, line, n, ended);
		break;
	case KEEP:
	case RELABEL:
		buf_add(&c->out, line, n);
		if (ended)
			buf_addc(&c->out, '\n');
		break;
	}
	flush(c, WRITE_AT);
}

/* What stands outside all parts is not shown; it only has to be 7-bit. */
static void write_outside(void *context, size_t of, bool sealed, const char *line, size_t n, bool ended)
{
	struct conversion *c = context;
	size_t start = c->out.len;

	(void)of;
	buf_add(&c->out, line, n);
	if ((c->conversions & CONVERT_TO_7BIT) && !sealed)
		for (size_t i = start; i < c->out.len; i++)
			if ((unsigned char)c->out.data[i] > 127)
				c->out.data[i] = '?';
	if (ended)
		buf_addc(&c->out, '\n');
	flush(c, WRITE_AT);
}

static const struct mime_events look = { look_header, look_nothing, look_line, look_outside };
static const struct mime_events write_out = { write_header, write_end_of_header, write_line, write_outside };

static bool walk(const struct mime_events *events, struct conversion *c, const char *fields, size_t n,
                 const struct body *body, struct buf *why)
{
	struct mime_walker *w = mime_walk_start(events, c);
	struct buf piece = { 0 }, wired = { 0 };
	struct wire wire = { 0 };
	uint64_t at = 0;
	bool ok = true;

	c->count = 0;
	mime_walk(w, fields, n);
	if (n > 0 && fields[n - 1] != '\n')
		mime_walk(w, "\n", 1);
	mime_walk(w, "\n", 1);
	while (ok && at < body_length(body)) {
		ok = body_piece(body, at, &piece, why);
		buf_clear(&wired);
		/* lines as the server will see them: a CR of its own ends one */
		if (ok)
			wire_add(&wire, &wired, piece.data, piece.len);
		mime_walk(w, buf_str(&wired), wired.len);
		at += piece.len;
	}
	mime_walk_end(w);
	buf_free(&piece);
	buf_free(&wired);
	return ok;
}

/* The converted body, as a file without a name. */
static bool open_converted(struct conversion *c, const struct body *original, struct body *converted, struct buf *why)
{
	flush(c, 0);
	if (c->error == 0 && fflush(c->file) != 0)
		c->error = errno;
	if (c->error != 0) {
		buf_addf(why, "temporary file for the converted message: %s", strerror(c->error));
		return false;
	}
	return body_adopt(converted, dup(fileno(c->file)), &original->file, why) == BODY_OK;
}

bool convert_message(const char *fields, size_t n, const struct body *body, unsigned conversions, const char *charset,
                     struct header *header, struct body *converted, struct buf *why)
{
	struct conversion c = { .conversions = conversions, .charset = charset };
	bool ok = walk(&look, &c, fields, n, body, why);

	/* what stays 8-bit keeps everything round it from being called 7bit */
	for (size_t i = c.count; i-- > 0;) {
		struct finding *f = &c.findings[i];

		if (f->eightbit && change_of(&c, &f->entity) == KEEP)
			f->stays = true;
		if (f->stays && f->entity.parent != MIME_NONE)
			c.findings[f->entity.parent].stays = true;
	}
	c.file = ok ? tmpfile() : NULL;
	if (ok && c.file == NULL) {
		buf_addf(why, "temporary file for the converted message: %s", strerror(errno));
		ok = false;
	}
	ok = ok && walk(&write_out, &c, fields, n, body, why) && open_converted(&c, body, converted, why);
	if (ok)
		header_init(header, buf_str(&c.header), c.header.len);
	if (c.file != NULL)
		fclose(c.file);
	free(c.findings);
	buf_free(&c.scratch);
	buf_free(&c.header);
	buf_free(&c.out);
	return ok;
}
