#include "db/serve/talk.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "db/grammar/address.h"
#include "db/serve/netstring.h"
#include "lib/alloc.h"
#include "lib/text.h"

/* A client that does not read its replies gets no more of them. */
#define OUT_MAX (256 * 1024)

/* ---- socketmap ---- */

static void reply_socketmap(struct buf *out, enum map_answer answer, bool unknown, const struct buf *value)
{
	struct buf reply = { 0 };

	switch (answer) {
	case MAP_FOUND:
		buf_adds(&reply, "OK ");
		buf_add(&reply, buf_str(value), value->len);
		break;
	case MAP_NOT_FOUND:
		buf_adds(&reply, "NOTFOUND ");
		break;
	case MAP_COULD_NOT_TELL:
		buf_adds(&reply, unknown ? "PERM " : "TEMP ");
		text_add_clean(&reply, buf_str(value), value->len, 1000);
		break;
	}
	if (reply.len > NETSTRING_MAX) {
		buf_clear(&reply);
		buf_adds(&reply, "TEMP the value is longer than 100000 bytes");
	}
	netstring_add(out, reply.data, reply.len);
	buf_free(&reply);
}

static bool answer_socketmap(struct talk *t, struct answers *answers, bool *used)
{
	const char *content, *blank;
	size_t length, done;
	struct buf value = { 0 };
	bool unknown;
	char *map;

	*used = false;
	switch (netstring_read(buf_str(&t->in), t->in.len, &content, &length, &done)) {
	case NETSTRING_MORE: return true;
	case NETSTRING_BAD: return false;
	case NETSTRING_WHOLE: break;
	}
	*used = true;
	blank = memchr(content, ' ', length);
	if (blank == NULL) {
		buf_adds(&value, "a map, a blank and a key expected");
		reply_socketmap(&t->out, MAP_COULD_NOT_TELL, true, &value);
	} else {
		enum map_answer answer;

		map = xstrndup(content, (size_t)(blank - content));
		answer = answers_ask(answers, map, blank + 1, length - (size_t)(blank + 1 - content), &value, &unknown);
		reply_socketmap(&t->out, answer, unknown, &value);
		free(map);
	}
	buf_free(&value);
	buf_consume(&t->in, done);
	return true;
}

/* ---- lines ---- */

/* The next line of the input without its end, NUL-ended; NULL if it has not come.  *bad: it is too long. */
static char *next_line(struct talk *t, size_t at, size_t *next, bool *bad)
{
	size_t left = t->in.len - at, within = left < TALK_LINE_MAX ? left : TALK_LINE_MAX;
	char *lf = within > 0 ? memchr(t->in.data + at, '\n', within) : NULL;

	*bad = lf == NULL && left >= TALK_LINE_MAX;
	if (lf == NULL)
		return NULL;
	*next = (size_t)(lf - t->in.data) + 1;
	*lf = '\0';
	if (lf > t->in.data + at && lf[-1] == '\r')
		lf[-1] = '\0';
	return t->in.data + at;
}

/* ---- tcp ---- */

static int hex(char c)
{
	return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

/* %XX becomes a byte.  False if a '%' stands alone. */
static bool unquote(const char *text, struct buf *out)
{
	for (; *text != '\0'; text++) {
		if (*text != '%') {
			buf_addc(out, *text);
			continue;
		}
		if (hex(text[1]) < 0 || hex(text[2]) < 0)
			return false;
		buf_addc(out, (char)(hex(text[1]) * 16 + hex(text[2])));
		text += 2;
	}
	return true;
}

static void quote(struct buf *out, const char *bytes, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		unsigned char c = (unsigned char)bytes[i];

		if (c <= ' ' || c >= 127 || c == '%')
			buf_addf(out, "%%%02X", c);
		else
			buf_addc(out, bytes[i]);
	}
}

static void reply_tcp(struct talk *t, int code, const char *bytes, size_t n)
{
	buf_addf(&t->out, "%d ", code);
	quote(&t->out, bytes, n);
	buf_addc(&t->out, '\n');
}

