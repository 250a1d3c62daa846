/*
 * Both ends of an LMTP or SMTP connection in memory, for tests and fuzzing of the
 * transaction machine: a small server that follows a script and remembers what it really
 * decided, and an owner of the machine as the session is one.
 *
 * A run can be disturbed once: a reply that nobody asked for, a final reply that never
 * comes, a connection that ends behind a reply or behind a byte.
 */
#ifndef ZL_TESTS_UNIT_LMTP_MODEL_H
#define ZL_TESTS_UNIT_LMTP_MODEL_H

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "channel/protocol/transaction.h"
#include "lib/alloc.h"
#include "lib/clock.h"

#define MODEL_MESSAGES 4
#define MODEL_RECIPIENTS 3
/* Each disturbance costs one connection, a refused transaction none; more than this is a loop. */
#define MODEL_CONNECTIONS 12
#define MODEL_STEPS 20000

/* What the server thinks of one message, and of each recipient at RCPT and after the content. */
struct model_message {
	size_t count;
	int mail, data;
	int rcpt[MODEL_RECIPIENTS], final[MODEL_RECIPIENTS];
	size_t size;              /* of the content */
};

/* How a server words its replies; "" = no enhanced codes. */
struct model_dialect {
	const char *name;
	const char *mail, *rcpt, *final;
};

static const struct model_dialect model_dialects[] = {
	{ "all different", "2.1.0", "2.1.5", "2.0.0" },
	{ "as Dovecot", "2.1.0", "2.1.0", "2.0.0" },
	{ "as Cyrus", "2.1.0", "2.1.5", "2.1.5" },
	{ "no enhanced codes", "", "", "" },
	{ "all the same", "2.0.0", "2.0.0", "2.0.0" },
};
#define MODEL_DIALECTS (sizeof model_dialects / sizeof model_dialects[0])

enum model_surplus {
	SURPLUS_NONE,
	SURPLUS_PROMPT,           /* in the same write as the reply before it */
	SURPLUS_LATE,             /* in the same write as the reply behind it */
};

/* Where something can go wrong: between messages, inside the replies to an envelope, among those to a content. */
enum model_place { PLACE_BETWEEN, PLACE_ENVELOPE, PLACE_FINALS };

struct model {
	/* the script */
	const struct model_message *messages;
	size_t count;
	const struct model_dialect *dialect;
	bool pipelining, chunking;
	bool smtp;                /* one final reply, the one for the first recipient who was accepted, is that of all */
	/* the disturbance; replies and bytes are counted from 1 over all connections, 0 = never */
	enum model_surplus surplus;
	unsigned surplus_at;      /* stands before this reply */
	int surplus_code;
	const char *surplus_status;
	unsigned missing_at;      /* this reply is not sent, if it is a final one */
	unsigned lost_at;         /* the server ends behind this reply */
	unsigned deaf_at;         /* replies behind this one are lost on their way, and then the connection */
	size_t lost_after;        /* the server has got this many bytes and ends */
	/* the reading side */
	bool one_by_one;          /* one reply is read, then everything is written */
	unsigned read_size;       /* bytes in one read, 0 = all there are */

	/* the server */
	enum { MODEL_COMMANDS, MODEL_DATA, MODEL_BDAT } state;
	struct buf line;
	struct buf replies;
	bool ended;
	bool mail_accepted;
	size_t message;           /* under way */
	size_t accepted[MODEL_RECIPIENTS], accepted_count;
	uint64_t bdat_left;
	unsigned reply_count;
	size_t received;
	bool deaf;
	bool disturbed;           /* the disturbance has happened */
	enum model_place place;   /* ... here, */
	size_t disturbed_message; /* in this message */
	/* what it decided */
	unsigned stored[MODEL_MESSAGES][MODEL_RECIPIENTS];
	bool refused[MODEL_MESSAGES][MODEL_RECIPIENTS];
	bool sent_by_bdat[MODEL_MESSAGES];
	const char *astray;       /* the client did something that no server expects */

