#include "channel/message/mime.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "lib/alloc.h"

enum state { IN_HEADER, IN_CONTENT, OUTSIDE };

struct level {
	char *boundary;         /* without its leading "--" */
	bool digest;            /* parts without a type are messages (RFC 2046 section 5.1.5) */
	bool is_signed;         /* multipart/signed, or inside of one */
	size_t entity;          /* its number */
};

struct mime_walker {
	const struct mime_events *events;
	void *context;
	enum state state;
	struct buf header;      /* of the entity that begins */
	bool too_long;          /* ... and goes beyond MIME_HEADER_MAX */
	struct buf line;        /* the incomplete last line */
	struct level levels[MIME_DEPTH_MAX];
	size_t depth;
	size_t nested;          /* message/rfc822 within each other */
	struct mime_entity entity;
	size_t parent;          /* of the entity that begins */
	size_t count;
};

/* ---- fields ---- */

const char *mime_end_of_field(const char *p, const char *end)
{
	do {
		const char *lf = memchr(p, '\n', (size_t)(end - p));

		p = lf ? lf + 1 : end;
	} while (p < end && (*p == ' ' || *p == '\t'));
	return p;
}

char *mime_field(const char *fields, size_t n, const char *name)
{
	const char *end = fields + n;
	size_t length = strlen(name);

	for (const char *p = fields; p < end;) {
		const char *next = mime_end_of_field(p, end);

		if ((size_t)(next - p) > length && strncasecmp(p, name, length) == 0 && p[length] == ':') {
			char *value = xstrndup(p + length + 1, (size_t)(next - p) - length - 1), *to = value;

			for (const char *from = value; *from != '\0'; from++)
				if (*from != '\n' && *from != '\r')
					*to++ = *from;
			*to = '\0';
			return value;
		}
		p = next;
	}
	return NULL;
}

/* Skips blanks and comments (RFC 5322 section 3.2.2). */
static const char *skip_comments(const char *s)
{
	int depth = 0;

	for (; *s != '\0'; s++) {
		if (*s == '(')
			depth++;
		else if (*s == ')' && depth > 0)
			depth--;
		else if (*s == '\\' && depth > 0 && s[1] != '\0')
			s++;
		else if (depth == 0 && *s != ' ' && *s != '\t')
			break;
	}
	return s;
}

static bool word_is(const char *s, const char *word)
{
	size_t n = strlen(word);

	return strncasecmp(s, word, n) == 0 && strchr(" \t;(", s[n]) != NULL;
}

static enum mime_encoding encoding_of(const char *fields, size_t n)
{
	static const struct { const char *word; enum mime_encoding encoding; } words[] = {
		{ "7bit", MIME_7BIT }, { "8bit", MIME_8BIT }, { "binary", MIME_BINARY },
		{ "quoted-printable", MIME_QUOTED }, { "base64", MIME_BASE64 },
	};
	char *value = mime_field(fields, n, "Content-Transfer-Encoding");
	enum mime_encoding encoding = value ? MIME_OTHER : MIME_7BIT;

	for (size_t i = 0; value != NULL && i < sizeof words / sizeof words[0]; i++)
		if (word_is(skip_comments(value), words[i].word))
			encoding = words[i].encoding;
	free(value);
	return encoding;
}

/* The boundary parameter of a Content-Type value, allocated, or NULL (RFC 2045 section 5.1). */
static char *boundary_of(const char *value)
{
	struct buf boundary = { 0 };
	const char *p = value;

	while ((p = strchr(p, ';')) != NULL) {
		p = skip_comments(p + 1);
		if (strncasecmp(p, "boundary", 8) != 0)
			continue;
		p = skip_comments(p + 8);
		if (*p != '=')
			continue;
		p = skip_comments(p + 1);
		if (*p == '"') {
			for (p++; *p != '\0' && *p != '"'; p++) {
				if (*p == '\\' && p[1] != '\0')
					p++;
				buf_addc(&boundary, *p);
			}
		} else {
			buf_add(&boundary, p, strcspn(p, " \t;("));
		}
		break;
	}
	/* blanks at its end do not count (RFC 2046 section 5.1.1) */
	while (boundary.len > 0 && boundary.data[boundary.len - 1] == ' ')
		boundary.data[--boundary.len] = '\0';
	if (boundary.len == 0) {
		buf_free(&boundary);
		return NULL;
	}
	return boundary.data;
}

/* ---- the walk ---- */

/* What kind of entity this header begins; a multipart goes onto the stack. */
static enum mime_kind enter(struct mime_walker *w, const char *value)
{
	const char *type = value ? skip_comments(value) : "";

	if (strncasecmp(type, "multipart/", 10) == 0 && w->depth < MIME_DEPTH_MAX) {
		char *boundary = boundary_of(type);

		if (boundary == NULL)
			return MIME_LEAF;
		w->levels[w->depth++] = (struct level){
			.boundary = boundary, .digest = word_is(type + 10, "digest"),
			.is_signed = w->entity.sealed || word_is(type + 10, "signed"), .entity = w->entity.number,
		};
		return MIME_MULTIPART;
	}
	if (word_is(type, "message/rfc822") || word_is(type, "message/global") ||
	    (value == NULL && w->depth > 0 && w->levels[w->depth - 1].digest)) {
		if (w->nested++ < MIME_DEPTH_MAX)
			return MIME_MESSAGE;
	}
	return MIME_LEAF;
}

