#include "channel/protocol/opening.h"

#include <stdio.h>
#include <string.h>

#include "channel/protocol/command.h"

#define WORDS_MAX 1000

void opening_init(struct opening *o, const struct opening_options *options, const struct opening_demands *demands)
{
	*o = (struct opening){ .options = options, .demands = *demands, .stage = STAGE_GREETING };
}

void opening_free(struct opening *o)
{
	buf_free(&o->why);
}

/* ---- failures ---- */

/* Our own decision; `why` may be filled already, then `words` is NULL. */
static enum opening_next give_up(struct opening *o, enum stage stage, const char *status, const char *words)
{
	o->stage = stage;
	o->code = 0;
	snprintf(o->status, sizeof o->status, "%s", status);
	if (words != NULL) {
		buf_clear(&o->why);
		buf_adds(&o->why, words);
	}
	return OPENING_FAILED;
}

/* The server does not want us now.  Whatever its code says, no recipient is to blame. */
static enum opening_next refused(struct opening *o, const struct reply *reply)
{
	o->code = reply->code;
	snprintf(o->status, sizeof o->status, "%s", policy_status(o->stage, reply, OUTCOME_DEFERRED));
	buf_clear(&o->why);
	if (opening_hides(o, reply))
		buf_adds(&o->why, "(the server's words are withheld: they repeat what must stay secret)");
	else
		reply_words(reply, &o->why, WORDS_MAX);
	return OPENING_FAILED;
}

static enum opening_next out_of_step(struct opening *o, const struct reply *reply)
{
	buf_clear(&o->why);
	buf_addf(&o->why, "the server answered %s with %d", stage_name(o->stage), reply->code);
	return give_up(o, o->stage, "4.5.0", NULL);
}

void opening_lost(struct opening *o, const char *why)
{
	if (o->cancelled)
		give_up(o, o->stage, "4.7.0", NULL);
	else
		give_up(o, o->stage, "4.4.2", why);
}

bool opening_hides(const struct opening *o, const struct reply *reply)
{
	const struct auth *auth = o->demands.auth;

	if (o->stage != STAGE_AUTH || auth == NULL)
		return false;
	return reply->code == 334 || auth->reveals(auth->run, buf_str(&reply->lines), reply->lines.len);
}

/* ---- commands ---- */

/* LHLO, EHLO or HELO: the stage is called as its command is. */
static enum opening_next send_hello(struct opening *o, enum stage stage, struct buf *out)
{
	o->stage = stage;
	if (command_line(out, stage_name(stage), o->options->name))
		return OPENING_WAIT;
	return give_up(o, stage, "4.3.5", "our own name cannot be written in a command");
}

static enum opening_next send_first_hello(struct opening *o, struct buf *out)
{
	return send_hello(o, o->options->smtp ? STAGE_EHLO : STAGE_LHLO, out);
}

/* What comes behind LHLO or EHLO, in this order: encryption, then authentication. */
static enum opening_next after_hello(struct opening *o, struct buf *out)
{
	if (!o->demands.encrypted) {
		if (o->demands.starttls != STARTTLS_NEVER && (o->caps.has & CAP_STARTTLS)) {
			o->stage = STAGE_STARTTLS;
			buf_adds(out, "STARTTLS\r\n");
			return OPENING_WAIT;
		}
		if (o->demands.starttls == STARTTLS_DEMANDED)
			return give_up(o, STAGE_STARTTLS, "4.7.4", "TLS is demanded, but the server does not offer STARTTLS");
	}
	if (o->demands.auth != NULL) {
		const struct auth *auth = o->demands.auth;
		const char *mechanism = auth->choose(auth->run, o->caps.auth, o->demands.guarded, &o->why);

		if (mechanism == NULL)
			return give_up(o, STAGE_AUTH, "4.7.4", NULL);
		o->stage = STAGE_AUTH;
		buf_addf(out, "AUTH %s\r\n", mechanism);
		return OPENING_WAIT;
	}
	return OPENING_READY;
}

enum opening_next opening_encrypted(struct opening *o, struct buf *out)
{
	o->demands.encrypted = true;
	o->demands.guarded = true;
	o->caps = (struct caps){ 0 };
	return send_first_hello(o, out);
}

/* ---- AUTH ---- */

/* The words of a challenge: its first line, as far as there is one. */
static enum opening_next take_challenge(struct opening *o, const struct reply *reply, struct buf *out)
{
	const struct auth *auth = o->demands.auth;
	struct buf challenge = { 0 };
	size_t before = out->len;
	bool ok;

	buf_add(&challenge, buf_str(&reply->lines), strcspn(buf_str(&reply->lines), "\n"));
	buf_clear(&o->why);
	ok = auth->respond(auth->run, buf_str(&challenge), out, &o->why);
	buf_free(&challenge);
	if (ok) {
		o->secret_out = true;
	} else {
		out->len = before;
		buf_adds(out, "*");
		o->cancelled = true;
	}
	buf_adds(out, "\r\n");
	return OPENING_WAIT;
}

static enum opening_next auth_reply(struct opening *o, const struct reply *reply, struct buf *out)
{
	const struct auth *auth = o->demands.auth;

	o->secret_out = false;
	if (o->cancelled)
		return give_up(o, STAGE_AUTH, "4.7.0", NULL);
	if (reply->code == 334)
		return take_challenge(o, reply, out);
	if (reply->code >= 400)
		return refused(o, reply);
	if (reply->code >= 300)
		return out_of_step(o, reply);
	if (!auth->complete(auth->run))
		return give_up(o, STAGE_AUTH, "4.7.0", "the server said yes before the authentication was complete");
	return OPENING_READY;
}

/* ---- replies ---- */

enum opening_next opening_reply(struct opening *o, const struct reply *reply, struct buf *out)
{
	if (o->stage == STAGE_AUTH)
		return auth_reply(o, reply, out);
	/* a server older than RFC 1869; every other refusal of EHLO stands (RFC 5321 section 3.2) */
	if (o->stage == STAGE_EHLO && (reply->code == 500 || reply->code == 502))
		return send_hello(o, STAGE_HELO, out);
	if (reply->code >= 300)
		return refused(o, reply);
	switch (o->stage) {
	case STAGE_GREETING:
		return send_first_hello(o, out);
	case STAGE_HELO:
		return after_hello(o, out);
	case STAGE_LHLO:
	case STAGE_EHLO:
		caps_parse(&o->caps, reply, o->options->ignore_caps);
		/* what guards the connection is no matter of taste */
		if (o->options->ignore_all)
			o->caps.has &= CAP_STARTTLS | CAP_AUTH;
		return after_hello(o, out);
	default:
		break;
	}
	return reply->code == 220 ? OPENING_START_TLS : out_of_step(o, reply);
}
