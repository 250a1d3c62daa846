#include "channel/protocol/transaction.h"

#include <assert.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "lib/alloc.h"
#include "lib/clock.h"
#include "lib/text.h"

/* Content up to this size may follow its envelope without waiting for the reply to RCPT (see send_step()). */
#define BLIND_CONTENT_MAX 64000
/*
 * How far BDAT transactions run ahead of the replies.  Everything in this
 * window is in doubt if the connection breaks, so it is no larger than it
 * takes to hide the round trips.
 */
#define WINDOW_BYTES (256 * 1024)
#define WINDOW_TRANSACTIONS 12
/* RSET needs no work on the server's side. */
#define RESET_TIMEOUT 30000
#define WORDS_MAX 1000

/* ---- small parts ---- */

void dialogue_init(struct dialogue *d, const struct dialogue_options *options, const struct caps *caps,
                   struct trust *trust)
{
	*d = (struct dialogue){ .options = options, .caps = caps, .trust = trust };
}

void dialogue_free(struct dialogue *d)
{
	buf_free(&d->out);
	buf_free(&d->words);
	buf_free(&d->scratch);
	buf_free(&d->ending_why);
	free(d->expected);
	free(d->flight);
	free(d->actions);
	*d = (struct dialogue){ 0 };
}

static struct action *add_action(struct dialogue *d, enum action_kind kind, struct transaction *t)
{
	struct action *a;

	if (d->action_first > 0 && d->action_first == d->action_count)
		d->action_first = d->action_count = 0;
	d->actions = xgrow(d->actions, d->action_count, &d->action_capacity, sizeof *d->actions);
	a = &d->actions[d->action_count++];
	*a = (struct action){ .kind = kind, .transaction = t };
	return a;
}

bool dialogue_action(struct dialogue *d, struct action *action)
{
	if (d->action_first == d->action_count)
		return false;
	*action = d->actions[d->action_first++];
	/* the words of a transaction are not needed any more: its settlements were taken before */
	if (action->kind == ACTION_DONE) {
		struct transaction *t = action->transaction;

		free((char *)t->refused.words);
		t->refused.words = NULL;
		for (size_t i = 0; i < t->count; i++) {
			free((char *)t->recipients[i].held.words);
			free(t->recipients[i].rcpt_reply);
			t->recipients[i].held.words = NULL;
			t->recipients[i].rcpt_reply = NULL;
		}
	}
	return true;
}

static bool pipelined(const struct dialogue *d)
{
	return (d->caps->has & CAP_PIPELINING) && !d->options->no_pipelining;
}

/* ---- the queue of expectations ---- */

static void expect(struct dialogue *d, enum stage stage, struct transaction *t, size_t recipient)
{
	if (d->expected_first > 0 && d->expected_count == d->expected_capacity) {
		memmove(d->expected, d->expected + d->expected_first,
		        (d->expected_count - d->expected_first) * sizeof *d->expected);
		d->expected_count -= d->expected_first;
		d->expected_first = 0;
	}
	d->expected = xgrow(d->expected, d->expected_count, &d->expected_capacity, sizeof *d->expected);
	if (d->expected_first == d->expected_count)
		d->front_since = d->now;
	d->expected[d->expected_count++] =
		(struct expectation){ .stage = stage, .transaction = t, .recipient = recipient,
		                      .sent_at = d->written + d->out.len };
}

static struct expectation *front(const struct dialogue *d)
{
	return d->expected_first == d->expected_count ? NULL : &d->expected[d->expected_first];
}

static void pop(struct dialogue *d)
{
	d->expected_first++;
	d->front_since = d->now;
	if (d->expected_first == d->expected_count)
		d->expected_first = d->expected_count = 0;
}

/* ---- outcomes ---- */

static struct result make_result(enum outcome outcome, enum stage stage, int code, const char *status,
                                 const char *words)
{
	return (struct result){ .outcome = outcome, .stage = stage, .code = code, .status = status, .words = words };
}

/* What a reply says; its strings live in the dialogue until the next one. */
static struct result result_of(struct dialogue *d, enum stage stage, const struct reply *reply)
{
	struct result r = make_result(policy_outcome(stage, reply, d->options->rules), stage, reply->code, NULL, NULL);

	strcpy(d->status, policy_status(stage, reply, r.outcome));
	r.status = d->status;
	r.uncoded = reply->status[0] == '\0';
	r.words = buf_str(&d->words);
	r.remote = true;
	return r;
}

/* A copy that survives the reply; its words are freed with the transaction. */
static struct result keep(const struct result *r)
{
	struct result kept = *r;
	size_t n = strlen(r->status);
	char *words = xmalloc(n + strlen(r->words) + 2);

	memcpy(words, r->words, strlen(r->words) + 1);
	memcpy(words + strlen(r->words) + 1, r->status, n + 1);
	kept.words = words;
	kept.status = words + strlen(r->words) + 1;
	return kept;
}

/* The one place where a recipient gets its outcome. */
static void settle(struct dialogue *d, struct transaction *t, size_t i, const struct result *r)
{
	struct action *a;

	assert(t->recipients[i].outcome == OUTCOME_NONE && r->outcome != OUTCOME_NONE);
	t->recipients[i].outcome = r->outcome;
	t->recipients[i].rcpt_said = t->recipients[i].rcpt_end != 0 && d->written >= t->recipients[i].rcpt_end;
	a = add_action(d, ACTION_SETTLED, t);
	a->recipient = i;
	a->result = *r;
}

