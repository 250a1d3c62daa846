/*
 * The transaction machine with a server of any opinion and one disturbance of any kind, and with a
 * peer that says anything at any time; in LMTP and in SMTP.
 *
 * First byte: 0 to 127 a run with the server of lmtp_model.h, 128 and more a hostile peer.
 */
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/unit/lmtp_model.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct input {
	const uint8_t *data;
	size_t size;
};

static unsigned next(struct input *in, unsigned limit)
{
	if (in->size == 0)
		return 0;
	in->size--;
	return *in->data++ % limit;
}

/* ---- a server with opinions ---- */

static int pick(struct input *in, const int *codes, unsigned n)
{
	return codes[next(in, n)];
}

static void disturb(struct model *m, struct input *in)
{
	static const int codes[] = { 250, 421, 450, 550, 354, 503, 554, 251, 452 };
	unsigned what = next(in, 8), at = next(in, 64);

	switch (what) {
	case 0:
	case 1:
		m->surplus = what ? SURPLUS_LATE : SURPLUS_PROMPT;
		m->surplus_at = at;
		m->surplus_code = pick(in, codes, 9);
		/* a surplus reply may be worded as a final one is, or as none */
		m->surplus_status = next(in, 2) ? "" : model_status(m->dialect->final, m->surplus_code);
		break;
	case 2: m->missing_at = at; break;
	case 3: m->lost_at = at; break;
	case 4: m->deaf_at = at; break;
	case 5: m->lost_after = 1 + at * 16 + next(in, 16); break;
	default: break;
	}
}

static void run_model(struct input *in)
{
	static const int mail[] = { 250, 250, 250, 450, 550, 530 }, rcpt[] = { 250, 250, 251, 450, 550, 421 };
	static const int data[] = { 354, 354, 354, 451, 554 }, final[] = { 250, 250, 252, 451, 552, 421, 503 };
	struct model_message messages[MODEL_MESSAGES];
	struct model m = { .messages = messages };
	unsigned flags = next(in, 128);

	memset(messages, 0, sizeof messages);
	m.count = 1 + next(in, MODEL_MESSAGES);
	m.dialect = &model_dialects[next(in, MODEL_DIALECTS)];
	m.pipelining = flags & 1;
	m.chunking = flags & 2;
	m.smtp = flags & 64;
	m.one_by_one = flags & 4;
	m.read_size = flags & 8 ? 1 + next(in, 60) : 0;
	for (size_t i = 0; i < m.count; i++) {
		struct model_message *message = &messages[i];

		message->count = 1 + next(in, MODEL_RECIPIENTS);
		message->size = (flags & 48) == 48 ? 64001 : 1 + next(in, 200);
		message->mail = pick(in, mail, 6);
		message->data = pick(in, data, 5);
		for (size_t r = 0; r < message->count; r++) {
			message->rcpt[r] = pick(in, rcpt, 6);
			message->final[r] = pick(in, final, 7);
		}
	}
	disturb(&m, in);
	model_run(&m);
	if (m.broken != NULL && !model_may_be_fooled(&m)) {
		fprintf(stderr, "message %zu recipient %zu: %s\n", m.broken_message, m.broken_recipient, m.broken);
		abort();
	}
}

/* ---- a peer that says anything ---- */

#define HOSTILE_TRANSACTIONS 3

struct hostile {
	struct dialogue_options options;
	struct caps caps;
	struct trust trust;
	struct dialogue d;
	struct transaction t[HOSTILE_TRANSACTIONS];
	struct transaction_recipient to[HOSTILE_TRANSACTIONS][MODEL_RECIPIENTS];
	bool done[HOSTILE_TRANSACTIONS];
	size_t begun;
	struct transaction *content;
	bool closed;
};

static void settled(struct hostile *h, const struct action *a)
{
	const struct transaction_recipient *to = &a->transaction->recipients[a->recipient];
	const struct result *r = &a->result;

	if (h->done[a->transaction - h->t] || to->outcome != r->outcome || r->outcome == OUTCOME_NONE)
		abort();
	if (r->status == NULL || r->status[0] == '\0' || strlen(r->words) > 3000)
		abort();
	if (r->outcome == OUTCOME_DELIVERED && (!to->accepted || r->stage != STAGE_FINAL || r->code / 100 != 2 ||
	                                        a->transaction->content_end == 0 ||
	                                        h->d.written < a->transaction->content_end))
		abort();
	if (r->outcome == OUTCOME_FAILED && r->code / 100 != 5)
		abort();
}

/* Left to another connection: for want of an answer once, and MAIL_OFFERS times by one that takes no more mail. */
static bool may_stay_open(const struct hostile *h, const struct transaction *t)
{
	return (h->d.closed || h->d.ending) && (t->used_up ? t->offered < MAIL_OFFERS : !t->retried);
}