static bool is_composite(const char *type)
{
	return strncasecmp(type, "multipart/", 10) == 0 || word_is(type, "message/rfc822") ||
	       word_is(type, "message/partial") || word_is(type, "message/external-body");
}

static void take_header(struct mime_walker *w)
{
	const char *fields = buf_str(&w->header);
	char *value = mime_field(fields, w->header.len, "Content-Type");

	w->entity = (struct mime_entity){
		.number = w->count++,
		.parent = w->parent,
		.sealed = w->depth > 0 && w->levels[w->depth - 1].is_signed,
		.encoding = encoding_of(fields, w->header.len),
		.has_type = value != NULL,
		.text = value == NULL || strncasecmp(skip_comments(value), "text/", 5) == 0,
	};
	if (w->too_long)
		w->entity.encoding = MIME_OTHER;
	else
		w->entity.kind = enter(w, value);
	w->too_long = false;
	/* an encoded message cannot be looked into */
	if (w->entity.kind == MIME_MESSAGE && w->entity.encoding > MIME_BINARY)
		w->entity.kind = MIME_LEAF;
	/* nor may what is made of others be encoded as a whole (RFC 2045 section 6.4) */
	if (w->entity.kind == MIME_LEAF && value != NULL && is_composite(skip_comments(value)))
		w->entity.encoding = MIME_OTHER;
	free(value);
	w->parent = w->entity.number;
	w->events->header(w->context, &w->entity, fields, w->header.len);
	buf_clear(&w->header);
	w->state = w->entity.kind == MIME_LEAF ? IN_CONTENT : w->entity.kind == MIME_MESSAGE ? IN_HEADER : OUTSIDE;
}

/*
 * The level whose boundary this line is, counted from 1, or 0.  *closing tells
 * whether it is the last one of its multipart.
 */
static size_t boundary_level(const struct mime_walker *w, const char *line, size_t n, bool *closing)
{
	while (n > 0 && line[n - 1] != '\0' && strchr(" \t\r", line[n - 1]) != NULL)
		n--;
	if (n < 3 || line[0] != '-' || line[1] != '-')
		return 0;
	for (size_t level = w->depth; level > 0; level--) {
		const char *boundary = w->levels[level - 1].boundary;
		size_t length = strlen(boundary);

		if (n < length + 2 || memcmp(line + 2, boundary, length) != 0)
			continue;
		*closing = n == length + 4 && line[n - 1] == '-' && line[n - 2] == '-';
		if (n == length + 2 || *closing)
			return level;
	}
	return 0;
}

static void leave_to(struct mime_walker *w, size_t depth)
{
	while (w->depth > depth)
		free(w->levels[--w->depth].boundary);
}

static void outside(struct mime_walker *w, const char *line, size_t n, bool ended)
{
	const struct level *level = w->depth > 0 ? &w->levels[w->depth - 1] : NULL;

	w->parent = level != NULL ? level->entity : MIME_NONE;
	w->events->outside(w->context, w->parent, level != NULL && level->is_signed, line, n, ended);
}

static void take_header_line(struct mime_walker *w, const char *line, size_t n, bool ended)
{
	n -= n > 0 && line[n - 1] == '\r';
	if (n == 0) {
		take_header(w);
		w->events->end_of_header(w->context);
	} else if (w->count == 0 || w->header.len < MIME_HEADER_MAX) {
		buf_add(&w->header, line, n);
		buf_addc(&w->header, '\n');
	} else {
		w->too_long = true;
		take_header(w);
		w->events->line(w->context, &w->entity, line, n, ended);
	}
}

static void take_line(struct mime_walker *w, const char *line, size_t n, bool ended)
{
	bool closing = false;
	size_t level = boundary_level(w, line, n, &closing);

	if (level > 0) {
		if (w->state == IN_HEADER)
			take_header(w);
		leave_to(w, closing ? level - 1 : level);
		w->nested = 0;
		w->state = closing ? OUTSIDE : IN_HEADER;
		outside(w, line, n, ended);
		return;
	}
	switch (w->state) {
	case IN_HEADER:
		take_header_line(w, line, n, ended);
		break;
	case IN_CONTENT:
		w->events->line(w->context, &w->entity, line, n, ended);
		break;
	case OUTSIDE:
		outside(w, line, n, ended);
		break;
	}
}

struct mime_walker *mime_walk_start(const struct mime_events *events, void *context)
{
	struct mime_walker *w = xcalloc(1, sizeof *w);

	w->events = events;
	w->context = context;
	w->parent = MIME_NONE;
	return w;
}

void mime_walk(struct mime_walker *w, const char *p, size_t n)
{
	const char *end = p + n, *lf;

	while ((lf = memchr(p, '\n', (size_t)(end - p))) != NULL) {
		if (w->line.len > 0) {
			buf_add(&w->line, p, (size_t)(lf - p));
			take_line(w, w->line.data, w->line.len, true);
			buf_clear(&w->line);
		} else {
			take_line(w, p, (size_t)(lf - p), true);
		}
		p = lf + 1;
	}
	if (p < end)
		buf_add(&w->line, p, (size_t)(end - p));
}

void mime_walk_end(struct mime_walker *w)
{
	if (w->line.len > 0)
		take_line(w, w->line.data, w->line.len, false);
	if (w->state == IN_HEADER)
		take_header(w);
	leave_to(w, 0);
	buf_free(&w->line);
	buf_free(&w->header);
	free(w);
}