	/* the client */
	struct dialogue_options options;
	struct caps caps;
	struct trust trust;
	struct dialogue dialogue;
	struct reply_parser parser;
	struct transaction *content;
	bool closed;
	int64_t now;
	unsigned connections, expiries;
	struct {
		enum outcome outcome;
		unsigned settled, left_open;
		bool under_way, retried, maybe_duplicate;
		unsigned offered;
	} to[MODEL_MESSAGES][MODEL_RECIPIENTS];
	const char *broken;       /* an invariant that did not hold */
	size_t broken_message, broken_recipient;
};

static inline void model_break(struct model *m, const char *what, size_t message, size_t recipient)
{
	if (m->broken == NULL) {
		m->broken = what;
		m->broken_message = message;
		m->broken_recipient = recipient;
	}
}

/* ---- the server ---- */

static inline void model_put(struct model *m, int code, const char *status)
{
	buf_addf(&m->replies, "%d %s%swords\r\n", code, status, status[0] ? " " : "");
}

static inline const char *model_status(const char *positive, int code)
{
	if (positive[0] == '\0' || (code >= 300 && code < 400))
		return "";
	return code < 300 ? positive : code < 500 ? "4.2.2" : "5.1.1";
}

static inline void model_surplus(struct model *m, enum model_place place)
{
	m->disturbed = true;
	m->place = place;
	m->disturbed_message = m->message;
	model_put(m, m->surplus_code, m->surplus_status);
}

static inline void model_reply(struct model *m, int code, const char *positive, enum model_place before,
                               enum model_place behind)
{
	unsigned n = ++m->reply_count;

	if (m->surplus == SURPLUS_PROMPT && n == m->surplus_at && before == PLACE_FINALS)
		m->place = before;
	if (m->ended)
		return;
	if (m->surplus == SURPLUS_LATE && n == m->surplus_at)
		model_surplus(m, before);
	if (before == PLACE_FINALS && n == m->missing_at) {
		m->disturbed = true;
		m->place = behind;
		m->disturbed_message = m->message;
	} else if (!m->deaf) {
		model_put(m, code, model_status(positive, code));
	}
	if (m->surplus == SURPLUS_PROMPT && n + 1 == m->surplus_at)
		model_surplus(m, behind);
	if (n == m->lost_at)
		m->ended = m->disturbed = true;
	if (n == m->deaf_at)
		m->deaf = m->disturbed = true;
}

static inline void model_reset(struct model *m)
{
	m->mail_accepted = false;
	m->accepted_count = 0;
}

static inline void model_mail(struct model *m, const char *line)
{
	unsigned number;
	const struct model_message *message;

	if (sscanf(line, "MAIL FROM:<m%u@", &number) != 1 || number >= m->count) {
		m->astray = "strange MAIL";
		return;
	}
	if (m->mail_accepted) {
		m->astray = "MAIL inside a transaction";
		model_reply(m, 503, "", PLACE_ENVELOPE, PLACE_ENVELOPE);
		return;
	}
	message = &m->messages[number];
	m->message = number;
	m->mail_accepted = message->mail < 300;
	for (size_t i = 0; message->mail >= 500 && message->mail != 503 && i < message->count; i++)
		m->refused[number][i] = true;
	model_reply(m, message->mail, m->dialect->mail, PLACE_BETWEEN, PLACE_ENVELOPE);
}

static inline void model_rcpt(struct model *m, const char *line)
{
	unsigned message, recipient;
	int code;

	if (sscanf(line, "RCPT TO:<r%u.%u@", &message, &recipient) != 2) {
		m->astray = "strange RCPT";
		return;
	}
	if (!m->mail_accepted) {
		model_reply(m, 503, "", PLACE_ENVELOPE, PLACE_ENVELOPE);
		return;
	}
	if (message != m->message || recipient >= m->messages[message].count || m->accepted_count == MODEL_RECIPIENTS) {
		m->astray = "RCPT of another message";
		return;
	}
	code = m->messages[message].rcpt[recipient];
	if (code < 300)
		m->accepted[m->accepted_count++] = recipient;
	else if (code >= 500)
		m->refused[message][recipient] = true;
	model_reply(m, code, m->dialect->rcpt, PLACE_ENVELOPE, PLACE_ENVELOPE);
}