static void settle_open(struct dialogue *d, struct transaction *t, const struct result *r)
{
	for (size_t i = 0; i < t->count; i++)
		if (t->recipients[i].outcome == OUTCOME_NONE && !t->recipients[i].later)
			settle(d, t, i, r);
}

static bool is_held(const struct transaction_recipient *r)
{
	return r->outcome == OUTCOME_NONE && r->held.outcome != OUTCOME_NONE;
}

/* Server and we were in step up to `stage`: refusals that were held back until then count now. */
static void confirm(struct dialogue *d, struct transaction *t, enum stage stage)
{
	for (size_t i = 0; i < t->count; i++)
		if (is_held(&t->recipients[i]) && t->recipients[i].held.stage <= stage)
			settle(d, t, i, &t->recipients[i].held);
	if (t->refused.outcome != OUTCOME_NONE && !t->again)
		settle_open(d, t, &t->refused);
}

static bool holds_any(const struct transaction *t)
{
	for (size_t i = 0; i < t->count; i++)
		if (is_held(&t->recipients[i]))
			return true;
	return false;
}

static void leave_flight(struct dialogue *d, struct transaction *t)
{
	for (size_t i = 0; i < d->flight_count; i++) {
		if (d->flight[i] == t) {
			memmove(d->flight + i, d->flight + i + 1, (d->flight_count - i - 1) * sizeof *d->flight);
			d->flight_count--;
			break;
		}
	}
	add_action(d, ACTION_DONE, t);
}

/* The transaction came to its end in step with the server. */
static void finish(struct dialogue *d, struct transaction *t)
{
	d->completed++;
	if (!t->again)
		confirm(d, t, STAGE_FINAL);
	leave_flight(d, t);
}

/* The same for those in front of it, which had all their replies and waited for this proof. */
static void finish_before(struct dialogue *d, const struct transaction *t)
{
	while (d->flight[0] != t)
		finish(d, d->flight[0]);
}

static bool is_last(const struct dialogue *d, const struct transaction *t)
{
	return d->flight[d->flight_count - 1] == t;
}

/* ---- ends of the whole dialogue ---- */

static bool content_was_written(const struct dialogue *d, const struct transaction *t)
{
	return t->content_end != 0 && d->written >= t->content_end;
}

static enum stage open_stage(const struct dialogue *d, const struct transaction *t)
{
	if (t->content_started)
		return content_was_written(d, t) ? STAGE_FINAL : STAGE_CONTENT;
	if (t->next_step == 0)
		return STAGE_MAIL;
	return t->answered ? STAGE_DATA : STAGE_MAIL;
}

enum give_up {
	OUT_OF_STEP,     /* or silent, or told to stop: everything open is deferred */
	OUT_OF_REACH,    /* what the server said no word about is tried once more */
};

/* What the server has deferred needs no proof: only its words may be another's. */
static void settle_deferred(struct dialogue *d, struct transaction *t)
{
	bool written = content_was_written(d, t);

	for (size_t i = 0; i < t->count; i++) {
		if (!is_held(&t->recipients[i]) || t->recipients[i].held.outcome != OUTCOME_DEFERRED)
			continue;
		t->recipients[i].held.maybe_duplicate = written;
		settle(d, t, i, &t->recipients[i].held);
	}
	t->refused.maybe_duplicate = written;
	if (t->refused.outcome == OUTCOME_DEFERRED)
		settle_open(d, t, &t->refused);
}

/*
 * A probe on a connection that was kept: what befell that in the meantime says nothing about the recipient, and to ask twice is
 * free.
 */
static bool is_kept(const struct dialogue *d, const struct transaction *t)
{
	return t->probe && d->completed > 0;
}

/*
 * Gives up: every open recipient is deferred, as nothing that still waits for its proof will get it.  What is to be
 * tried once more stays unsettled instead: mostly the server had closed the connection before it was sent.  So
 * do those that were put off to the next transaction: no RCPT was sent for them yet.
 */
static void give_up(struct dialogue *d, const char *status, const char *why, enum give_up reason)
{
	struct action *a;

	if (d->closed)
		return;
	d->closed = true;
	d->content = NULL;
	d->expected_first = d->expected_count = 0;
	while (d->flight_count > 0) {
		struct transaction *t = d->flight[0];
		struct result r = make_result(OUTCOME_DEFERRED, open_stage(d, t), 421, status, why);
		bool offered = d->used_up && !t->answered && t->offered < MAIL_OFFERS;
		bool again = t->again || offered || (!t->retried && (!t->answered || is_kept(d, t)));

		/* behind the one that the server has refused; so it costs no try of its own */
		t->used_up = t->used_up || offered;
		r.maybe_duplicate = content_was_written(d, t);
		if (reason == OUT_OF_REACH && again) {
			t->maybe_taken = r.maybe_duplicate && !t->turned_away;
		} else {
			if (reason == OUT_OF_REACH)
				settle_deferred(d, t);
			settle_open(d, t, &r);
		}
		leave_flight(d, t);
	}
	a = add_action(d, ACTION_CLOSE, NULL);
	a->why = why;
}

/*
 * Not judged here but on another connection.  Each way to be tried once more has its bound; false if there is none left.
 */
