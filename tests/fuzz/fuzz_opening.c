/*
 * Any bytes as what a server says from its greeting on: no mail is allowed before everything demanded has happened,
 * every command is one clean line, and whoever fails says why.  The first byte says what is demanded.
 */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "channel/protocol/opening.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* A mechanism of two answers. */
struct mechanism {
	unsigned answers;
	bool chosen;
};

static const char *choose(void *run, const char *offered, bool guarded, struct buf *why)
{
	struct mechanism *m = run;

	m->chosen = true;
	if (guarded && strstr(offered, "LOGIN ") != NULL)
		return "LOGIN";
	buf_adds(why, "no mechanism fits");
	return NULL;
}

static bool respond(void *run, const char *challenge, struct buf *out, struct buf *why)
{
	struct mechanism *m = run;

	(void)challenge;
	if (++m->answers > 2) {
		buf_adds(why, "too many questions");
		return false;
	}
	buf_adds(out, "c2VjcmV0");
	return true;
}

static bool complete(void *run)
{
	return ((struct mechanism *)run)->answers == 2;
}

static bool reveals(void *run, const char *bytes, size_t n)
{
	(void)run;
	return memmem(bytes, n, "c2VjcmV0", 8) != NULL;
}

/* One line, or nothing. */
static void check_command(const struct buf *out)
{
	if (out->len == 0)
		return;
	if (out->len < 3 || memcmp(out->data + out->len - 2, "\r\n", 2) != 0)
		abort();
	for (size_t i = 0; i < out->len - 2; i++)
		if ((unsigned char)out->data[i] < ' ' || (unsigned char)out->data[i] > 126)
			abort();
	if (strncmp(out->data, "MAIL", 4) == 0 || strncmp(out->data, "DATA", 4) == 0)
		abort();
}

static void check_failure(const struct opening *o, const struct mechanism *m)
{
	/* a server may refuse without a word */
	if ((o->why.len == 0 && o->code == 0) || o->status[0] == '\0' || strchr(buf_str(&o->why), '\n') != NULL)
		abort();
	if (m->answers > 0 && strstr(buf_str(&o->why), "c2VjcmV0") != NULL)
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const struct opening_options options = { .name = "client.example", .ignore_caps = "SIZE", .smtp = size > 0 && data[0] & 16 };
	struct mechanism mechanism = { 0 };
	const struct auth auth = { &mechanism, choose, respond, complete, reveals };
	struct opening_demands demands = { 0 };
	struct reply_parser p = { 0 };
	struct buf out = { 0 };
	struct opening o;
	enum opening_next next = OPENING_WAIT;
	bool encrypted;
	size_t at = 1;

	if (size == 0)
		return 0;
	demands.starttls = data[0] % 3 == 0 ? STARTTLS_NEVER : data[0] % 3 == 1 ? STARTTLS_IF_OFFERED : STARTTLS_DEMANDED;
	demands.guarded = data[0] & 64;
	demands.encrypted = encrypted = data[0] & 128;
	demands.auth = data[0] & 32 ? &auth : NULL;
	opening_init(&o, &options, &demands);
	while (next == OPENING_WAIT && at < size) {
		size_t used;
		enum reply_result result = reply_parse(&p, (const char *)data + at, size - at, &used);

		at += used;
		if (result != REPLY_READY)
			break;
		buf_clear(&out);
		opening_hides(&o, &p.reply);
		next = opening_reply(&o, &p.reply, &out);
		check_command(&out);
		if (next == OPENING_START_TLS) {
			if (demands.starttls == STARTTLS_NEVER || encrypted || out.len > 0)
				abort();
			encrypted = true;
			next = opening_encrypted(&o, &out);
			check_command(&out);
		}
	}
	if (next == OPENING_READY) {
		if (demands.starttls == STARTTLS_DEMANDED && !encrypted)
			abort();
		if (demands.auth != NULL && !(mechanism.chosen && mechanism.answers == 2))
			abort();
		if (o.caps.has & CAP_SIZE)
			abort();
	} else if (next == OPENING_FAILED) {
		check_failure(&o, &mechanism);
	} else {
		opening_lost(&o, "the server closed the connection");
		check_failure(&o, &mechanism);
	}
	opening_free(&o);
	reply_parser_free(&p);
	buf_free(&out);
	return 0;
}