static inline void model_data(struct model *m)
{
	const struct model_message *message = &m->messages[m->message];

	if (m->accepted_count == 0) {
		model_reply(m, 503, "", PLACE_ENVELOPE, PLACE_ENVELOPE);
	} else if (message->data == 354) {
		m->state = MODEL_DATA;
		model_reply(m, 354, "", PLACE_ENVELOPE, PLACE_FINALS);
	} else {
		for (size_t i = 0; message->data >= 500 && i < m->accepted_count; i++)
			m->refused[m->message][m->accepted[i]] = true;
		model_reply(m, message->data, "", PLACE_ENVELOPE, PLACE_BETWEEN);
	}
}

/* The whole message is there: the decision falls for all, then they are told. */
static inline void model_finals(struct model *m)
{
	const struct model_message *message = &m->messages[m->message];
	size_t finals = m->smtp && m->accepted_count > 0 ? 1 : m->accepted_count;

	m->state = MODEL_COMMANDS;
	if (m->accepted_count == 0)
		model_reply(m, 503, "", PLACE_FINALS, PLACE_BETWEEN);
	for (size_t i = 0; i < m->accepted_count; i++) {
		size_t r = m->accepted[i];
		int code = message->final[m->smtp ? m->accepted[0] : r];

		if (code < 300)
			m->stored[m->message][r]++;
		else if (code >= 500)
			m->refused[m->message][r] = true;
	}
	for (size_t i = 0; i < finals; i++)
		model_reply(m, message->final[m->accepted[i]], m->dialect->final, PLACE_FINALS,
		            i + 1 < finals ? PLACE_FINALS : PLACE_BETWEEN);
	model_reset(m);
}

static inline void model_line(struct model *m)
{
	const char *line = buf_str(&m->line);

	if (m->state == MODEL_DATA) {
		if (strcmp(line, ".\r\n") == 0)
			model_finals(m);
	} else if (strncmp(line, "MAIL", 4) == 0) {
		model_mail(m, line);
	} else if (strncmp(line, "RCPT", 4) == 0) {
		model_rcpt(m, line);
	} else if (strcmp(line, "DATA\r\n") == 0) {
		model_data(m);
	} else if (strcmp(line, "RSET\r\n") == 0) {
		model_reset(m);
		model_reply(m, 250, m->dialect->final[0] ? "2.0.0" : "", PLACE_BETWEEN, PLACE_BETWEEN);
	} else if (strncmp(line, "BDAT ", 5) == 0 && m->chunking) {
		m->sent_by_bdat[m->message] = true;
		m->bdat_left = strtoull(line + 5, NULL, 10);
		m->state = MODEL_BDAT;
		if (m->bdat_left == 0)
			model_finals(m);
	} else {
		m->astray = "content where a command should be";
	}
	buf_clear(&m->line);
}

/* Bytes reach the server. */
static inline void model_receive(struct model *m, const char *bytes, size_t n)
{
	size_t at = 0;

	if (m->lost_after != 0 && m->received + n >= m->lost_after && m->received < m->lost_after)
		n = m->lost_after - m->received;
	while (at < n && !m->ended) {
		const char *lf;
		size_t length;

		if (m->state == MODEL_BDAT) {
			length = n - at < m->bdat_left ? n - at : (size_t)m->bdat_left;
			m->bdat_left -= length;
			at += length;
			if (m->bdat_left == 0)
				model_finals(m);
			continue;
		}
		lf = memchr(bytes + at, '\n', n - at);
		length = lf ? (size_t)(lf + 1 - (bytes + at)) : n - at;
		buf_add(&m->line, bytes + at, length);
		at += length;
		if (lf != NULL)
			model_line(m);
	}
	m->received += n;
	if (m->lost_after != 0 && m->received >= m->lost_after && !m->disturbed)
		m->ended = m->disturbed = true;
}