static bool leave_to_another(struct dialogue *d, struct transaction *t)
{
	bool offered = d->used_up && t->offered < MAIL_OFFERS;

	if (!offered && t->retried)
		return false;
	t->used_up = t->used_up || offered;
	t->again = true;
	return true;
}

/*
 * Something that lies in the connection: nothing more is begun on it.  But what is on the wire already may be answered
 * in its place, and what the server has taken must not be sent again.
 */
static void end_here(struct dialogue *d, struct transaction *t, const struct result *r, const char *why)
{
	t->refused = keep(r);
	leave_to_another(d, t);
	if (!d->ending)
		buf_addf(&d->ending_why, "%s: %d %s", why, r->code, r->words);
	d->ending = true;
}

/* Its envelope was answered, but its content does not follow any more.  If MAIL was refused, that stands. */
static void stop_here(struct dialogue *d, struct transaction *t)
{
	struct result r = make_result(OUTCOME_DEFERRED, open_stage(d, t), 421, "4.5.0", buf_str(&d->ending_why));

	if (!leave_to_another(d, t) && t->refused.outcome == OUTCOME_NONE)
		t->refused = keep(&r);
}

/* Out of step: what the server says cannot belong to what we asked. */
static void poison(struct dialogue *d, const char *what)
{
	d->trust->careful = true;
	buf_clear(&d->scratch);
	buf_addf(&d->scratch, "%s: ", what);
	buf_add(&d->scratch, buf_str(&d->words), d->words.len);
	/* it was expected that replies may stop to fit: what was said no word about is tried once more then */
	give_up(d, "4.5.0", buf_str(&d->scratch),
	        d->ending || (d->flight_count > 0 && is_kept(d, d->flight[0])) ? OUT_OF_REACH : OUT_OF_STEP);
}

static size_t next_accepted(const struct transaction *t, size_t i)
{
	while (i < t->count && !t->recipients[i].accepted)
		i++;
	return i;
}

/*
 * A reply too many stood among the final ones, or behind them: a recipient's own is the one that was taken for it, or the
 * next.  Where both say the same, that is its outcome; where not, it is unknown.  What the owner has taken is past.
 */
static void doubt_finals(struct dialogue *d, enum outcome surplus)
{
	static const char why[] = "the server sent one final reply too many, and it is unknown which is this recipient's";
	struct transaction *last = d->action_first < d->action_count ? d->actions[d->action_count - 1].transaction : NULL;

	for (size_t i = d->action_first; i < d->action_count; i++) {
		struct action *a = &d->actions[i];
		size_t next;

		if (a->kind != ACTION_SETTLED || a->transaction != last || a->result.stage != STAGE_FINAL ||
		    a->result.outcome == OUTCOME_DEFERRED)
			continue;
		next = d->options->smtp ? last->count : next_accepted(last, a->recipient + 1);
		if (a->result.outcome == (next < last->count ? last->recipients[next].outcome : surplus))
			continue;
		last->recipients[a->recipient].outcome = OUTCOME_DEFERRED;
		a->result = make_result(OUTCOME_DEFERRED, STAGE_FINAL, 421, "4.5.0", why);
		a->result.maybe_duplicate = true;
	}
}

void dialogue_lost(struct dialogue *d, const char *why)
{
	give_up(d, "4.4.2", why, OUT_OF_REACH);
}

void dialogue_abort(struct dialogue *d, const char *why)
{
	give_up(d, "4.4.2", why, OUT_OF_STEP);
}

void dialogue_garbage(struct dialogue *d, const char *what)
{
	if (d->closed)
		return;
	buf_clear(&d->words);
	buf_adds(&d->words, what);
	poison(d, "the server sent something that is no reply");
}

void dialogue_content_failed(struct dialogue *d, const char *why)
{
	if (d->content != NULL)
		d->content->retried = true;
	give_up(d, "4.3.0", why, OUT_OF_REACH);
}

/* ---- sending ---- */

static void notice_output(struct dialogue *d, size_t before)
{
	if (before == 0 && d->out.len > 0)
		d->progress = d->now;
}

static bool is_open(const struct transaction_recipient *r)
{
	return r->outcome == OUTCOME_NONE && !r->later;
}

static bool needs_smtputf8(const struct dialogue *d, const struct transaction *t)
{
	if (!(d->caps->has & CAP_SMTPUTF8))
		return false;
	if (command_is_8bit(t->envelope.sender))
		return true;
	for (size_t i = 0; i < t->count; i++)
		if (is_open(&t->recipients[i]) && command_is_8bit(t->recipients[i].to.address))
			return true;
	return false;
}

/* Steps of an envelope: MAIL, one RCPT per recipient, then DATA or BDAT. */
enum { STEP_MAIL, STEP_RCPT };

/* Behind it the transaction is over for the server. */
static void send_reset(struct dialogue *d, struct transaction *t)
{
	buf_adds(&d->out, "RSET\r\n");
	expect(d, STAGE_LOCAL, t, 0);
}

static void send_quit(struct dialogue *d, struct transaction *t)
{
	buf_adds(&d->out, "QUIT\r\n");
	expect(d, STAGE_LOCAL, t, 0);
	d->expected[d->expected_count - 1].command = TO_QUIT;
}

/* No other command is answered like these. */
static void send_proof(struct dialogue *d, struct transaction *t)
{
	if (t->hello == NULL || !command_line(&d->out, d->options->smtp ? "EHLO" : "LHLO", t->hello)) {
		send_quit(d, t);
		return;
	}
	expect(d, STAGE_LOCAL, t, 0);
	d->expected[d->expected_count - 1].command = TO_HELLO;
}

