#include "db/serve/talk.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "db/serve/netstring.h"
#include "lib/text.h"

/* ---- socketmap ---- */

static void reply_socketmap(struct talk *t, enum map_answer answer, bool unknown, const struct buf *value)
{
	struct buf *reply = &t->reply;

	buf_clear(reply);
	switch (answer) {
	case MAP_FOUND:
		buf_adds(reply, "OK ");
		buf_add(reply, buf_str(value), value->len);
		break;
	case MAP_NOT_FOUND:
		buf_adds(reply, "NOTFOUND ");
		break;
	case MAP_COULD_NOT_TELL:
		buf_adds(reply, unknown ? "PERM " : "TEMP ");
		text_add_clean(reply, buf_str(value), value->len, 1000);
		break;
	}
	if (reply->len > NETSTRING_MAX) {
		buf_clear(reply);
		buf_adds(reply, "TEMP the value is longer than 100000 bytes");
	}
	netstring_add(&t->out, reply->data, reply->len);
}

static enum talk_news next_socketmap(struct talk *t)
{
	const char *content, *blank;
	size_t length, done;
	struct buf why = { 0 };
	enum talk_news news = TALK_ASKS;

	switch (netstring_read(buf_str(&t->in), t->in.len, &content, &length, &done)) {
	case NETSTRING_MORE: return TALK_WAITS;
	case NETSTRING_BAD: return TALK_BAD;
	case NETSTRING_WHOLE: break;
	}
	blank = memchr(content, ' ', length);
	/* no name has a NUL, and it must not be cut off to one */
	if (blank != NULL && memchr(content, '\0', (size_t)(blank - content)) == NULL) {
		buf_add(&t->map, content, (size_t)(blank - content));
		buf_add(&t->key, blank + 1, length - (size_t)(blank + 1 - content));
	} else {
		buf_adds(&why, "expected a map, a blank and a key");
		reply_socketmap(t, MAP_COULD_NOT_TELL, true, &why);
		buf_free(&why);
		news = TALK_REPLIED;
	}
	buf_consume(&t->in, done);
	return news;
}

/* ---- lines ---- */

/* The next line of the input without its end, NUL-ended; NULL if it has not come.  *bad: it is too long, or holds a NUL. */
static char *next_line(struct talk *t, size_t at, size_t *next, bool *bad)
{
	size_t left = t->in.len - at, within = left < TALK_LINE_MAX ? left : TALK_LINE_MAX;
	char *lf = within > 0 ? memchr(t->in.data + at, '\n', within) : NULL;

	*bad = lf != NULL ? memchr(t->in.data + at, '\0', (size_t)(lf - t->in.data) - at) != NULL : left >= TALK_LINE_MAX;
	if (lf == NULL || *bad)
		return NULL;
	*next = (size_t)(lf - t->in.data) + 1;
	*lf = '\0';
	if (lf > t->in.data + at && lf[-1] == '\r')
		lf[-1] = '\0';
	return t->in.data + at;
}

/* ---- tcp ---- */

static void add_tcp(struct talk *t, int code, const char *bytes, size_t n)
{
	buf_addf(&t->out, "%d ", code);
	for (size_t i = 0; i < n; i++) {
		unsigned char c = (unsigned char)bytes[i];

		if (c <= ' ' || c >= 127 || c == '%')
			buf_addf(&t->out, "%%%02X", c);
		else
			buf_addc(&t->out, bytes[i]);
	}
	buf_addc(&t->out, '\n');
}

static enum talk_news next_tcp(struct talk *t)
{
	size_t next;
	bool bad;
	char *line = next_line(t, 0, &next, &bad);
	enum talk_news news = TALK_ASKS;

	if (line == NULL)
		return bad ? TALK_BAD : TALK_WAITS;
	if (strncasecmp(line, "get ", 4) != 0 || !text_add_unescaped(&t->key, line + 4, strlen(line + 4), '%')) {
		add_tcp(t, 400, "expected get and a key", 22);
		news = TALK_REPLIED;
	}
	buf_adds(&t->map, t->tcp_map);
	buf_consume(&t->in, next);
	return news;
}