/* ---- the client ---- */

struct model_transaction {
	struct transaction t;
	size_t message;
	size_t number[MODEL_RECIPIENTS];
	char sender[32], address[MODEL_RECIPIENTS][48];
	struct transaction_recipient recipients[MODEL_RECIPIENTS];
};

static inline void model_connect(struct model *m)
{
	m->state = MODEL_COMMANDS;
	buf_clear(&m->line);
	buf_clear(&m->replies);
	m->ended = m->deaf = false;
	model_reset(m);
	m->closed = false;
	m->content = NULL;
	m->connections++;
	m->trust = (struct trust){ .careful = m->trust.careful };
	dialogue_init(&m->dialogue, &m->options, &m->caps, &m->trust);
	m->dialogue.now = m->now;
}

static inline void model_settled(struct model *m, const struct action *a)
{
	struct model_transaction *mt = a->transaction->owner;
	size_t message = mt->message, r = mt->number[a->recipient];

	m->to[message][r].settled++;
	m->to[message][r].outcome = a->result.outcome;
	m->to[message][r].maybe_duplicate = a->result.maybe_duplicate;
	if (m->to[message][r].settled > 1)
		model_break(m, "two outcomes", message, r);
	if (a->result.status == NULL || a->result.status[0] == '\0' || a->result.words == NULL)
		model_break(m, "an outcome without status or words", message, r);
	if (a->result.outcome == OUTCOME_DELIVERED && (a->result.stage != STAGE_FINAL || a->result.code / 100 != 2))
		model_break(m, "delivered without a positive final reply", message, r);
	if (a->result.outcome == OUTCOME_DELIVERED && m->stored[message][r] == 0)
		model_break(m, "reported delivered, but the server has not accepted it", message, r);
	if (a->result.outcome == OUTCOME_FAILED && !m->refused[message][r])
		model_break(m, "reported failed, but the server has not refused it", message, r);
	if (a->result.outcome == OUTCOME_DEFERRED && m->stored[message][r] > 0 && !a->result.remote &&
	    !a->result.maybe_duplicate)
		model_break(m, "accepted and deferred without a word of the duplicate", message, r);
}

static inline void model_done(struct model *m, struct transaction *t)
{
	struct model_transaction *mt = t->owner;

	for (size_t i = 0; i < t->count; i++) {
		size_t r = mt->number[i];

		m->to[mt->message][r].under_way = false;
		if (t->recipients[i].outcome != OUTCOME_NONE || t->recipients[i].later)
			continue;
		if (t->used_up) {
			if (++m->to[mt->message][r].offered > MAIL_OFFERS)
				model_break(m, "offered once more than twice", mt->message, r);
			continue;
		}
		m->to[mt->message][r].retried = true;
		if (++m->to[mt->message][r].left_open > 1)
			model_break(m, "left open twice", mt->message, r);
	}
	if (m->content == t)
		m->content = NULL;
	free(mt);
}

static inline void model_actions(struct model *m)
{
	struct action a;

	while (dialogue_action(&m->dialogue, &a)) {
		switch (a.kind) {
		case ACTION_SETTLED:
			model_settled(m, &a);
			break;
		case ACTION_CONTENT:
			if (m->content != NULL)
				model_break(m, "content of two messages at once", 0, 0);
			m->content = a.transaction;
			break;
		case ACTION_DONE:
			model_done(m, a.transaction);
			break;
		case ACTION_CLOSE:
			m->closed = true;
			break;
		}
	}
}

static inline bool model_is_waiting(const struct model *m, size_t message, size_t r)
{
	return m->to[message][r].settled == 0 && !m->to[message][r].under_way;
}