static void end_probe(struct dialogue *d, struct transaction *t)
{
	send_reset(d, t);
	if (pipelined(d))
		send_proof(d, t);
}

static void start_content(struct dialogue *d, struct transaction *t)
{
	t->content_started = true;
	d->content = t;
	d->progress = d->now;
	expect(d, STAGE_FINAL, t, 0);
	add_action(d, ACTION_CONTENT, t);
}

static void send_data(struct dialogue *d, struct transaction *t)
{
	buf_adds(&d->out, "DATA\r\n");
	expect(d, STAGE_DATA, t, 0);
}

static void send_bdat(struct dialogue *d, struct transaction *t)
{
	buf_addf(&d->out, "BDAT %" PRIu64 " LAST\r\n", t->envelope.size);
	start_content(d, t);
}

/* Can this peer's positive replies to MAIL, to RCPT and to a message be told from each other? */
static bool is_telling(const struct trust *trust)
{
	return !trust->careful && trust->proved_single && strcmp(trust->final_status, trust->mail_status) != 0 &&
	       strcmp(trust->final_status, trust->rcpt_status) != 0;
}

/*
 * Sends the next step.  Returns false if nothing more of the envelope can be
 * sent before a reply has come.
 */
static bool send_step(struct dialogue *d, struct transaction *t)
{
	size_t step = t->next_step++;

	if (step == STEP_MAIL) {
		d->mails++;
		command_mail(&d->out, &t->envelope, d->caps, needs_smtputf8(d, t));
		expect(d, STAGE_MAIL, t, 0);
		return pipelined(d);
	}
	if (step - STEP_RCPT < t->count) {
		size_t i = step - STEP_RCPT;

		if (!is_open(&t->recipients[i]))
			return true;
		command_rcpt(&d->out, &t->recipients[i].to, d->caps);
		t->recipients[i].rcpt_end = d->written + d->out.len;
		expect(d, STAGE_RCPT, t, i);
		return pipelined(d);
	}
	/*
	 * BDAT right behind RCPT, before it is known whether it is wanted.  Only for one recipient: should a reply
	 * be missing or one be too many, it cannot pass for another recipient's.
	 */
	if (t->bdat && t->count == 1 && t->envelope.size <= BLIND_CONTENT_MAX && is_telling(d->trust))
		send_bdat(d, t);
	else if (t->probe && pipelined(d))
		end_probe(d, t);
	else if (pipelined(d) && !t->bdat)
		send_data(d, t);
	return false;
}

static void send_envelope(struct dialogue *d, struct transaction *t)
{
	while (!d->ending && t->next_step <= STEP_RCPT + t->count && send_step(d, t))
		;
}

/*
 * The last reply of the envelope is in and neither DATA nor BDAT is on its way: now it is known whether
 * anybody wants the content.  If nobody does, DATA is sent all the same: that it is refused
 * proves that all replies before it stood in their place.
 */
static void after_envelope(struct dialogue *d, struct transaction *t)
{
	if (d->ending)
		stop_here(d, t);
	else if (t->probe)
		end_probe(d, t);
	else if (t->bdat && t->accepted > 0)
		send_bdat(d, t);
	else
		send_data(d, t);
}

/*
 * All replies are in, and no recipient gets the message.  Refusals make bounces, so they have to wait for a proof
 * that none of them was a reply that no command asked for: the answer to RSET, or where something is on
 * its way behind this, to its MAIL.
 */
static void end_refused(struct dialogue *d, struct transaction *t)
{
	if (is_last(d, t) && !d->ending)
		send_reset(d, t);
}

static void refuse_here(struct dialogue *d, struct transaction *t, size_t i, int code, const char *status,
                        const char *words)
{
	struct result r = make_result(OUTCOME_FAILED, STAGE_LOCAL, code, status, words);

	settle(d, t, i, &r);
}

/* What cannot be sent to this server at all is refused before the first command. */
static void refuse_unsendable(struct dialogue *d, struct transaction *t)
{
	bool too_large = d->caps->size_max != 0 && t->envelope.size > d->caps->size_max;
	bool bad_sender;

	buf_clear(&d->scratch);
	bad_sender = command_mail(&d->scratch, &t->envelope, d->caps, true) != COMMAND_OK;
	for (size_t i = 0; i < t->count; i++) {
		enum command_result c;

		if (!is_open(&t->recipients[i]))
			continue;
		buf_clear(&d->scratch);
		c = command_rcpt(&d->scratch, &t->recipients[i].to, d->caps);
		if (bad_sender)
			refuse_here(d, t, i, 553, "5.1.7", "the sender's address cannot be written in a command");
		else if (c == COMMAND_BAD_ADDRESS)
			refuse_here(d, t, i, 553, "5.1.3", "the address cannot be written in a command");
		else if (c == COMMAND_TOO_LONG)
			refuse_here(d, t, i, 553, "5.1.3", "the address is too long for a command");
		else if (c == COMMAND_NEEDS_SMTPUTF8)
			refuse_here(d, t, i, 553, "5.6.7", "the address is not ASCII and the server has no SMTPUTF8");
		else if (too_large)
			refuse_here(d, t, i, 552, "5.3.4", "the message is larger than the server allows");
	}
}