static void take_actions(struct hostile *h)
{
	struct action a;

	while (dialogue_action(&h->d, &a)) {
		if (h->closed)
			abort();
		switch (a.kind) {
		case ACTION_SETTLED:
			settled(h, &a);
			break;
		case ACTION_CONTENT:
			if (h->content != NULL || (!h->d.content && !h->d.closed))
				abort();
			h->content = a.transaction;
			break;
		case ACTION_DONE:
			if (h->done[a.transaction - h->t])
				abort();
			h->done[a.transaction - h->t] = true;
			for (size_t i = 0; i < a.transaction->count; i++)
				if (a.transaction->recipients[i].outcome == OUTCOME_NONE && !a.transaction->recipients[i].later &&
				    !may_stay_open(h, a.transaction))
					abort();
			if (h->content == a.transaction)
				h->content = NULL;
			break;
		case ACTION_CLOSE:
			h->closed = true;
			break;
		}
	}
	if (!h->closed && h->d.flight_count > 0 && h->content == NULL && dialogue_deadline(&h->d) == CLOCK_NEVER)
		abort();
}

static void begin(struct hostile *h, struct input *in)
{
	static const char *const addresses[] = { "a@x", "b@x", "\xc3\xa9@x", "a b", "" };
	struct transaction *t;

	if (h->begun == HOSTILE_TRANSACTIONS || !dialogue_wants(&h->d))
		return;
	t = &h->t[h->begun];
	t->count = 1 + next(in, MODEL_RECIPIENTS);
	t->recipients = h->to[h->begun++];
	t->envelope.sender = addresses[next(in, 2)];
	t->envelope.size = next(in, 4) ? 3 : 64001;
	t->retried = next(in, 2);
	t->offered = next(in, MAIL_OFFERS + 1);
	for (size_t i = 0; i < t->count; i++)
		t->recipients[i].to.address = addresses[next(in, 8) < 6 ? 0 : next(in, 5)];
	dialogue_begin(&h->d, t);
}

static void say(struct hostile *h, struct input *in)
{
	static const int codes[] = { 250, 250, 250, 354, 354, 550, 450, 421, 503, 452, 552, 251, 334, 500, 220, 599 };
	static const char *const statuses[] = { "", "2.1.0", "2.1.5", "2.0.0", "4.5.3", "5.5.3" };
	struct reply reply = { .code = codes[next(in, 16)] };

	strcpy(reply.status, statuses[next(in, 6)]);
	buf_adds(&reply.lines, "words\n");
	dialogue_reply(&h->d, &reply);
	buf_free(&reply.lines);
}

static void step(struct hostile *h, struct input *in)
{
	size_t n;

	h->d.now += next(in, 16);
	switch (next(in, 16)) {
	case 0:
	case 1:
		begin(h, in);
		break;
	case 2:
		if (h->content == NULL)
			break;
		buf_adds(&h->d.out, "x\r\n");
		h->content = NULL;
		dialogue_content_done(&h->d);
		break;
	case 3:
		if (h->content != NULL && next(in, 8) == 0)
			dialogue_content_failed(&h->d, "unreadable");
		break;
	case 4:
		n = h->d.out.len < 40 ? h->d.out.len : next(in, 40);
		if (n > 0)
			dialogue_wrote(&h->d, n);
		break;
	case 5:
	case 6:
		if (h->d.out.len > 0)
			dialogue_wrote(&h->d, h->d.out.len);
		break;
	case 7:
		if (next(in, 8) == 0)
			dialogue_lost(&h->d, "lost");
		break;
	case 8:
		if (next(in, 8) == 0)
			dialogue_garbage(&h->d, "garbage");
		break;
	case 9:
		if (next(in, 8) != 0 || dialogue_deadline(&h->d) == CLOCK_NEVER)
			break;
		h->d.now = dialogue_deadline(&h->d) > h->d.now ? dialogue_deadline(&h->d) : h->d.now;
		dialogue_expired(&h->d);
		break;
	default:
		/* now and then several in one read */
		do
			say(h, in);
		while (next(in, 4) == 0 && in->size > 0);
		break;
	}
	take_actions(h);
}

static void run_hostile(struct input *in)
{
	struct hostile h = { 0 };
	unsigned flags = next(in, 128);

	h.options = (struct dialogue_options){ .command_timeout = 100, .data_timeout = 200, .final_timeout = 300,
	                                       .write_timeout = 400, .whole_timeout = 5000 };
	h.options.smtp = flags & 64;
	h.caps.has = (flags & 1 ? CAP_PIPELINING : 0) | (flags & 2 ? CAP_CHUNKING : 0) | (flags & 4 ? CAP_SMTPUTF8 : 0);
	h.caps.rcpt_max = flags & 8 ? 2 : 0;
	if (flags & 16)
		h.trust = (struct trust){ .proved_single = true, .proved_multi = true, .mail_status = "2.1.0",
		                          .rcpt_status = "2.1.5", .final_status = "2.0.0" };
	h.trust.careful = flags & 32;
	dialogue_init(&h.d, &h.options, &h.caps, &h.trust);
	h.d.now = 1;
	while (in->size > 0 && !h.closed)
		step(&h, in);
	if (!h.closed)
		dialogue_lost(&h.d, "over");
	take_actions(&h);
	if (!h.closed || h.d.flight_count > 0 || dialogue_in_doubt(&h.d))
		abort();
	for (size_t i = 0; i < h.begun; i++)
		if (!h.done[i])
			abort();
	dialogue_free(&h.d);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct input in = { data, size };

	if (size == 0)
		return 0;
	if (data[0] < 128) {
		run_model(&in);
	} else {
		next(&in, 256);
		run_hostile(&in);
	}
	return 0;
}