/* The next transaction: of the first message with waiting recipients those that were or were not tried before. */
static inline struct transaction *model_take(struct model *m)
{
	struct model_transaction *mt = NULL;

	for (size_t message = 0; mt == NULL && message < m->count; message++) {
		bool retried = false;
		unsigned offered = 0;

		for (size_t r = 0; r < m->messages[message].count; r++) {
			size_t n;

			if (!model_is_waiting(m, message, r) || (mt != NULL && (m->to[message][r].retried != retried ||
			                                                     m->to[message][r].offered != offered)))
				continue;
			if (mt == NULL) {
				mt = xcalloc(1, sizeof *mt);
				mt->message = message;
				retried = m->to[message][r].retried;
				offered = m->to[message][r].offered;
			}
			n = mt->t.count++;
			mt->number[n] = r;
			snprintf(mt->address[n], sizeof mt->address[n], "r%zu.%zu@x", message, r);
			mt->recipients[n].to.address = mt->address[n];
			m->to[message][r].under_way = true;
		}
		if (mt != NULL) {
			snprintf(mt->sender, sizeof mt->sender, "m%zu@x", message);
			mt->t.envelope.sender = mt->sender;
			mt->t.envelope.size = m->messages[message].size;
			mt->t.recipients = mt->recipients;
			mt->t.owner = mt;
			mt->t.retried = retried;
			mt->t.offered = offered;
		}
	}
	return mt ? &mt->t : NULL;
}

static inline void model_fill(struct model *m)
{
	static const char line[] = "0123456789012345678901234567890123456789012345678901234567890\r\n";
	struct transaction *t = m->content;

	if (t == NULL)
		return;
	m->content = NULL;
	for (uint64_t left = t->envelope.size; left > 0;) {
		size_t n = left < sizeof line - 1 ? (size_t)left : sizeof line - 1;

		buf_add(&m->dialogue.out, line + (sizeof line - 1 - n), n);
		left -= n;
	}
	if (!t->bdat)
		buf_adds(&m->dialogue.out, ".\r\n");
	dialogue_content_done(&m->dialogue);
}

static inline void model_begin(struct model *m)
{
	struct transaction *t;

	model_fill(m);
	while (!m->closed && dialogue_wants(&m->dialogue) && (t = model_take(m)) != NULL) {
		dialogue_begin(&m->dialogue, t);
		model_actions(m);
		model_fill(m);
	}
}

static inline bool model_write(struct model *m)
{
	size_t n = m->dialogue.out.len;

	if (n == 0 || m->closed)
		return false;
	model_receive(m, m->dialogue.out.data, n);
	dialogue_wrote(&m->dialogue, n);
	return true;
}

/* Hands over what the server has said; false if it is silent. */
static inline bool model_read(struct model *m)
{
	bool any = false;

	while (m->replies.len > 0 && !m->closed) {
		size_t n = m->replies.len, used;
		enum reply_result result;

		if (m->read_size != 0 && n > m->read_size)
			n = m->read_size;
		result = reply_parse(&m->parser, m->replies.data, n, &used);
		buf_consume(&m->replies, used);
		any = true;
		if (result == REPLY_READY)
			dialogue_reply(&m->dialogue, &m->parser.reply);
		else if (result == REPLY_GARBAGE)
			dialogue_garbage(&m->dialogue, "garbage");
		/* those of one read are taken together */
		if (m->one_by_one || m->read_size != 0)
			model_actions(m);
		if (m->one_by_one)
			break;
	}
	model_actions(m);
	if (any || m->closed || !(m->ended || m->deaf))
		return any;
	dialogue_lost(&m->dialogue, "lost");
	model_actions(m);
	return true;
}

static inline void model_wait(struct model *m)
{
	int64_t deadline = dialogue_deadline(&m->dialogue);

	if (deadline == CLOCK_NEVER) {
		model_break(m, "something is open and nothing is waited for", 0, 0);
		dialogue_lost(&m->dialogue, "stuck");
	} else {
		m->now = m->dialogue.now = deadline > m->now ? deadline : m->now;
		m->expiries++;
		dialogue_expired(&m->dialogue);
	}
	model_actions(m);
}