void dialogue_begin(struct dialogue *d, struct transaction *t)
{
	size_t before = d->out.len;
	bool anyone = false;
	uint64_t room;

	assert(dialogue_wants(d));
	/*
	 * BDAT has no reply of its own between envelope and content.  Where the others look all the same, DATA is the
	 * surer way: its 354 shows that we are in step.  The first message on a connection has none in front of it whose
	 * replies could be too many.
	 */
	if (t->probe || !(d->caps->has & CAP_CHUNKING) || d->options->no_chunking || !pipelined(d))
		t->bdat = false;
	else
		t->bdat = is_telling(d->trust) || (!d->trust->careful && !d->trust->proved_single && d->mails == 0);
	t->doubtful = d->flight_count > 0;
	t->begun_at = d->now;
	d->flight = xgrow(d->flight, d->flight_count, &d->flight_capacity, sizeof *d->flight);
	d->flight[d->flight_count++] = t;
	refuse_unsendable(d, t);
	/* recipients beyond what the server takes in one transaction wait for the next (RFC 9422) */
	room = d->caps->rcpt_max;
	for (size_t i = 0; d->caps->rcpt_max != 0 && i < t->count; i++) {
		if (!is_open(&t->recipients[i]))
			continue;
		if (room == 0)
			t->recipients[i].later = true;
		else
			room--;
	}
	for (size_t i = 0; i < t->count; i++)
		anyone = anyone || is_open(&t->recipients[i]);
	if (!anyone) {
		leave_flight(d, t);
		return;
	}
	send_envelope(d, t);
	notice_output(d, before);
}

void dialogue_content_done(struct dialogue *d)
{
	struct transaction *t = d->content;

	if (t == NULL)
		return;
	t->content_end = d->written + d->out.len;
	d->content = NULL;
}

void dialogue_wrote(struct dialogue *d, size_t n)
{
	buf_consume(&d->out, n);
	d->written += n;
	d->progress = d->now;
	for (size_t i = 0; i < d->flight_count; i++)
		if (d->flight[i]->sent_at == 0 && content_was_written(d, d->flight[i]))
			d->flight[i]->sent_at = d->now;
}

/* ---- sending ahead ---- */

/* May an envelope follow t's content before t's final replies are in? */
static bool may_run_ahead(const struct dialogue *d, const struct transaction *t)
{
	const struct trust *trust = d->trust;

	if (trust->careful || !(t->count > 1 ? trust->proved_multi : trust->proved_single))
		return false;
	if (strcmp(trust->final_status, trust->mail_status) == 0)
		return false;
	return !t->bdat || strcmp(trust->final_status, trust->rcpt_status) != 0;
}

bool dialogue_wants(const struct dialogue *d)
{
	const struct transaction *last;

	if (d->closed || d->ending || (d->caps->mail_max != 0 && d->mails >= d->caps->mail_max))
		return false;
	if (d->flight_count == 0)
		return true;
	last = d->flight[d->flight_count - 1];
	if (!pipelined(d) || last->content_end == 0 || !may_run_ahead(d, last))
		return false;
	if (!last->bdat)
		return d->flight_count < 2;
	return d->flight_count < WINDOW_TRANSACTIONS &&
	       d->flight[d->flight_count - 1]->content_end - (d->flight[0]->content_end - d->flight[0]->envelope.size) <
		       WINDOW_BYTES;
}

static bool says(const struct reply *reply, const char *status, const char *not_status)
{
	return strcmp(reply->status, status) == 0 && strcmp(status, not_status) != 0;
}

/* A positive final reply that looks like the one to a command before or behind it: one is missing, or one too many. */
static bool looks_shifted(const struct dialogue *d, const struct transaction *t, const struct reply *reply)
{
	const struct trust *trust = d->trust;

	if (!trust->proved_single || reply->code >= 300 || (!t->bdat && is_last(d, t)))
		return false;
	return says(reply, trust->mail_status, trust->final_status) ||
	       (t->bdat && says(reply, trust->rcpt_status, trust->final_status));
}

/* Where the 354 to DATA is still to come as a proof, how a server words its replies is its own affair. */
static bool words_matter(const struct dialogue *d, const struct transaction *t)
{
	return (t->doubtful || t->bdat) && d->trust->proved_single;
}

/* A positive reply to RCPT, whose replies may differ, that looks like a final one. */
static bool is_strange_to_rcpt(const struct dialogue *d, const struct transaction *t, const struct reply *reply)
{
	return words_matter(d, t) && t->bdat && says(reply, d->trust->final_status, d->trust->rcpt_status);
}

/* ---- replies, one function per expectation ---- */

/* MAIL was refused.  True if that lies in the connection rather than in the message: it is to be tried on another. */
static bool is_refused_by_connection(struct dialogue *d, struct transaction *t, const struct reply *reply,
                                     const struct result *r)
{
	/* sent ahead, this may be our own sequence gone wrong */
	if (t->doubtful && reply->code == 503 && !t->retried) {
		d->trust->careful = true;
		end_here(d, t, r, "MAIL was sent ahead");
		return true;
	}
	if (d->mails_taken == 0 || t->offered >= MAIL_OFFERS || reply->code == 503)
		return false;
	d->used_up = true;
	end_here(d, t, r, "no more mail on this connection");
	return true;
}