static void reply_tcp(struct talk *t, enum map_answer answer, bool unknown, const struct buf *value)
{
	const char too_long[] = "the value is too long for a reply of 4096 bytes";
	const size_t before = t->out.len;

	(void)unknown;
	switch (answer) {
	case MAP_FOUND:
		add_tcp(t, 200, buf_str(value), value->len);
		if (t->out.len - before > TALK_LINE_MAX) {
			t->out.len = before;
			add_tcp(t, 400, too_long, sizeof too_long - 1);
		}
		break;
	case MAP_NOT_FOUND:
		add_tcp(t, 500, "not found", 9);
		break;
	case MAP_COULD_NOT_TELL:
		add_tcp(t, 400, buf_str(value), value->len);
		break;
	}
}

/* ---- policy ---- */

/* Takes "NAME=VALUE" lines up to the empty one.  A recipient is judged at RCPT. */
static enum talk_news next_policy(struct talk *t)
{
	const char *recipient = "", *state = "RCPT", *end;
	size_t at = 0, next, size = 1;
	char *line;
	bool bad, asks;

	if (t->in.len == 0 || t->in.data[0] != '\n') {
		end = t->in.len > 0 ? memmem(t->in.data, t->in.len, "\n\n", 2) : NULL;
		if (end == NULL)
			return t->in.len < TALK_REQUEST_MAX ? TALK_WAITS : TALK_BAD;
		size = (size_t)(end - t->in.data) + 2;
	}
	while (at < size && (line = next_line(t, at, &next, &bad)) != NULL) {
		if (strncmp(line, "recipient=", 10) == 0)
			recipient = line + 10;
		else if (strncmp(line, "protocol_state=", 15) == 0)
			state = line + 15;
		else if (*line != '\0' && strchr(line, '=') == NULL)
			return TALK_BAD;
		at = next;
	}
	if (at < size)
		return TALK_BAD;
	asks = *recipient != '\0' && strcasecmp(state, "RCPT") == 0;
	if (asks)
		buf_adds(&t->key, recipient);
	else
		buf_adds(&t->out, "action=DUNNO\n\n");
	buf_adds(&t->map, ANSWER_POLICY);
	buf_consume(&t->in, size);
	return asks ? TALK_ASKS : TALK_REPLIED;
}

static void reply_policy(struct talk *t, enum map_answer answer, bool unknown, const struct buf *value)
{
	(void)unknown;
	buf_adds(&t->out, "action=");
	if (answer == MAP_FOUND)
		text_add_clean(&t->out, buf_str(value), value->len, 1000);
	else
		buf_adds(&t->out, "DEFER_IF_PERMIT 4.3.0 temporary lookup failure: cannot tell whether this recipient exists");
	buf_adds(&t->out, "\n\n");
}

/* ---- all of them ---- */

static const struct {
	enum talk_news (*next)(struct talk *t);
	void (*reply)(struct talk *t, enum map_answer answer, bool unknown, const struct buf *value);
} protocols[] = {
	[TALK_SOCKETMAP] = { next_socketmap, reply_socketmap },
	[TALK_TCP] = { next_tcp, reply_tcp },
	[TALK_POLICY] = { next_policy, reply_policy },
};

enum talk_news talk_next(struct talk *t)
{
	buf_clear(&t->map);
	buf_clear(&t->key);
	return protocols[t->protocol].next(t);
}

void talk_reply(struct talk *t, enum map_answer answer, bool unknown, const struct buf *value)
{
	protocols[t->protocol].reply(t, answer, unknown, value);
}

void talk_free(struct talk *t)
{
	buf_free(&t->in);
	buf_free(&t->out);
	buf_free(&t->map);
	buf_free(&t->key);
	buf_free(&t->reply);
}