static bool answer_tcp(struct talk *t, struct answers *answers, bool *used)
{
	struct buf key = { 0 }, value = { 0 };
	size_t next;
	bool bad, unknown;
	char *line = next_line(t, 0, &next, &bad);

	*used = line != NULL;
	if (line == NULL)
		return !bad;
	if (strncasecmp(line, "get ", 4) != 0 || !unquote(line + 4, &key)) {
		reply_tcp(t, 400, "get and a key expected", 22);
	} else {
		switch (answers_ask(answers, t->map, buf_str(&key), key.len, &value, &unknown)) {
		case MAP_FOUND:
			reply_tcp(t, 200, buf_str(&value), value.len);
			break;
		case MAP_NOT_FOUND:
			reply_tcp(t, 500, "not found", 9);
			break;
		case MAP_COULD_NOT_TELL:
			reply_tcp(t, 400, buf_str(&value), value.len);
			break;
		}
	}
	buf_free(&key);
	buf_free(&value);
	buf_consume(&t->in, next);
	return true;
}

/* ---- policy ---- */

/* What is to be done with a recipient: at RCPT, and of a domain that is ours. */
static void add_action(struct buf *out, struct answers *answers, const char *recipient)
{
	struct buf value = { 0 };
	bool unknown;
	const char *at = address_at(recipient, strlen(recipient));
	enum map_answer domain = at != NULL ? answers_ask(answers, "domain", at + 1, strlen(at + 1), &value, &unknown) : MAP_FOUND;
	enum map_answer answer = domain;

	if (domain == MAP_FOUND) {
		buf_clear(&value);
		answer = answers_ask(answers, "recipient", recipient, strlen(recipient), &value, &unknown);
	}
	if (answer == MAP_COULD_NOT_TELL)
		buf_adds(out, "action=DEFER_IF_PERMIT 4.3.0 it cannot be told now whether this recipient exists\n\n");
	else if (domain == MAP_FOUND && answer == MAP_NOT_FOUND)
		buf_adds(out, "action=REJECT 5.1.1 no such recipient\n\n");
	else
		buf_adds(out, "action=DUNNO\n\n");
	buf_free(&value);
}

/* Takes "NAME=VALUE" lines up to the empty one. */
static bool answer_policy(struct talk *t, struct answers *answers, bool *used)
{
	const char *recipient = "", *state = "RCPT", *end;
	size_t at = 0, next, size;
	char *line;
	bool bad;

	*used = false;
	if (t->in.len > 0 && t->in.data[0] == '\n') {
		size = 1;
	} else {
		end = t->in.len > 0 ? memmem(t->in.data, t->in.len, "\n\n", 2) : NULL;
		if (end == NULL)
			return t->in.len < TALK_REQUEST_MAX;
		size = (size_t)(end - t->in.data) + 2;
	}
	while (at < size && (line = next_line(t, at, &next, &bad)) != NULL) {
		if (strncmp(line, "recipient=", 10) == 0)
			recipient = line + 10;
		else if (strncmp(line, "protocol_state=", 15) == 0)
			state = line + 15;
		else if (*line != '\0' && strchr(line, '=') == NULL)
			return false;
		at = next;
	}
	if (at < size)
		return false;
	if (*recipient == '\0' || strcasecmp(state, "RCPT") != 0)
		buf_adds(&t->out, "action=DUNNO\n\n");
	else
		add_action(&t->out, answers, recipient);
	buf_consume(&t->in, size);
	*used = true;
	return true;
}

/* ---- all of them ---- */

bool talk_work(struct talk *t, struct answers *answers)
{
	bool used = true, ok = true;

	while (ok && used && t->out.len < OUT_MAX) {
		switch (t->protocol) {
		case TALK_SOCKETMAP:
			ok = answer_socketmap(t, answers, &used);
			break;
		case TALK_TCP:
			ok = answer_tcp(t, answers, &used);
			break;
		case TALK_POLICY:
			ok = answer_policy(t, answers, &used);
			break;
		}
	}
	return ok;
}

void talk_free(struct talk *t)
{
	buf_free(&t->in);
	buf_free(&t->out);
}