static void on_mail(struct dialogue *d, struct transaction *t, const struct reply *reply)
{
	struct result r = result_of(d, STAGE_MAIL, reply);

	/* a positive reply to MAIL that looks like no other before: one final reply too many */
	if (r.outcome == OUTCOME_NONE && words_matter(d, t) && strcmp(reply->status, d->trust->mail_status) != 0) {
		doubt_finals(d, OUTCOME_DELIVERED);
		poison(d, "a final reply too many");
		return;
	}
	if (r.outcome == OUTCOME_NONE) {
		memcpy(t->mail_status, reply->status, sizeof t->mail_status);
		d->mails_taken++;
		finish_before(d, t);
		send_envelope(d, t);
		return;
	}
	if (reply->code == 421 && d->completed > 0 && (!t->retried || (d->mails_taken > 0 && t->offered < MAIL_OFFERS))) {
		t->answered = false;
		d->used_up = d->mails_taken > 0;
		give_up(d, "4.3.2", buf_str(&d->words), OUT_OF_REACH);
		return;
	}
	if (!is_refused_by_connection(d, t, reply, &r)) {
		t->refused = keep(&r);
		/* with nothing but the end behind it, it was a quit rather than an answer */
		t->answered = r.outcome != OUTCOME_FAILED;
	}
	if (!pipelined(d) && !d->ending)
		after_envelope(d, t);
}

static void on_rcpt(struct dialogue *d, struct transaction *t, size_t i, const struct reply *reply)
{
	struct transaction_recipient *to = &t->recipients[i];
	struct result r = result_of(d, STAGE_RCPT, reply);
	bool refused_sender = t->refused.outcome != OUTCOME_NONE;

	if (refused_sender && r.outcome == OUTCOME_NONE) {
		poison(d, "RCPT accepted after MAIL was refused");
		return;
	}
	if (r.outcome == OUTCOME_NONE && is_strange_to_rcpt(d, t, reply)) {
		poison(d, "a final reply too many");
		return;
	}
	if (!refused_sender) {
		to->rcpt_reply = xasprintf("%d %s%s%s", reply->code, reply->status, reply->status[0] ? " " : "",
		                           buf_str(&d->words));
	}
	if (refused_sender) {
		/* only bookkeeping: the sender was refused, not this recipient */
	} else if (r.outcome == OUTCOME_NONE) {
		to->accepted = true;
		t->accepted++;
		memcpy(t->rcpt_status, reply->status, sizeof t->rcpt_status);
		if (t->probe) {
			struct result yes = make_result(OUTCOME_ACCEPTED, STAGE_RCPT, reply->code,
			                                policy_status(STAGE_RCPT, reply, OUTCOME_ACCEPTED), buf_str(&d->words));

			/* to a probe the yes is all there will ever be */
			yes.remote = true;
			yes.uncoded = reply->status[0] == '\0';
			to->held = keep(&yes);
		}
	} else if (policy_too_many(reply) && t->accepted > 0) {
		to->later = true;
	} else {
		to->held = keep(&r);
	}
	if (!pipelined(d))
		send_envelope(d, t);
	if (front(d) == NULL && t->next_step > STEP_RCPT + t->count && !t->content_started)
		after_envelope(d, t);
}

static void on_data(struct dialogue *d, struct transaction *t, const struct reply *reply)
{
	struct result r = result_of(d, STAGE_DATA, reply);

	if (r.outcome != OUTCOME_NONE) {
		/* of those accepted; without any, DATA is only the proof and its reply settles no recipient */
		if (t->accepted > 0)
			t->refused = keep(&r);
		end_refused(d, t);
		return;
	}
	confirm(d, t, STAGE_RCPT);
	if (t->accepted > 0 && d->ending) {
		stop_here(d, t);
		give_up(d, "4.5.0", buf_str(&d->ending_why), OUT_OF_REACH);
		return;
	}
	if (t->accepted > 0) {
		start_content(d, t);
		return;
	}
	/* ready to take a message without recipients: how many replies would follow is unknown */
	finish(d, t);
	give_up(d, "4.5.0", "DATA accepted without recipients", OUT_OF_STEP);
}

/* How many final replies a message has: LMTP gives one for each accepted recipient, SMTP one for all. */
static size_t finals_due(const struct dialogue *d, const struct transaction *t)
{
	return d->options->smtp ? 1 : t->accepted;
}

/* A final refusal that can be no other recipient's: only one was to come, and nothing is on its way behind it. */
static bool is_plain_refusal(const struct dialogue *d, const struct transaction *t)
{
	return is_last(d, t) && finals_due(d, t) == 1 && (!t->bdat || t->count == 1);
}

/* A final reply concerns the next recipient that was accepted, in SMTP all of them. */
static void take_final(struct dialogue *d, struct transaction *t, const struct result *r)
{
	/* one missing before it or too many, it would be another recipient's, or the refusal of the next MAIL */
	bool hold = r->outcome == OUTCOME_FAILED && !is_plain_refusal(d, t);

	if (!hold)
		confirm(d, t, STAGE_RCPT);
	do {
		struct transaction_recipient *to;

		t->final_at = next_accepted(t, t->final_at);
		to = &t->recipients[t->final_at];
		/* more replies may come before the owner takes this one's words */
		to->held = keep(r);
		if (!hold)
			settle(d, t, t->final_at, &to->held);
		t->final_at++;
	} while (d->options->smtp && next_accepted(t, t->final_at) < t->count);
}

