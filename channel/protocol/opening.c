#include "channel/protocol/opening.h"

#include <string.h>

#include "channel/protocol/command.h"

#define WORDS_MAX 1000

void opening_init(struct opening *o, const struct opening_options *options)
{
	*o = (struct opening){ .options = options, .stage = STAGE_GREETING };
}

void opening_free(struct opening *o)
{
	buf_free(&o->why);
}

/* The server does not want us now.  Whatever its code says, no recipient is to blame. */
static enum opening_next refused(struct opening *o, const struct reply *reply)
{
	const char *status = policy_status(reply, OUTCOME_DEFERRED);

	o->code = reply->code;
	memcpy(o->status, status, strlen(status) + 1);
	buf_clear(&o->why);
	reply_words(reply, &o->why, WORDS_MAX);
	return OPENING_FAILED;
}

static enum opening_next send_lhlo(struct opening *o, struct buf *out)
{
	o->stage = STAGE_LHLO;
	if (command_line(out, "LHLO", o->options->name))
		return OPENING_WAIT;
	o->code = 0;
	strcpy(o->status, "4.3.5");
	buf_clear(&o->why);
	buf_adds(&o->why, "our own name cannot be written in a command");
	return OPENING_FAILED;
}

enum opening_next opening_reply(struct opening *o, const struct reply *reply, struct buf *out)
{
	if (reply->code >= 300)
		return refused(o, reply);
	if (o->stage == STAGE_GREETING)
		return send_lhlo(o, out);
	caps_parse(&o->caps, reply, o->options->ignore_caps);
	if (o->options->ignore_all)
		o->caps.has = 0;
	return OPENING_READY;
}