static inline void model_disconnect(struct model *m)
{
	if (dialogue_in_doubt(&m->dialogue) || m->dialogue.flight_count > 0)
		model_break(m, "closed with a transaction in flight", 0, 0);
	dialogue_free(&m->dialogue);
	reply_parser_free(&m->parser);
}

static inline bool model_finished(const struct model *m)
{
	for (size_t message = 0; message < m->count; message++)
		for (size_t r = 0; r < m->messages[message].count; r++)
			if (m->to[message][r].settled == 0)
				return false;
	return true;
}

/* Delivers everything.  m->broken says which invariant did not hold, NULL if all did. */
static inline void model_run(struct model *m)
{
	unsigned steps = 0;

	m->options.command_timeout = m->options.data_timeout = m->options.write_timeout = 300000;
	m->options.final_timeout = 1200000;
	m->options.whole_timeout = 14400000;
	m->options.smtp = m->smtp;
	m->caps.has |= (m->pipelining ? CAP_PIPELINING : 0) | (m->chunking ? CAP_CHUNKING : 0);
	m->now = 1000;
	model_connect(m);
	while (m->broken == NULL && (!model_finished(m) || m->dialogue.flight_count > 0)) {
		if (++steps > MODEL_STEPS || m->connections > MODEL_CONNECTIONS) {
			model_break(m, "no end", 0, 0);
			break;
		}
		if (m->closed) {
			model_disconnect(m);
			model_connect(m);
		}
		m->dialogue.now = ++m->now;
		model_begin(m);
		if (!model_write(m) && !model_read(m) && !m->closed && m->dialogue.flight_count > 0)
			model_wait(m);
		else if (!m->one_by_one)
			model_read(m);
	}
	if (m->broken != NULL && !m->closed) {
		dialogue_lost(&m->dialogue, "over");
		model_actions(m);
	}
	model_disconnect(m);
	buf_free(&m->line);
	buf_free(&m->replies);
	if (m->astray != NULL && !m->disturbed)
		model_break(m, m->astray, 0, 0);
}

/*
 * A MAIL sent ahead was refused, or the last final reply of the disturbed message was a refusal and stands where that of a MAIL
 * should: the connection is closed at once, or with the last reply that is due, before one too many could be seen.  421 behind
 * all that are due is a farewell.
 */
static inline bool model_ends_early(const struct model *m)
{
	const struct model_message *message = &m->messages[m->disturbed_message];
	size_t last = 0;

	for (size_t i = 0; i < m->count; i++)
		if (m->pipelining && m->messages[i].mail >= 400)
			return true;
	for (size_t i = 0; i < message->count && !(m->smtp && message->rcpt[last] < 300); i++)
		if (message->rcpt[i] < 300)
			last = i;
	return message->final[last] == 421 || (m->pipelining && message->final[last] >= 400);
}

/*
 * Two places remain where one reply too many or too few cannot be seen in time, because nothing but its number tells
 * one reply from the next: among the final replies of one message, for its recipients (each outcome is believed as it comes:
 * to wait for the last would make duplicates of all of them at each crash; one too many is seen if it comes in the same
 * read, unless model_ends_early()), and in front of a BDAT whose envelope's replies come one by one with a surplus one
 * among them.
 */
static inline bool model_may_be_fooled(const struct model *m)
{
	if (m->place == PLACE_FINALS && m->broken_message == m->disturbed_message)
		return m->surplus == SURPLUS_NONE || m->one_by_one || m->read_size != 0 || model_ends_early(m);
	return m->chunking && m->pipelining && (m->one_by_one || m->read_size != 0) &&
	       (m->place == PLACE_ENVELOPE || m->surplus_at == 1);
}

#endif