static void on_final(struct dialogue *d, struct transaction *t, const struct reply *reply)
{
	struct result r;
	struct trust *trust;

	if (!content_was_written(d, t)) {
		if (reply->code == 421)
			give_up(d, "4.3.2", buf_str(&d->words), OUT_OF_REACH);
		else
			poison(d, "the server answered before it had the whole message");
		return;
	}
	if (t->accepted == 0) {
		/* BDAT behind a refused recipient: one reply, which settles no recipient */
		if (reply->code < 400) {
			poison(d, "content accepted without a recipient");
			return;
		}
		pop(d);
		t->turned_away = true;
		end_refused(d, t);
		return;
	}
	if (looks_shifted(d, t, reply)) {
		poison(d, "a final reply is missing");
		return;
	}
	r = result_of(d, STAGE_FINAL, reply);
	/* a server that goes says so (RFC 3463 X.3.2) whatever it was doing: Dovecot may have the message already */
	r.maybe_duplicate = reply->code == 421 && strcmp(r.status, "4.3.2") == 0;
	take_final(d, t, &r);
	if (r.outcome == OUTCOME_DELIVERED) {
		t->delivered = true;
		memcpy(t->final_status, reply->status, sizeof t->final_status);
	}
	d->front_since = d->now;
	if (++t->finals < finals_due(d, t))
		return;
	pop(d);
	/* an unhurried transaction ended with the right number of final replies: remember how this peer talks */
	trust = d->trust;
	if (!t->doubtful && d->flight_count <= 1 && t->delivered) {
		memcpy(trust->mail_status, t->mail_status, sizeof trust->mail_status);
		memcpy(trust->rcpt_status, t->rcpt_status, sizeof trust->rcpt_status);
		memcpy(trust->final_status, t->final_status, sizeof trust->final_status);
		trust->proved_single = true;
		if (t->accepted > 1)
			trust->proved_multi = true;
	}
	if (holds_any(t))
		end_refused(d, t);
	else
		finish(d, t);
}

/* Capabilities have a line each behind the server's name, and no enhanced code (RFC 2034 section 4). */
static bool is_capabilities(const struct reply *reply)
{
	const char *end = strchr(buf_str(&reply->lines), '\n');

	return reply->code == 250 && reply->status[0] == '\0' && end != NULL && end[1] != '\0';
}

/* The reply to RSET, behind a transaction that was refused: the proof that we are in step, and a clean table. */
static void on_reset(struct dialogue *d, struct transaction *t, const struct reply *reply)
{
	bool unknown = reply->code == 500 || reply->code == 502;

	if (reply->code == 421) {
		give_up(d, "4.3.2", buf_str(&d->words), OUT_OF_REACH);
		return;
	}
	if (reply->code >= 300 && !unknown) {
		poison(d, "RSET was refused");
		return;
	}
	if (t->probe) {
		if (reply->code == 221 || is_capabilities(reply))
			poison(d, "a reply is missing");
		else if (!pipelined(d))
			send_proof(d, t);
		return;
	}
	finish_before(d, t);
	finish(d, t);
	/* no other command is unknown; but what is left of the transaction is unknown */
	if (unknown)
		give_up(d, "4.5.0", "the server has no RSET", OUT_OF_STEP);
}

/* The reply to another LHLO, behind a probe.  From a server that takes one only, the 221 to QUIT has to be the proof. */
static void on_hello(struct dialogue *d, struct transaction *t, const struct reply *reply)
{
	if (reply->code == 421)
		give_up(d, "4.3.2", buf_str(&d->words), OUT_OF_REACH);
	else if (is_capabilities(reply))
		finish(d, t);
	else
		send_quit(d, t);
}

/* The reply to QUIT, behind a probe. */
static void on_quit(struct dialogue *d, struct transaction *t, const struct reply *reply)
{
	if (reply->code != 221) {
		poison(d, "a reply that does not fit");
		return;
	}
	finish(d, t);
	give_up(d, "4.3.2", "the probe is over", OUT_OF_REACH);
}

/* Is a refusal in flight that the reply to one more command would prove? */
static bool wants_proof(const struct dialogue *d)
{
	for (size_t i = 0; i < d->flight_count; i++)
		if (!d->flight[i]->again && holds_any(d->flight[i]))
			return !d->trust->careful && !d->ending_reset;
	return false;
}

/* Nothing more is begun: gives up as soon as nothing can be learned any more. */
static void end_when_answered(struct dialogue *d)
{
	struct transaction *last = d->flight_count > 0 ? d->flight[d->flight_count - 1] : NULL;
	bool open = front(d) != NULL;

	/* nothing is behind it, and of itself no content was sent */
	if (last != NULL && last->again && !content_was_written(d, last) && !wants_proof(d))
		open = false;
	if (open)
		return;
	if (last != NULL && wants_proof(d)) {
		d->ending_reset = true;
		send_reset(d, last);
		return;
	}
	give_up(d, "4.5.0", buf_str(&d->ending_why), OUT_OF_REACH);
}

void dialogue_reply(struct dialogue *d, const struct reply *reply)
{
	static void (*const on_others[])(struct dialogue *d, struct transaction *t, const struct reply *reply) = {
		[TO_RSET] = on_reset, [TO_HELLO] = on_hello, [TO_QUIT] = on_quit,
	};
	struct expectation *e = front(d), was;
	size_t before = d->out.len;

	if (d->closed)
		return;
	buf_clear(&d->words);
	reply_words(reply, &d->words, WORDS_MAX);
	if (e == NULL || d->written < e->sent_at) {
		/* a quit needs no question; a refusal right before it may have been the one too many */
		if (reply->code == 421)
			give_up(d, "4.3.2", buf_str(&d->words), OUT_OF_REACH);
		else {
			doubt_finals(d, policy_outcome(STAGE_FINAL, reply, d->options->rules));
			poison(d, "a reply that no command asked for");
		}
		return;
	}
	if (!policy_fits(e->stage, reply->code) && e->stage != STAGE_LOCAL) {
		poison(d, "a reply that does not fit");
		return;
	}
	was = *e;
	if (was.stage != STAGE_LOCAL)
		was.transaction->answered = true;
	if (was.stage != STAGE_FINAL)
		pop(d);
	switch (was.stage) {
	case STAGE_MAIL:
		on_mail(d, was.transaction, reply);
		break;
	case STAGE_RCPT:
		on_rcpt(d, was.transaction, was.recipient, reply);
		break;
	case STAGE_DATA:
		on_data(d, was.transaction, reply);
		break;
	case STAGE_FINAL:
		on_final(d, was.transaction, reply);
		break;
	default:
		on_others[was.command](d, was.transaction, reply);
		break;
	}
	if (d->ending && !d->closed)
		end_when_answered(d);
	notice_output(d, before);
}

/* ---- time ---- */

static int64_t reply_timeout(const struct dialogue *d, const struct expectation *e)
{
	switch (e->stage) {
	case STAGE_DATA:
		return d->options->data_timeout;
	case STAGE_FINAL:
		return d->options->final_timeout;
	case STAGE_LOCAL:
		return RESET_TIMEOUT < d->options->command_timeout ? RESET_TIMEOUT : d->options->command_timeout;
	default:
		return d->options->command_timeout;
	}
}

/* When the next step must have been made, whatever the whole may last. */
static int64_t step_deadline(const struct dialogue *d)
{
	const struct expectation *e = front(d);
	int64_t since;

	if (d->out.len > 0)
		return d->progress + d->options->write_timeout;
	/* its own content is the owner's to write; the transaction in front of it still has to be answered */
	if (e == NULL || e->transaction == d->content)
		return CLOCK_NEVER;
	since = d->front_since > d->progress ? d->front_since : d->progress;
	return since + reply_timeout(d, e);
}

/* A server that drips keeps each step's time; it must not keep us for ever. */
static int64_t whole_deadline(const struct dialogue *d)
{
	return d->flight_count > 0 ? d->flight[0]->begun_at + d->options->whole_timeout : CLOCK_NEVER;
}

int64_t dialogue_deadline(const struct dialogue *d)
{
	int64_t step = step_deadline(d), whole = whole_deadline(d);

	if (d->closed)
		return CLOCK_NEVER;
	return step < whole ? step : whole;
}

enum dialogue_wait dialogue_waits_for(const struct dialogue *d, enum stage *stage)
{
	const struct expectation *e = front(d);

	*stage = e != NULL ? e->stage : STAGE_LOCAL;
	if (whole_deadline(d) < step_deadline(d))
		return DIALOGUE_WHOLE;
	return d->out.len > 0 ? DIALOGUE_WRITE : DIALOGUE_REPLY;
}

/* The command that an expectation belongs to. */
static const char *command_of(const struct expectation *e)
{
	switch (e->stage) {
	case STAGE_LOCAL: return e->command == TO_RSET ? "RSET" : e->command == TO_QUIT ? "QUIT" : "LHLO";
	case STAGE_FINAL: return "the message";
	default: return stage_name(e->stage);
	}
}

void dialogue_add_missing(const struct dialogue *d, struct buf *out)
{
	const struct expectation *e = front(d);

	if (d->out.len > 0)
		buf_adds(out, "the server takes no data");
	else if (e != NULL)
		buf_addf(out, "no reply to %s", command_of(e));
}

void dialogue_expired(struct dialogue *d)
{
	const struct expectation *e = front(d);
	enum stage stage;

	buf_clear(&d->scratch);
	switch (dialogue_waits_for(d, &stage)) {
	case DIALOGUE_WHOLE:
		buf_addf(&d->scratch, "not finished within %" PRId64 " s", d->options->whole_timeout / 1000);
		break;
	case DIALOGUE_WRITE:
		buf_addf(&d->scratch, "the server took no data for %" PRId64 " s", d->options->write_timeout / 1000);
		break;
	case DIALOGUE_REPLY:
		dialogue_add_missing(d, &d->scratch);
		if (e != NULL)
			buf_addf(&d->scratch, " within %" PRId64 " s", reply_timeout(d, e) / 1000);
		break;
	}
	/* a missing reply may mean one was skipped earlier; do not retry at once */
	give_up(d, "4.4.2", buf_str(&d->scratch), d->ending ? OUT_OF_REACH : OUT_OF_STEP);
}

bool dialogue_in_doubt(const struct dialogue *d)
{
	for (size_t i = 0; i < d->flight_count; i++)
		if (content_was_written(d, d->flight[i]))
			return true;
	return false;
}

bool dialogue_idle(const struct dialogue *d)
{
	return d->flight_count == 0 && front(d) == NULL && d->out.len == 0;
}
