#include "tests/unit/unit.h"

#include "tests/unit/lmtp_model.h"

/*
 * Part one: dialogues word by word.  A step gives the machine one reply, then everything it wants
 * to say is written; what it said and what it told its owner are compared.  The content is always "x" CR LF.
 */
struct step {
	const char *reply;       /* NULL: nothing is read, "EOF": the stream ends, "EXPIRED": the deadline passes */
	const char *says;
	const char *tells;
};

enum { MOST = 5 };

struct bench {
	struct dialogue_options options;
	struct caps caps;
	struct trust trust;
	struct dialogue d;
	struct reply_parser parser;
	struct transaction t[3];
	struct transaction_recipient to[3][MOST];
	char address[3][MOST][8];
	struct buf said, told;
};

static void bench_open(struct bench *b, unsigned caps)
{
	memset(b, 0, sizeof *b);
	b->caps.has = caps;
	b->options = (struct dialogue_options){ .command_timeout = 1000, .data_timeout = 2000, .final_timeout = 3000,
	                                        .write_timeout = 4000, .whole_timeout = 100000 };
	dialogue_init(&b->d, &b->options, &b->caps, &b->trust);
	b->d.now = 1;
}

static void bench_close(struct bench *b)
{
	dialogue_lost(&b->d, "test is over");
	for (struct action a; dialogue_action(&b->d, &a);)
		;
	dialogue_free(&b->d);
	reply_parser_free(&b->parser);
	buf_free(&b->said);
	buf_free(&b->told);
}

/* Transaction number n with recipients a, b, c ... (those of the second one d, e, f ...). */
static struct transaction *bench_transaction(struct bench *b, size_t n, size_t count)
{
	struct transaction *t = &b->t[n];

	memset(t, 0, sizeof *t);
	memset(b->to[n], 0, sizeof b->to[n]);
	t->envelope.sender = "s@x";
	t->envelope.size = 3;
	t->recipients = b->to[n];
	t->count = count;
	for (size_t i = 0; i < count; i++) {
		snprintf(b->address[n][i], sizeof b->address[n][i], "%c@x", (int)('a' + n * 3 + i));
		b->to[n][i].to.address = b->address[n][i];
	}
	return t;
}

static const char *word(enum outcome outcome)
{
	static const char *const words[] = {
		[OUTCOME_NONE] = "none", [OUTCOME_DELIVERED] = "delivered", [OUTCOME_DEFERRED] = "deferred",
		[OUTCOME_FAILED] = "failed", [OUTCOME_ACCEPTED] = "accepted",
	};

	return words[outcome];
}

static void take_actions(struct bench *b)
{
	struct action a;

	while (dialogue_action(&b->d, &a)) {
		switch (a.kind) {
		case ACTION_SETTLED:
			buf_addf(&b->told, "%.1s %s %d %s%s;", a.transaction->recipients[a.recipient].to.address,
			         word(a.result.outcome), a.result.code, a.result.status, a.result.maybe_duplicate ? " again?" : "");
			break;
		case ACTION_CONTENT:
			buf_adds(&b->d.out, a.transaction->bdat ? "x\r\n" : "x\r\n.\r\n");
			dialogue_content_done(&b->d);
			break;
		case ACTION_DONE:
			buf_addf(&b->told, "done %d;", (int)(a.transaction - b->t));
			break;
		case ACTION_CLOSE:
			buf_adds(&b->told, "close;");
			break;
		}
	}
}

static void write_all(struct bench *b)
{
	size_t n = b->d.out.len;

	buf_add(&b->said, buf_str(&b->d.out), n);
	if (n > 0)
		dialogue_wrote(&b->d, n);
}

static void bench_begin(struct bench *b, struct transaction *t)
{
	assert_true(dialogue_wants(&b->d));
	dialogue_begin(&b->d, t);
	take_actions(b);
}

/* Replies with CR LF between them come in one read. */
static void read_reply(struct bench *b, const char *text)
{
	struct buf lines = { 0 };
	size_t at = 0, used;

	buf_addf(&lines, "%s\r\n", text);
	for (; at < lines.len; at += used) {
		assert_int_equal(reply_parse(&b->parser, lines.data + at, lines.len - at, &used), REPLY_READY);
		dialogue_reply(&b->d, &b->parser.reply);
	}
	buf_free(&lines);
	take_actions(b);
}

static void bench_step(struct bench *b, const struct step *s)
{
	buf_clear(&b->said);
	buf_clear(&b->told);
	if (s->reply == NULL) {
		take_actions(b);
	} else if (strcmp(s->reply, "EOF") == 0) {
		dialogue_lost(&b->d, "lost");
		take_actions(b);
	} else if (strcmp(s->reply, "EXPIRED") == 0) {
		b->d.now = dialogue_deadline(&b->d);
		assert_true(b->d.now != CLOCK_NEVER);
		dialogue_expired(&b->d);
		take_actions(b);
	} else {
		read_reply(b, s->reply);
	}
	write_all(b);
	if (strcmp(buf_str(&b->said), s->says) != 0 || strcmp(buf_str(&b->told), s->tells) != 0)
		fail_msg("at \"%s\": said \"%s\", told \"%s\"; expected \"%s\", \"%s\"", s->reply ? s->reply : "begin",
		         buf_str(&b->said), buf_str(&b->told), s->says, s->tells);
}

static void play(struct bench *b, const struct step *steps, size_t count)
{
	for (size_t i = 0; i < count; i++)
		bench_step(b, &steps[i]);
}

#define PLAY(bench, steps) play(bench, steps, sizeof(steps) / sizeof(steps)[0])

/* One transaction with `count` recipients on a fresh connection. */
static void dialogue_is(unsigned caps, size_t count, const struct step *steps, size_t n)
{
	struct bench b;

	bench_open(&b, caps);
	bench_begin(&b, bench_transaction(&b, 0, count));
	play(&b, steps, n);
	bench_close(&b);
}

#define DIALOGUE(caps, count, steps) dialogue_is(caps, count, steps, sizeof(steps) / sizeof(steps)[0])

static void lock_step_waits_for_each_reply(void **state)
{
	static const struct step steps[] = {
		{ NULL, "MAIL FROM:<s@x>\r\n", "" },
		{ "250 2.1.0 ok", "RCPT TO:<a@x>\r\n", "" },
		{ "250 2.1.5 ok", "RCPT TO:<b@x>\r\n", "" },
		{ "250 2.1.5 ok", "DATA\r\n", "" },
		{ "354 go on", "x\r\n.\r\n", "" },
		{ "250 2.0.0 yes", "", "a delivered 250 2.0.0;" },
		{ "552 5.2.2 full", "RSET\r\n", "" },
		{ "250 2.0.0 ok", "", "b failed 552 5.2.2;done 0;" },
	};

	(void)state;
	DIALOGUE(0, 2, steps);
	/* without a reply of its own to the content's command we could not see that we are in step */
	DIALOGUE(CAP_CHUNKING, 2, steps);
}

static void an_envelope_is_pipelined(void **state)
{
	static const struct step steps[] = {
		{ NULL, "MAIL FROM:<s@x>\r\nRCPT TO:<a@x>\r\nRCPT TO:<b@x>\r\nDATA\r\n", "" },
		{ "250 2.1.0 ok", "", "" },
		{ "550 5.1.1 who", "", "" },
		{ "250 2.1.5 ok", "", "" },
		{ "354 go on", "x\r\n.\r\n", "a failed 550 5.1.1;" },
		{ "250 2.0.0 yes", "", "b delivered 250 2.0.0;done 0;" },
	};

	(void)state;
	DIALOGUE(CAP_PIPELINING, 2, steps);
}

static void the_first_bdat_waits_for_the_envelope(void **state)
{
	static const struct step steps[] = {
		{ NULL, "MAIL FROM:<s@x>\r\nRCPT TO:<a@x>\r\n", "" },
		{ "250 2.1.0 ok", "", "" },
		{ "250 2.1.5 ok", "BDAT 3 LAST\r\nx\r\n", "" },
		{ "250 2.0.0 yes", "", "a delivered 250 2.0.0;done 0;" },
	};

	(void)state;
	DIALOGUE(CAP_PIPELINING | CAP_CHUNKING, 1, steps);
}

/* The same in SMTP. */
static void smtp_is(unsigned caps, size_t count, const struct step *steps, size_t n)
{
	struct bench b;

	bench_open(&b, caps);
	b.options.smtp = true;
	bench_begin(&b, bench_transaction(&b, 0, count));
	play(&b, steps, n);
	bench_close(&b);
}

#define SMTP(caps, count, steps) smtp_is(caps, count, steps, sizeof(steps) / sizeof(steps)[0])

static void in_smtp_one_final_reply_is_for_all_accepted_recipients(void **state)
{
	static const struct step yes[] = {
		{ NULL, "MAIL FROM:<s@x>\r\nRCPT TO:<a@x>\r\nRCPT TO:<b@x>\r\nRCPT TO:<c@x>\r\nDATA\r\n", "" },
		{ "250 2.1.0 ok", "", "" },
		{ "250 2.1.5 ok", "", "" },
		{ "550 5.1.1 who", "", "" },
		{ "250 2.1.5 ok", "", "" },
		{ "354 go on", "x\r\n.\r\n", "b failed 550 5.1.1;" },
		{ "250 2.0.0 yes", "", "a delivered 250 2.0.0;c delivered 250 2.0.0;done 0;" },
	};
	static const struct step no[] = {
		{ NULL, "MAIL FROM:<s@x>\r\nRCPT TO:<a@x>\r\nRCPT TO:<b@x>\r\nDATA\r\n", "" },
		{ "250 2.1.0 ok", "", "" },
		{ "250 2.1.5 ok", "", "" },
		{ "250 2.1.5 ok", "", "" },
		{ "354 go on", "x\r\n.\r\n", "" },
		{ "554 5.6.0 no", "", "a failed 554 5.6.0;b failed 554 5.6.0;done 0;" },
	};

	(void)state;
	SMTP(CAP_PIPELINING, 3, yes);
	SMTP(CAP_PIPELINING, 2, no);
}

static void in_smtp_a_loss_behind_the_message_leaves_all_accepted_recipients_in_doubt(void **state)
{
	static const struct step steps[] = {
		{ NULL, "MAIL FROM:<s@x>\r\nRCPT TO:<a@x>\r\nRCPT TO:<b@x>\r\nDATA\r\n", "" },
		{ "250 2.1.0 ok", "", "" },
		{ "250 2.1.5 ok", "", "" },
		{ "250 2.1.5 ok", "", "" },
		{ "354 go on", "x\r\n.\r\n", "" },
		{ "EOF", "", "a deferred 421 4.4.2 again?;b deferred 421 4.4.2 again?;done 0;close;" },
	};

	(void)state;
	SMTP(CAP_PIPELINING, 2, steps);
}

static void in_smtp_a_refusal_behind_bdat_for_several_waits_for_its_proof(void **state)
{
	static const struct step steps[] = {
		{ NULL, "MAIL FROM:<s@x>\r\nRCPT TO:<a@x>\r\nRCPT TO:<b@x>\r\n", "" },
		{ "250 2.1.0 ok", "", "" },
		{ "250 2.1.5 ok", "", "" },
		{ "250 2.1.5 ok", "BDAT 3 LAST\r\nx\r\n", "" },
		{ "552 5.3.4 large", "RSET\r\n", "" },
		{ "250 2.0.0 ok", "", "a failed 552 5.3.4;b failed 552 5.3.4;done 0;" },
	};

	(void)state;
	SMTP(CAP_PIPELINING | CAP_CHUNKING, 2, steps);
}

/* The same for a probe. */
static void probe_is(unsigned caps, size_t count, const struct step *steps, size_t n)
{
	struct bench b;
	struct transaction *t;

	bench_open(&b, caps);
	t = bench_transaction(&b, 0, count);
	t->probe = true;
	bench_begin(&b, t);
	play(&b, steps, n);
	bench_close(&b);
}

#define PROBE(caps, count, steps) probe_is(caps, count, steps, sizeof(steps) / sizeof(steps)[0])
#define PROBED(rcpts) "MAIL FROM:<s@x>\r\n" rcpts "RSET\r\nQUIT\r\n"
#define A_AND_B "RCPT TO:<a@x>\r\nRCPT TO:<b@x>\r\n"

static void a_probe_has_reset_in_the_place_of_data(void **state)
{
	static const struct step pipelined[] = {
		{ NULL, PROBED(A_AND_B), "" },
		{ "250 2.1.0 ok", "", "" },
		{ "250 2.1.5 ok", "", "" },
		{ "550 5.1.1 who", "", "" },
		{ "250 2.0.0 ok", "", "" },
		{ "221 2.0.0 bye", "", "a accepted 250 2.1.5;b failed 550 5.1.1;done 0;close;" },
	};
	static const struct step lock_step[] = {
		{ NULL, "MAIL FROM:<s@x>\r\n", "" },
		{ "250 ok", "RCPT TO:<a@x>\r\n", "" },
		{ "550 who", "RCPT TO:<b@x>\r\n", "" },
		{ "250 ok", "RSET\r\n", "" },
		{ "250 ok", "QUIT\r\n", "" },
		{ "221 bye", "", "a failed 550 5.1.1;b accepted 250 2.0.0;done 0;close;" },
	};

	(void)state;
	PROBE(CAP_PIPELINING, 2, pipelined);
	PROBE(CAP_PIPELINING | CAP_CHUNKING, 2, pipelined);
	PROBE(CAP_CHUNKING, 2, lock_step);
}

static void a_probe_whose_sender_is_refused_learns_nothing(void **state)
{
	static const struct step pipelined[] = {
		{ NULL, PROBED(A_AND_B), "" },
		{ "550 5.1.8 no", "", "" },
		{ "503 5.5.1 no", "", "" },
		{ "550 5.1.1 no", "", "" },
		{ "250 ok", "", "" },
		{ "221 bye", "", "a failed 550 5.1.8;b failed 550 5.1.8;done 0;close;" },
	};
	static const struct step lock_step[] = {
		{ NULL, "MAIL FROM:<s@x>\r\n", "" },
		{ "451 4.3.0 no", "RSET\r\n", "" },
		{ "250 ok", "QUIT\r\n", "" },
		{ "221 bye", "", "a deferred 451 4.3.0;done 0;close;" },
	};

	(void)state;
	PROBE(CAP_PIPELINING, 2, pipelined);
	PROBE(0, 1, lock_step);
}

static void a_reply_too_many_or_too_few_is_no_answer_to_a_probe(void **state)
{
	static const struct step surplus[] = {
		{ NULL, PROBED(A_AND_B), "" },
		{ "250 surplus", "", "" }, { "250 to MAIL", "", "" }, { "550 to a", "", "" }, { "250 to b", "", "" },
		{ "250 to RSET", "", "a deferred 421 4.5.0;b deferred 421 4.5.0;done 0;close;" },
	};
	static const struct step missing[] = {
		{ NULL, PROBED(A_AND_B), "" },
		{ "250 to MAIL", "", "" }, { "550 to b", "", "" }, { "250 to RSET", "", "" },
		{ "221 to QUIT", "", "a deferred 421 4.5.0;b deferred 421 4.5.0;done 0;close;" },
	};

	(void)state;
	PROBE(CAP_PIPELINING, 2, surplus);
	PROBE(CAP_PIPELINING, 2, missing);
}

/* The replies of a server to MAIL, RCPT a, RCPT b, RSET, QUIT: what it says when nothing goes wrong. */
#define PROBE_REPLIES 5

/* Feeds `count` replies and the end of the stream; no recipient may end with what its server did not say. */
static void no_answer_is_wrong(const int *replies, size_t count, const int *truth)
{
	struct bench b;
	struct transaction *t;

	bench_open(&b, CAP_PIPELINING);
	t = bench_transaction(&b, 0, 2);
	t->probe = true;
	bench_begin(&b, t);
	write_all(&b);
	for (size_t i = 0; i < count && !b.d.closed; i++) {
		char text[16];

		snprintf(text, sizeof text, "%d x", replies[i]);
		read_reply(&b, text);
	}
	dialogue_lost(&b.d, "lost");
	take_actions(&b);
	for (size_t i = 0; i < 2; i++) {
		enum outcome o = t->recipients[i].outcome;

		assert_false(o == OUTCOME_ACCEPTED && (truth[0] != 250 || truth[1 + i] != 250));
		assert_false(o == OUTCOME_FAILED && truth[0] == 250 && truth[1 + i] != 550);
		assert_int_not_equal(o, OUTCOME_DELIVERED);
	}
	bench_close(&b);
}

static void one_reply_too_many_or_too_few_makes_no_wrong_answer(void **state)
{
	static const int mail[] = { 250, 550, 451 }, rcpt[] = { 250, 550, 452, 450 }, surplus[] = { 250, 550, 451, 221, 354 };

	(void)state;
	for (size_t n = 0; n < 3 * 4 * 4; n++) {
		const int truth[PROBE_REPLIES] = { mail[n / 16], rcpt[n / 4 % 4], rcpt[n % 4], 250, 221 };

		no_answer_is_wrong(truth, PROBE_REPLIES, truth);
		for (size_t at = 0; at < PROBE_REPLIES; at++) {
			int replies[PROBE_REPLIES + 1];

			memcpy(replies, truth, at * sizeof *truth);
			memcpy(replies + at, truth + at + 1, (PROBE_REPLIES - at - 1) * sizeof *truth);
			no_answer_is_wrong(replies, PROBE_REPLIES - 1, truth);
			memcpy(replies + at + 1, truth + at, (PROBE_REPLIES - at) * sizeof *truth);
			for (size_t s = 0; s < sizeof surplus / sizeof surplus[0]; s++) {
				replies[at] = surplus[s];
				no_answer_is_wrong(replies, PROBE_REPLIES + 1, truth);
			}
		}
	}
}

static void what_a_probe_heard_before_a_loss_is_no_answer(void **state)
{
	static const struct step in_envelope[] = {
		{ NULL, PROBED(A_AND_B), "" },
		{ "250 2.1.0 ok", "", "" },
		{ "550 5.1.1 who", "", "" },
		{ "EOF", "", "a deferred 421 4.4.2;b deferred 421 4.4.2;done 0;close;" },
	};
	static const struct step at_quit[] = {
		{ NULL, PROBED("RCPT TO:<a@x>\r\n"), "" },
		{ "250 2.1.0 ok", "", "" },
		{ "250 2.1.5 ok", "", "" },
		{ "250 2.0.0 ok", "", "" },
		{ "EOF", "", "a deferred 421 4.4.2;done 0;close;" },
	};
	static const struct step before_all[] = {
		{ NULL, PROBED("RCPT TO:<a@x>\r\n"), "" },
		{ "EOF", "", "done 0;close;" },
	};

	(void)state;
	PROBE(CAP_PIPELINING, 2, in_envelope);
	PROBE(CAP_PIPELINING, 1, at_quit);
	PROBE(CAP_PIPELINING, 1, before_all);
}

static void too_many_recipients_are_asked_for_later(void **state)
{
	static const struct step steps[] = {
		{ NULL, PROBED(A_AND_B), "" },
		{ "250 2.1.0 ok", "", "" },
		{ "250 2.1.5 ok", "", "" },
		{ "452 4.5.3 too many", "", "" },
		{ "250 2.0.0 ok", "", "" },
		{ "221 2.0.0 bye", "", "a accepted 250 2.1.5;done 0;close;" },
	};

	(void)state;
	PROBE(CAP_PIPELINING, 2, steps);
}

/* A peer that is known to word its replies like this; from here on things may be sent ahead. */
static void prove(struct bench *b, const char *mail, const char *rcpt, const char *final)
{
	b->trust.proved_single = b->trust.proved_multi = true;
	strcpy(b->trust.mail_status, mail);
	strcpy(b->trust.rcpt_status, rcpt);
	strcpy(b->trust.final_status, final);
}

static void a_known_peer_gets_a_single_recipients_bdat_blind(void **state)
{
	static const struct step steps[] = {
		{ NULL, "MAIL FROM:<s@x>\r\nRCPT TO:<a@x>\r\nBDAT 3 LAST\r\nx\r\n"
		        "MAIL FROM:<s@x>\r\nRCPT TO:<d@x>\r\nRCPT TO:<e@x>\r\n", "" },
		{ "250 2.1.0 ok", "", "" },
		{ "250 2.1.5 ok", "", "" },
		{ "250 2.0.0 yes", "", "a delivered 250 2.0.0;done 0;" },
		{ "250 2.1.0 ok", "", "" },
		{ "250 2.1.5 ok", "", "" },
		{ "250 2.1.5 ok", "BDAT 3 LAST\r\nx\r\n", "" },
		{ "250 2.0.0 yes", "", "d delivered 250 2.0.0;" },
		{ "250 2.0.0 yes", "", "e delivered 250 2.0.0;done 1;" },
	};
	struct bench b;

	(void)state;
	bench_open(&b, CAP_PIPELINING | CAP_CHUNKING);
	prove(&b, "2.1.0", "2.1.5", "2.0.0");
	bench_begin(&b, bench_transaction(&b, 0, 1));
	bench_begin(&b, bench_transaction(&b, 1, 2));
	assert_false(dialogue_wants(&b.d));
	PLAY(&b, steps);
	bench_close(&b);
}

static void a_large_bdat_is_not_sent_before_it_is_wanted(void **state)
{
	struct bench b;
	struct transaction *t;

	(void)state;
	bench_open(&b, CAP_PIPELINING | CAP_CHUNKING);
	prove(&b, "2.1.0", "2.1.5", "2.0.0");
	t = bench_transaction(&b, 0, 1);
	t->envelope.size = 64001;
	bench_begin(&b, t);
	write_all(&b);
	assert_string_equal(buf_str(&b.said), "MAIL FROM:<s@x>\r\nRCPT TO:<a@x>\r\n");
	bench_close(&b);
}

static void the_next_envelope_follows_the_dot_of_a_known_peer(void **state)
{
	static const struct step first[] = {
		{ NULL, "MAIL FROM:<s@x>\r\nRCPT TO:<a@x>\r\nDATA\r\n", "" },
		{ "250 2.1.0 ok", "", "" },
		{ "250 2.1.5 ok", "", "" },
		{ "354 go on", "x\r\n.\r\n", "" },
	};
	static const struct step then[] = {
		{ NULL, "MAIL FROM:<s@x>\r\nRCPT TO:<d@x>\r\nDATA\r\n", "" },
		{ "250 2.0.0 yes", "", "a delivered 250 2.0.0;done 0;" },
		{ "250 2.1.0 ok", "", "" },
		{ "250 2.1.5 ok", "", "" },
		{ "354 go on", "x\r\n.\r\n", "" },
		{ "250 2.0.0 yes", "", "d delivered 250 2.0.0;done 1;" },
	};
	struct bench b;

	(void)state;
	bench_open(&b, CAP_PIPELINING);
	prove(&b, "2.1.0", "2.1.5", "2.0.0");
	bench_begin(&b, bench_transaction(&b, 0, 1));
	assert_false(dialogue_wants(&b.d));
	PLAY(&b, first);
	bench_begin(&b, bench_transaction(&b, 1, 1));
	PLAY(&b, then);
	bench_close(&b);
}

static void nothing_follows_the_dot_of_a_peer_that_is_not_known_or_words_all_replies_alike(void **state)
{
	static const struct step steps[] = {
		{ "250 2.1.0 ok", "MAIL FROM:<s@x>\r\nRCPT TO:<a@x>\r\nDATA\r\n", "" },
		{ "250 2.1.5 ok", "", "" },
		{ "354 go on", "x\r\n.\r\n", "" },
	};
	static const struct { bool known, careful; const char *mail, *final; } rows[] = {
		{ false, false, "", "" }, { true, false, "", "" }, { true, false, "2.0.0", "2.0.0" },
		{ true, true, "2.1.0", "2.0.0" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		struct bench b;

		bench_open(&b, CAP_PIPELINING);
		if (rows[i].known)
			prove(&b, rows[i].mail, "2.1.5", rows[i].final);
		b.trust.careful = rows[i].careful;
		bench_begin(&b, bench_transaction(&b, 0, 1));
		write_all(&b);
		buf_clear(&b.d.out);
		for (size_t s = 0; s < 3; s++) {
			read_reply(&b, steps[s].reply);
			write_all(&b);
		}
		assert_false(dialogue_wants(&b.d));
		read_reply(&b, "250 2.0.0 yes");
		assert_true(dialogue_wants(&b.d));
		bench_close(&b);
	}
}

static void a_peer_is_known_by_one_unhurried_message(void **state)
{
	static const char *const replies[] = { "250 2.1.0 ok", "250 2.1.5 ok", "250 2.1.5 ok", "354 go", "250 2.0.0 yes" };
	struct bench b;

	(void)state;
	bench_open(&b, CAP_PIPELINING);
	bench_begin(&b, bench_transaction(&b, 0, 2));
	write_all(&b);
	for (size_t i = 0; i < 5; i++) {
		read_reply(&b, replies[i]);
		write_all(&b);
	}
	assert_false(b.trust.proved_single);
	read_reply(&b, "452 4.2.2 full");
	assert_true(b.trust.proved_single);
	assert_true(b.trust.proved_multi);
	assert_string_equal(b.trust.mail_status, "2.1.0");
	assert_string_equal(b.trust.rcpt_status, "2.1.5");
	assert_string_equal(b.trust.final_status, "2.0.0");
	bench_close(&b);
}

static void refusals_count_when_reset_is_answered(void **state)
{
	static const struct step mail[] = {
		{ NULL, "MAIL FROM:<s@x>\r\nRCPT TO:<a@x>\r\nDATA\r\n", "" },
		{ "550 5.7.1 no", "", "" },
		{ "503 5.5.1 no", "", "" },
		{ "503 5.5.1 no", "RSET\r\n", "" },
		{ "250 2.0.0 ok", "", "a failed 550 5.7.1;done 0;" },
	};
	static const struct step rcpt[] = {
		{ NULL, "MAIL FROM:<s@x>\r\nRCPT TO:<a@x>\r\nDATA\r\n", "" },
		{ "250 2.1.0 ok", "", "" },
		{ "550 5.1.1 who", "", "" },
		{ "503 5.5.1 no", "RSET\r\n", "" },
		{ "250 2.0.0 ok", "", "a failed 550 5.1.1;done 0;" },
	};
	static const struct step data[] = {
		{ NULL, "MAIL FROM:<s@x>\r\nRCPT TO:<a@x>\r\nDATA\r\n", "" },
		{ "250 2.1.0 ok", "", "" },
		{ "250 2.1.5 ok", "", "" },
		{ "554 5.6.0 no", "RSET\r\n", "" },
		{ "250 2.0.0 ok", "", "a failed 554 5.6.0;done 0;" },
	};

	(void)state;
	DIALOGUE(CAP_PIPELINING, 1, mail);
	DIALOGUE(CAP_PIPELINING, 1, rcpt);
	DIALOGUE(CAP_PIPELINING, 1, data);
}

static void in_lock_step_refused_data_proves_a_refusal_too(void **state)
{
	static const struct step mail[] = {
		{ NULL, "MAIL FROM:<s@x>\r\n", "" },
		{ "550 5.7.1 no", "DATA\r\n", "" },
		{ "503 5.5.1 no", "RSET\r\n", "" },
		{ "250 2.0.0 ok", "", "a failed 550 5.7.1;b failed 550 5.7.1;done 0;" },
	};
	static const struct step rcpt[] = {
		{ NULL, "MAIL FROM:<s@x>\r\n", "" },
		{ "250 2.1.0 ok", "RCPT TO:<a@x>\r\n", "" },
		{ "450 4.2.1 busy", "RCPT TO:<b@x>\r\n", "" },
		{ "550 5.1.1 who", "DATA\r\n", "" },
		{ "503 5.5.1 no", "RSET\r\n", "" },
		{ "250 2.0.0 ok", "", "a deferred 450 4.2.1;b failed 550 5.1.1;done 0;" },
	};

	(void)state;
	DIALOGUE(0, 2, mail);
	DIALOGUE(0, 2, rcpt);
}

static void no_chunk_is_sent_for_nobody(void **state)
{
	static const struct step steps[] = {
		{ NULL, "MAIL FROM:<s@x>\r\nRCPT TO:<a@x>\r\n", "" },
		{ "250 2.1.0 ok", "", "" },
		{ "550 5.1.1 who", "DATA\r\n", "" },
		{ "503 5.5.1 no", "RSET\r\n", "" },
		{ "250 2.0.0 ok", "", "a failed 550 5.1.1;done 0;" },
	};

	(void)state;
	DIALOGUE(CAP_PIPELINING | CAP_CHUNKING, 1, steps);
}

static void a_server_without_reset_is_believed_and_left(void **state)
{
	static const struct step steps[] = {
		{ NULL, "MAIL FROM:<s@x>\r\nRCPT TO:<a@x>\r\nDATA\r\n", "" },
		{ "250 2.1.0 ok", "", "" },
		{ "550 5.1.1 who", "", "" },
		{ "503 5.5.1 no", "RSET\r\n", "" },
		{ "502 5.5.1 what is that", "", "a failed 550 5.1.1;done 0;close;" },
	};

	(void)state;
	DIALOGUE(CAP_PIPELINING, 1, steps);
}

/* The server says "554" of its own, then "354" to DATA: nobody may bounce by it. */
static void a_refusal_that_was_a_surplus_reply_fails_nobody(void **state)
{
	static const struct step at_mail[] = {
		{ NULL, "MAIL FROM:<s@x>\r\nRCPT TO:<a@x>\r\nDATA\r\n", "" },
		{ "554 5.3.0 surplus", "", "" },
		{ "250 2.1.0 ok", "", "a deferred 421 4.5.0;done 0;close;" },
	};
	static const struct step at_data[] = {
		{ NULL, "MAIL FROM:<s@x>\r\nRCPT TO:<a@x>\r\nDATA\r\n", "" },
		{ "250 2.1.0 ok", "", "" },
		{ "250 2.1.5 ok", "", "" },
		{ "554 5.3.0 surplus", "RSET\r\n", "" },
		{ "354 go on", "", "a deferred 421 4.5.0;done 0;close;" },
	};
	static const struct step in_lock_step[] = {
		{ NULL, "MAIL FROM:<s@x>\r\n", "" },
		{ "554 5.3.0 surplus", "DATA\r\n", "" },
		{ "250 2.1.0 ok", "", "a deferred 421 4.5.0;done 0;close;" },
	};

	(void)state;
	DIALOGUE(CAP_PIPELINING, 1, at_mail);
	DIALOGUE(CAP_PIPELINING, 1, at_data);
	DIALOGUE(0, 1, in_lock_step);
}

/*
 * Of n + 1 replies to a message for n recipients, a recipient's own is the one in its place or the next: it is believed
 * where both say the same.  This needs a surplus reply that comes together with the others.
 */
static void a_final_reply_too_many_leaves_in_doubt_whom_it_may_concern(void **state)
{
	static const struct { const char *replies, *says, *tells; } rows[] = {
		/* the server's "550" is for c */
		{ "250 2.0.0 ok\r\n250 2.0.0 a\r\n250 2.0.0 b\r\n550 5.2.1 c", "",
		  "a delivered 250 2.0.0;b delivered 250 2.0.0;c deferred 421 4.5.0 again?;done 0;close;" },
		/* whoever they are for, they all say yes: a server that always does this must not get copy after copy */
		{ "250 2.0.0 ok\r\n250 2.0.0 a\r\n250 2.0.0 b\r\n250 2.0.0 c", "",
		  "a delivered 250 2.0.0;b delivered 250 2.0.0;c delivered 250 2.0.0;done 0;close;" },
		{ "250 2.0.0 ok\r\n452 4.2.2 a\r\n250 2.0.0 b\r\n250 2.0.0 c", "",
		  "a deferred 421 4.5.0 again?;b deferred 452 4.2.2;c delivered 250 2.0.0;done 0;close;" },
		/* a refusal was without its proof anyway */
		{ "250 2.0.0 ok\r\n550 5.2.1 a\r\n250 2.0.0 b\r\n250 2.0.0 c", "RSET\r\n",
		  "a deferred 421 4.5.0 again?;c delivered 250 2.0.0;b deferred 421 4.5.0 again?;done 0;close;" },
		/* a farewell is none too many */
		{ "250 2.0.0 a\r\n250 2.0.0 b\r\n250 2.0.0 c\r\n421 4.3.2 bye", "",
		  "a delivered 250 2.0.0;b delivered 250 2.0.0;c delivered 250 2.0.0;done 0;close;" },
	};
	static const struct step single[] = {
		{ NULL, "MAIL FROM:<s@x>\r\nRCPT TO:<a@x>\r\nDATA\r\n", "" },
		{ "250 2.1.0 ok\r\n250 2.1.5 ok\r\n354 go on", "x\r\n.\r\n", "" },
		{ "550 5.2.1 no\r\n250 2.0.0 yes", "", "a deferred 421 4.5.0 again?;done 0;close;" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		const struct step steps[] = {
			{ NULL, "MAIL FROM:<s@x>\r\nRCPT TO:<a@x>\r\nRCPT TO:<b@x>\r\nRCPT TO:<c@x>\r\nDATA\r\n", "" },
			{ "250 2.1.0 ok\r\n250 2.1.5 ok\r\n250 2.1.5 ok\r\n250 2.1.5 ok\r\n354 go on", "x\r\n.\r\n", "" },
			{ rows[i].replies, rows[i].says, rows[i].tells },
		};

		DIALOGUE(CAP_PIPELINING, 3, steps);
	}
	DIALOGUE(CAP_PIPELINING, 1, single);
}

/* The same where the reply too many stands in the place of the next MAIL's. */
static void a_final_reply_too_many_in_the_place_of_the_next_mails_does_so_too(void **state)
{
	static const struct step until_dot[] = {
		{ NULL, "MAIL FROM:<s@x>\r\nRCPT TO:<a@x>\r\nRCPT TO:<b@x>\r\nDATA\r\n", "" },
		{ "250 2.1.0 ok\r\n250 2.1.5 ok\r\n250 2.1.5 ok\r\n354 go on", "x\r\n.\r\n", "" },
	};
	static const struct step ahead[] = {
		{ NULL, "MAIL FROM:<s@x>\r\nRCPT TO:<d@x>\r\nDATA\r\n", "" },
		{ "250 2.0.0 ok\r\n452 4.2.2 a\r\n250 2.0.0 b", "",
		  "a deferred 421 4.5.0 again?;b deferred 452 4.2.2;done 0;d deferred 421 4.5.0;done 1;close;" },
	};
	struct bench b;

	(void)state;
	bench_open(&b, CAP_PIPELINING);
	prove(&b, "2.1.0", "2.1.5", "2.0.0");
	bench_begin(&b, bench_transaction(&b, 0, 2));
	PLAY(&b, until_dot);
	bench_begin(&b, bench_transaction(&b, 1, 1));
	PLAY(&b, ahead);
	bench_close(&b);
}

/* The final reply of the first message never comes; what comes is the answer to the next MAIL. */
static void a_missing_final_reply_is_not_replaced_by_the_next_mails(void **state)
{
	static const struct { const char *mail, *rcpt, *tells; } rows[] = {
		{ "250 2.1.0 ok", NULL, "a deferred 421 4.5.0 again?;done 0;d deferred 421 4.5.0;done 1;close;" },
		{ "550 5.7.1 bad sender", "503 5.5.1 MAIL first", "a deferred 421 4.5.0 again?;done 0;done 1;close;" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		static const char *const until_dot[] = { "250 2.1.0 ok", "250 2.1.5 ok", "354 go on" };
		struct bench b;

		bench_open(&b, CAP_PIPELINING);
		prove(&b, "2.1.0", "2.1.5", "2.0.0");
		bench_begin(&b, bench_transaction(&b, 0, 1));
		write_all(&b);
		for (size_t s = 0; s < 3; s++) {
			read_reply(&b, until_dot[s]);
			write_all(&b);
		}
		bench_begin(&b, bench_transaction(&b, 1, 1));
		write_all(&b);
		read_reply(&b, rows[i].mail);
		if (rows[i].rcpt != NULL)
			read_reply(&b, rows[i].rcpt);
		assert_string_equal(buf_str(&b.told), rows[i].tells);
		assert_true(b.trust.careful);
		bench_close(&b);
	}
}

static void a_final_refusal_counts_when_the_next_mail_is_answered(void **state)
{
	static const struct step steps[] = {
		{ NULL, "MAIL FROM:<s@x>\r\nRCPT TO:<a@x>\r\nBDAT 3 LAST\r\nx\r\n"
		        "MAIL FROM:<s@x>\r\nRCPT TO:<d@x>\r\nBDAT 3 LAST\r\nx\r\n", "" },
		{ "250 2.1.0 ok", "", "" },
		{ "250 2.1.5 ok", "", "" },
		{ "552 5.2.2 full", "", "" },
		{ "250 2.1.0 ok", "", "a failed 552 5.2.2;done 0;" },
		{ "250 2.1.5 ok", "", "" },
		{ "250 2.0.0 yes", "", "d delivered 250 2.0.0;done 1;" },
	};
	struct bench b;

	(void)state;
	bench_open(&b, CAP_PIPELINING | CAP_CHUNKING);
	prove(&b, "2.1.0", "2.1.5", "2.0.0");
	bench_begin(&b, bench_transaction(&b, 0, 1));
	bench_begin(&b, bench_transaction(&b, 1, 1));
	PLAY(&b, steps);
	bench_close(&b);
}

static void bdat_behind_a_refused_recipient_gets_one_reply(void **state)
{
	static const struct step steps[] = {
		{ NULL, "MAIL FROM:<s@x>\r\nRCPT TO:<a@x>\r\nBDAT 3 LAST\r\nx\r\n"
		        "MAIL FROM:<s@x>\r\nRCPT TO:<d@x>\r\nBDAT 3 LAST\r\nx\r\n", "" },
		{ "250 2.1.0 ok", "", "" },
		{ "550 5.1.1 who", "", "" },
		{ "503 5.5.1 nobody", "", "" },
		{ "250 2.1.0 ok", "", "a failed 550 5.1.1;done 0;" },
		{ "550 5.1.1 who", "", "" },
		{ "503 5.5.1 nobody", "RSET\r\n", "" },
		{ "250 2.0.0 ok", "", "d failed 550 5.1.1;done 1;" },
	};
	struct bench b;

	(void)state;
	bench_open(&b, CAP_PIPELINING | CAP_CHUNKING);
	prove(&b, "2.1.0", "2.1.5", "2.0.0");
	bench_begin(&b, bench_transaction(&b, 0, 1));
	bench_begin(&b, bench_transaction(&b, 1, 1));
	PLAY(&b, steps);
	bench_close(&b);
}

static void data_accepted_for_nobody_ends_the_connection(void **state)
{
	static const struct step steps[] = {
		{ NULL, "MAIL FROM:<s@x>\r\nRCPT TO:<a@x>\r\nDATA\r\n", "" },
		{ "250 2.1.0 ok", "", "" },
		{ "550 5.1.1 who", "", "" },
		{ "354 go on", "", "a failed 550 5.1.1;done 0;close;" },
	};

	static const struct step mail[] = {
		{ NULL, "MAIL FROM:<s@x>\r\nRCPT TO:<a@x>\r\nDATA\r\n", "" },
		{ "550 5.7.1 no", "", "" },
		{ "503 5.5.1 no", "", "" },
		{ "354 go on", "", "a failed 550 5.7.1;done 0;close;" },
	};

	(void)state;
	DIALOGUE(CAP_PIPELINING, 1, steps);
	DIALOGUE(CAP_PIPELINING, 1, mail);
}

static void content_accepted_for_nobody_is_not_believed(void **state)
{
	static const struct step steps[] = {
		{ NULL, "MAIL FROM:<s@x>\r\nRCPT TO:<a@x>\r\nBDAT 3 LAST\r\nx\r\n", "" },
		{ "250 2.1.0 ok", "", "" },
		{ "550 5.1.1 who", "", "" },
		{ "250 2.0.0 yes", "", "a deferred 421 4.5.0 again?;done 0;close;" },
	};
	struct bench b;

	(void)state;
	bench_open(&b, CAP_PIPELINING | CAP_CHUNKING);
	prove(&b, "2.1.0", "2.1.5", "2.0.0");
	bench_begin(&b, bench_transaction(&b, 0, 1));
	PLAY(&b, steps);
	bench_close(&b);
}

/* One final reply too many of the message before, read when the next has begun. */
static void a_final_reply_too_many_is_known_by_its_words(void **state)
{
	static const struct step at_mail[] = {
		{ NULL, "MAIL FROM:<s@x>\r\nRCPT TO:<a@x>\r\nRCPT TO:<b@x>\r\n", "" },
		{ "250 2.0.0 yes", "", "a deferred 421 4.5.0;b deferred 421 4.5.0;done 0;close;" },
	};
	static const struct step without_status[] = {
		{ NULL, "MAIL FROM:<s@x>\r\nRCPT TO:<a@x>\r\nRCPT TO:<b@x>\r\n", "" },
		{ "250 yes", "", "a deferred 421 4.5.0;b deferred 421 4.5.0;done 0;close;" },
	};
	static const struct step at_rcpt[] = {
		{ NULL, "MAIL FROM:<s@x>\r\nRCPT TO:<a@x>\r\nRCPT TO:<b@x>\r\n", "" },
		{ "250 2.1.0 ok", "", "" },
		{ "250 2.0.0 yes", "", "a deferred 421 4.5.0;b deferred 421 4.5.0;done 0;close;" },
	};
	static const struct step at_final[] = {
		{ NULL, "MAIL FROM:<s@x>\r\nRCPT TO:<a@x>\r\nRCPT TO:<b@x>\r\n", "" },
		{ "250 2.1.0 ok", "", "" },
		{ "250 2.1.5 ok", "", "" },
		{ "250 2.1.5 ok", "BDAT 3 LAST\r\nx\r\n", "" },
		{ "250 2.1.5 ok", "", "a deferred 421 4.5.0 again?;b deferred 421 4.5.0 again?;done 0;close;" },
	};
	static const struct { const struct step *steps; size_t count; } rows[] = {
		{ at_mail, 2 }, { without_status, 2 }, { at_rcpt, 3 }, { at_final, 5 },
	};

	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		struct bench b;

		bench_open(&b, CAP_PIPELINING | CAP_CHUNKING);
		prove(&b, "2.1.0", "2.1.5", "2.0.0");
		bench_begin(&b, bench_transaction(&b, 0, 2));
		play(&b, rows[i].steps, rows[i].count);
		bench_close(&b);
	}
}

/* Once out of step with a peer, or with DATA and its 354 to come, its words may be as they like. */
static void where_354_is_the_proof_words_do_not_matter(void **state)
{
	static const struct step steps[] = {
		{ NULL, "MAIL FROM:<s@x>\r\nRCPT TO:<a@x>\r\nDATA\r\n", "" },
		{ "250 2.0.0 ok", "", "" },
		{ "250 2.0.0 ok", "", "" },
		{ "354 go on", "x\r\n.\r\n", "" },
		{ "250 2.1.0 yes", "", "a delivered 250 2.1.0;done 0;" },
	};
	struct bench b;

	(void)state;
	for (unsigned careful = 0; careful < 2; careful++) {
		bench_open(&b, careful ? CAP_PIPELINING | CAP_CHUNKING : CAP_PIPELINING);
		prove(&b, "2.1.0", "2.1.5", "2.0.0");
		b.trust.careful = careful;
		bench_begin(&b, bench_transaction(&b, 0, 1));
		PLAY(&b, steps);
		bench_close(&b);
	}
}

static void what_was_sent_ahead_teaches_nothing(void **state)
{
	static const struct step steps[] = {
		{ NULL, "MAIL FROM:<s@x>\r\nRCPT TO:<a@x>\r\nBDAT 3 LAST\r\nx\r\n"
		        "MAIL FROM:<s@x>\r\nRCPT TO:<d@x>\r\nBDAT 3 LAST\r\nx\r\n", "" },
		{ "250 2.1.0 ok", "", "" },
		{ "250 2.1.5 ok", "", "" },
		{ "250 2.6.0 yes", "", "a delivered 250 2.6.0;done 0;" },
		{ "250 2.1.0 ok", "", "" },
		{ "250 2.1.5 ok", "", "" },
		{ "250 2.6.0 yes", "", "d delivered 250 2.6.0;done 1;" },
	};
	struct bench b;

	(void)state;
	bench_open(&b, CAP_PIPELINING | CAP_CHUNKING);
	prove(&b, "2.1.0", "2.1.5", "2.0.0");
	bench_begin(&b, bench_transaction(&b, 0, 1));
	bench_begin(&b, bench_transaction(&b, 1, 1));
	PLAY(&b, steps);
	assert_string_equal(b.trust.final_status, "2.0.0");
	bench_close(&b);
}

static void impossible_replies_settle_nobody(void **state)
{
	static const char *const good[] = { "250 2.1.0 ok", "250 2.1.5 ok", "354 go on", "250 2.0.0 yes" };
	static const struct { size_t at; const char *reply; const char *tells; } rows[] = {
		{ 0, "354 go on", "a deferred 421 4.5.0;done 0;close;" },
		{ 0, "334 and", "a deferred 421 4.5.0;done 0;close;" },
		{ 1, "354 go on", "a deferred 421 4.5.0;done 0;close;" },
		{ 2, "250 2.0.0 ok", "a deferred 421 4.5.0;done 0;close;" },
		{ 2, "334 and", "a deferred 421 4.5.0;done 0;close;" },
		{ 3, "354 go on", "a deferred 421 4.5.0 again?;done 0;close;" },
		{ 3, "334 and", "a deferred 421 4.5.0 again?;done 0;close;" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		struct bench b;

		bench_open(&b, CAP_PIPELINING);
		bench_begin(&b, bench_transaction(&b, 0, 1));
		write_all(&b);
		for (size_t s = 0; s < rows[i].at; s++) {
			read_reply(&b, good[s]);
			write_all(&b);
		}
		read_reply(&b, rows[i].reply);
		assert_string_equal(buf_str(&b.told), rows[i].tells);
		bench_close(&b);
	}
}

static void a_reply_that_nobody_asked_for_ends_the_dialogue(void **state)
{
	struct bench b;

	(void)state;
	bench_open(&b, CAP_PIPELINING);
	read_reply(&b, "250 2.0.0 hello");
	assert_string_equal(buf_str(&b.told), "close;");
	assert_true(b.trust.careful);
	assert_false(dialogue_wants(&b.d));
	bench_close(&b);
	bench_open(&b, CAP_PIPELINING);
	/* answered before it was sent */
	bench_begin(&b, bench_transaction(&b, 0, 1));
	read_reply(&b, "250 2.1.0 ok");
	assert_string_equal(buf_str(&b.told), "a deferred 421 4.5.0;done 0;close;");
	bench_close(&b);
}

static void unasked_421_is_a_farewell(void **state)
{
	struct bench b;

	(void)state;
	bench_open(&b, CAP_PIPELINING);
	read_reply(&b, "421 4.3.2 bye");
	assert_string_equal(buf_str(&b.told), "close;");
	assert_false(b.trust.careful);
	bench_close(&b);
	bench_open(&b, CAP_PIPELINING);
	bench_begin(&b, bench_transaction(&b, 0, 1));
	read_reply(&b, "421 4.3.2 bye");
	assert_string_equal(buf_str(&b.told), "done 0;close;");
	bench_close(&b);
}

static void early_reply_to_the_content_defers(void **state)
{
	static const struct { const char *reply; bool careful; } rows[] = {
		{ "552 5.3.4 too large", true }, { "250 2.0.0 yes", true }, { "421 4.3.2 bye", false },
	};

	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		static const char *const before[] = { "250 2.1.0 ok", "250 2.1.5 ok", "354 go on" };
		struct bench b;

		bench_open(&b, CAP_PIPELINING);
		bench_begin(&b, bench_transaction(&b, 0, 1));
		write_all(&b);
		for (size_t s = 0; s < 3; s++)
			read_reply(&b, before[s]);
		/* all of it but the last byte */
		dialogue_wrote(&b.d, b.d.out.len - 1);
		assert_false(dialogue_in_doubt(&b.d));
		read_reply(&b, rows[i].reply);
		assert_memory_equal(buf_str(&b.told), "a deferred 421 4.", 17);
		assert_null(strstr(buf_str(&b.told), "again?"));
		assert_int_equal(b.trust.careful, rows[i].careful);
		bench_close(&b);
	}
}

static void lost_before_any_answer_is_one_more_try(void **state)
{
	struct bench b;
	struct transaction *t;

	(void)state;
	for (int retried = 0; retried < 2; retried++) {
		bench_open(&b, CAP_PIPELINING);
		t = bench_transaction(&b, 0, 1);
		t->retried = retried;
		bench_begin(&b, t);
		write_all(&b);
		dialogue_lost(&b.d, "lost");
		take_actions(&b);
		assert_string_equal(buf_str(&b.told), retried ? "a deferred 421 4.4.2;done 0;close;" : "done 0;close;");
		bench_close(&b);
	}
}

static void a_refusal_of_mail_with_the_end_behind_it_is_one_more_try(void **state)
{
	struct bench b;
	struct transaction *t;

	(void)state;
	for (int retried = 0; retried < 2; retried++) {
		bench_open(&b, CAP_PIPELINING);
		t = bench_transaction(&b, 0, 1);
		t->retried = retried;
		bench_begin(&b, t);
		write_all(&b);
		read_reply(&b, "554 5.3.2 tired of waiting");
		dialogue_lost(&b.d, "lost");
		take_actions(&b);
		assert_string_equal(buf_str(&b.told), retried ? "a deferred 421 4.4.2;done 0;close;" : "done 0;close;");
		bench_close(&b);
	}
}

static void refusals_before_a_loss_prove_nothing(void **state)
{
	static const struct step steps[] = {
		{ NULL, "MAIL FROM:<s@x>\r\nRCPT TO:<a@x>\r\nRCPT TO:<b@x>\r\nDATA\r\n", "" },
		{ "250 2.1.0 ok", "", "" },
		{ "550 5.1.1 who", "", "" },
		{ "EOF", "", "a deferred 421 4.4.2;b deferred 421 4.4.2;done 0;close;" },
	};

	(void)state;
	DIALOGUE(CAP_PIPELINING, 2, steps);
}

static void refusals_before_silence_do_not(void **state)
{
	static const struct step steps[] = {
		{ NULL, "MAIL FROM:<s@x>\r\nRCPT TO:<a@x>\r\nRCPT TO:<b@x>\r\nDATA\r\n", "" },
		{ "250 2.1.0 ok", "", "" },
		{ "550 5.1.1 who", "", "" },
		{ "EXPIRED", "", "a deferred 421 4.4.2;b deferred 421 4.4.2;done 0;close;" },
	};

	(void)state;
	DIALOGUE(CAP_PIPELINING, 2, steps);
}

static void outcomes_given_before_a_loss_stay_and_the_rest_may_be_duplicates(void **state)
{
	(void)state;
	for (size_t n = 1; n <= MOST; n++) {
		for (size_t k = 0; k <= n; k++) {
			struct buf expect = { 0 };
			struct bench b;

			bench_open(&b, CAP_PIPELINING);
			bench_begin(&b, bench_transaction(&b, 0, n));
			write_all(&b);
			read_reply(&b, "250 2.1.0 ok");
			for (size_t i = 0; i < n; i++)
				read_reply(&b, "250 2.1.5 ok");
			read_reply(&b, "354 go on");
			write_all(&b);
			assert_true(dialogue_in_doubt(&b.d));
			for (size_t i = 0; i < k; i++) {
				read_reply(&b, i % 2 ? "452 4.2.2 full" : "250 2.0.0 yes");
				buf_addf(&expect, "%c %s;", (int)('a' + i), i % 2 ? "deferred 452 4.2.2" : "delivered 250 2.0.0");
			}
			if (k == n)
				buf_adds(&expect, "done 0;");
			dialogue_lost(&b.d, "lost");
			take_actions(&b);
			for (size_t i = k; i < n; i++)
				buf_addf(&expect, "%c deferred 421 4.4.2 again?;", (int)('a' + i));
			buf_adds(&expect, k == n ? "close;" : "done 0;close;");
			assert_string_equal(buf_str(&b.told), buf_str(&expect));
			assert_false(dialogue_in_doubt(&b.d));
			buf_free(&expect);
			bench_close(&b);
		}
	}
}

static void too_many_recipients_wait_for_the_next_transaction(void **state)
{
	static const struct step some[] = {
		{ NULL, "MAIL FROM:<s@x>\r\nRCPT TO:<a@x>\r\nRCPT TO:<b@x>\r\nRCPT TO:<c@x>\r\nDATA\r\n", "" },
		{ "250 2.1.0 ok", "", "" },
		{ "250 2.1.5 ok", "", "" },
		{ "452 4.5.3 too many", "", "" },
		{ "552 5.5.3 too many", "", "" },
		{ "354 go on", "x\r\n.\r\n", "" },
		{ "250 2.0.0 yes", "", "a delivered 250 2.0.0;done 0;" },
	};
	static const struct step all[] = {
		{ NULL, "MAIL FROM:<s@x>\r\nRCPT TO:<a@x>\r\nDATA\r\n", "" },
		{ "250 2.1.0 ok", "", "" },
		{ "452 4.5.3 too many", "", "" },
		{ "503 5.5.1 no", "RSET\r\n", "" },
		{ "250 2.0.0 ok", "", "a deferred 452 4.5.3;done 0;" },
	};
	struct bench b;

	(void)state;
	bench_open(&b, CAP_PIPELINING);
	bench_begin(&b, bench_transaction(&b, 0, 3));
	PLAY(&b, some);
	assert_false(b.to[0][0].later);
	assert_true(b.to[0][1].later);
	assert_true(b.to[0][2].later);
	bench_close(&b);
	/* with nobody accepted it cannot be their number */
	DIALOGUE(CAP_PIPELINING, 1, all);
}

static void limits_of_the_server_are_kept(void **state)
{
	static const char *const replies[] = { "250 2.1.0 ok", "250 2.1.5 ok", "354 go on", "250 2.0.0 yes" };
	struct bench b;

	(void)state;
	bench_open(&b, CAP_PIPELINING);
	b.caps.rcpt_max = 1;
	b.caps.mail_max = 1;
	bench_begin(&b, bench_transaction(&b, 0, 3));
	write_all(&b);
	assert_string_equal(buf_str(&b.said), "MAIL FROM:<s@x>\r\nRCPT TO:<a@x>\r\nDATA\r\n");
	for (size_t i = 0; i < 4; i++) {
		read_reply(&b, replies[i]);
		write_all(&b);
	}
	assert_string_equal(buf_str(&b.told), "a delivered 250 2.0.0;done 0;");
	assert_true(b.to[0][1].later && b.to[0][2].later);
	assert_false(dialogue_wants(&b.d));
	assert_true(dialogue_idle(&b.d));
	bench_close(&b);
}

static void what_cannot_be_sent_is_refused_before_the_first_command(void **state)
{
	struct bench b;
	struct transaction *t;

	(void)state;
	bench_open(&b, CAP_PIPELINING | CAP_SIZE);
	b.caps.size_max = 1000;
	t = bench_transaction(&b, 0, 3);
	b.to[0][0].to.address = "a\r\nDATA@x";
	b.to[0][1].to.address = "\xc3\xa9@x";
	t->envelope.size = 1000;
	bench_begin(&b, t);
	write_all(&b);
	assert_string_equal(buf_str(&b.told), "a failed 553 5.1.3;\xc3 failed 553 5.6.7;");
	assert_string_equal(buf_str(&b.said), "MAIL FROM:<s@x> SIZE=1000\r\nRCPT TO:<c@x>\r\nDATA\r\n");
	bench_close(&b);

	bench_open(&b, CAP_PIPELINING | CAP_SIZE);
	b.caps.size_max = 1000;
	t = bench_transaction(&b, 0, 2);
	t->envelope.size = 1001;
	bench_begin(&b, t);
	assert_string_equal(buf_str(&b.told), "a failed 552 5.3.4;b failed 552 5.3.4;done 0;");
	assert_int_equal(b.d.out.len, 0);
	assert_true(dialogue_idle(&b.d));
	bench_close(&b);

	bench_open(&b, CAP_PIPELINING);
	t = bench_transaction(&b, 0, 1);
	t->envelope.sender = "a> SIZE=1 <b";
	bench_begin(&b, t);
	assert_string_equal(buf_str(&b.told), "a failed 553 5.1.7;done 0;");
	bench_close(&b);
}

static void unreadable_content_gets_no_end(void **state)
{
	static const char *const before[] = { "250 2.1.0 ok", "250 2.1.5 ok" };
	struct bench b;
	struct action a;

	(void)state;
	bench_open(&b, CAP_PIPELINING);
	bench_begin(&b, bench_transaction(&b, 0, 1));
	write_all(&b);
	for (size_t i = 0; i < 2; i++)
		read_reply(&b, before[i]);
	buf_clear(&b.said);
	{
		size_t used;

		assert_int_equal(reply_parse(&b.parser, "354 go on\r\n", 11, &used), REPLY_READY);
		dialogue_reply(&b.d, &b.parser.reply);
	}
	assert_true(dialogue_action(&b.d, &a));
	assert_int_equal(a.kind, ACTION_CONTENT);
	buf_adds(&b.d.out, "half of");
	dialogue_content_failed(&b.d, "message file has become shorter");
	take_actions(&b);
	assert_string_equal(buf_str(&b.told), "a deferred 421 4.3.0;done 0;close;");
	assert_null(strstr(buf_str(&b.d.out), "."));
	bench_close(&b);
}

static void every_wait_has_its_end(void **state)
{
	static const struct { const char *reply; int64_t patience; } rows[] = {
		{ NULL, 1000 }, { "250 2.1.0 ok", 1000 }, { "250 2.1.5 ok", 2000 }, { "354 go on", 3000 },
	};
	struct bench b;

	(void)state;
	bench_open(&b, CAP_PIPELINING);
	assert_true(dialogue_deadline(&b.d) == CLOCK_NEVER);
	bench_begin(&b, bench_transaction(&b, 0, 1));
	/* unwritten: the time without progress in writing counts */
	assert_true(dialogue_deadline(&b.d) == b.d.now + 4000);
	write_all(&b);
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		b.d.now += 500;
		if (rows[i].reply != NULL)
			read_reply(&b, rows[i].reply);
		write_all(&b);
		if (i > 0)
			assert_true(dialogue_deadline(&b.d) == b.d.now + rows[i].patience);
	}
	b.d.now = 100000;
	assert_true(dialogue_deadline(&b.d) < b.d.now);
	dialogue_expired(&b.d);
	take_actions(&b);
	assert_string_equal(buf_str(&b.told), "a deferred 421 4.4.2 again?;done 0;close;");
	bench_close(&b);
}

static void content_that_is_not_written_yet_does_not_end_the_wait_for_those_before_it(void **state)
{
	struct bench b;
	struct action a;

	(void)state;
	bench_open(&b, CAP_PIPELINING | CAP_CHUNKING);
	prove(&b, "2.1.0", "2.1.5", "2.0.0");
	bench_begin(&b, bench_transaction(&b, 0, 1));
	dialogue_begin(&b.d, bench_transaction(&b, 1, 1));
	assert_true(dialogue_action(&b.d, &a));
	assert_int_equal(a.kind, ACTION_CONTENT);
	write_all(&b);
	assert_true(dialogue_in_doubt(&b.d));
	assert_true(dialogue_deadline(&b.d) == b.d.now + 1000);
	bench_close(&b);
}

static void a_dripping_server_meets_the_ceiling(void **state)
{
	struct bench b;

	(void)state;
	bench_open(&b, CAP_PIPELINING);
	bench_begin(&b, bench_transaction(&b, 0, MOST));
	write_all(&b);
	b.d.now = 99900;
	read_reply(&b, "250 2.1.0 ok");
	assert_true(dialogue_deadline(&b.d) == 100001);
	bench_close(&b);
}

static void one_recipients_421_leaves_the_others_alone(void **state)
{
	static const struct step steps[] = {
		{ NULL, "MAIL FROM:<s@x>\r\nRCPT TO:<a@x>\r\nRCPT TO:<b@x>\r\nDATA\r\n", "" },
		{ "250 2.1.0 ok", "", "" },
		{ "250 2.1.5 ok", "", "" },
		{ "250 2.1.5 ok", "", "" },
		{ "354 go on", "x\r\n.\r\n", "" },
		{ "421 4.3.0 as DSPAM does", "", "a deferred 421 4.3.0;" },
		{ "250 2.0.0 yes", "", "b delivered 250 2.0.0;done 0;" },
	};

	(void)state;
	DIALOGUE(CAP_PIPELINING, 2, steps);
}

static void a_reused_connection_that_says_421_to_mail_is_one_more_try(void **state)
{
	static const char *const replies[] = { "250 2.1.0 ok", "250 2.1.5 ok", "354 go on", "250 2.0.0 yes" };
	struct bench b;

	(void)state;
	bench_open(&b, CAP_PIPELINING);
	bench_begin(&b, bench_transaction(&b, 0, 1));
	write_all(&b);
	for (size_t i = 0; i < 4; i++) {
		read_reply(&b, replies[i]);
		write_all(&b);
	}
	buf_clear(&b.told);
	bench_begin(&b, bench_transaction(&b, 1, 1));
	write_all(&b);
	read_reply(&b, "421 4.3.2 idle for too long");
	assert_string_equal(buf_str(&b.told), "done 1;close;");
	bench_close(&b);
}

/* A delivery, and behind it a used-up connection that refuses the next MAIL, up to the third message. */
static const struct step used_up_behind_a_delivery[] = {
	{ NULL, "MAIL FROM:<s@x>\r\nRCPT TO:<a@x>\r\nBDAT 3 LAST\r\nx\r\n"
	        "MAIL FROM:<s@x>\r\nRCPT TO:<d@x>\r\nBDAT 3 LAST\r\nx\r\n"
	        "MAIL FROM:<s@x>\r\nRCPT TO:<g@x>\r\nRCPT TO:<h@x>\r\n", "" },
	{ "250 2.1.0 ok", "", "" },
	{ "250 2.1.5 ok", "", "" },
	{ "250 2.0.0 yes", "", "a delivered 250 2.0.0;done 0;" },
	{ "450 4.3.2 no more", "", "" },
	{ "503 5.5.1 no MAIL", "", "" },
	{ "503 5.5.1 no RCPT", "", "" },
};

/* Plays that; returns the third transaction, which begins with these numbers.  bench_close() is due. */
static struct transaction *third_behind_used_up(struct bench *b, bool retried, unsigned offered)
{
	struct transaction *t;

	bench_open(b, CAP_PIPELINING | CAP_CHUNKING);
	prove(b, "2.1.0", "2.1.5", "2.0.0");
	bench_begin(b, bench_transaction(b, 0, 1));
	bench_begin(b, bench_transaction(b, 1, 1));
	t = bench_transaction(b, 2, 2);
	t->retried = retried;
	t->offered = offered;
	bench_begin(b, t);
	PLAY(b, used_up_behind_a_delivery);
	return t;
}

/*
 * Behind a MAIL that a used-up connection refused, an envelope is answered and its content not sent any more.  That is one
 * of the offers that such a connection may turn down; without one left, the one more try; without that, it is deferred.
 */
static void an_envelope_that_was_answered_behind_a_used_up_connection_has_no_try_for_nothing(void **state)
{
	static const struct {
		bool retried;
		unsigned offered;
		bool used_up;
		const char *tells;
	} rows[] = {
		{ false, 0, true, "done 2;close;" },
		{ true, MAIL_OFFERS - 1, true, "done 2;close;" },
		{ false, MAIL_OFFERS, false, "done 2;close;" },
		{ true, MAIL_OFFERS, false, "g deferred 421 4.5.0;h deferred 421 4.5.0;done 2;close;" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		const struct step steps[] = {
			{ "250 2.1.0 ok", "", "done 1;" },
			{ "250 2.1.5 ok", "", "" },
			{ "250 2.1.5 ok", "", rows[i].tells },
		};
		struct bench b;
		const struct transaction *t = third_behind_used_up(&b, rows[i].retried, rows[i].offered);

		PLAY(&b, steps);
		assert_int_equal(t->used_up, rows[i].used_up);
		bench_close(&b);
	}
}

/* Nor is a refusal of its MAIL forgotten, which would be lost memory, too. */
static void a_mail_that_was_refused_behind_a_used_up_connection_is_deferred_at_last(void **state)
{
	static const struct step steps[] = {
		{ "450 4.3.2 no more", "", "" },
		{ "503 5.5.1 no MAIL", "", "" },
		{ "503 5.5.1 no MAIL", "", "done 1;g deferred 450 4.3.2;h deferred 450 4.3.2;done 2;close;" },
	};
	struct bench b;

	(void)state;
	third_behind_used_up(&b, true, MAIL_OFFERS);
	PLAY(&b, steps);
	bench_close(&b);
}

/*
 * Part two: runs of four messages to the server of lmtp_model.h.
 *
 * What a machine cannot know is left out by model_may_be_fooled() and nowhere else.
 */

enum mode {
	LOCK_STEP, LOCK_STEP_CHUNKING, PIPELINED, CHUNKING, CHUNKING_LARGE,
	/* in the same order */
	SMTP_LOCK_STEP, SMTP_LOCK_STEP_CHUNKING, SMTP_PIPELINED, SMTP_CHUNKING, SMTP_CHUNKING_LARGE, MODES,
};

static const char *const mode_names[MODES] = {
	"lock-step", "lock-step with CHUNKING", "PIPELINING", "CHUNKING", "CHUNKING, large messages",
	"SMTP in lock-step", "SMTP in lock-step with CHUNKING", "SMTP with PIPELINING", "SMTP with CHUNKING",
	"SMTP with CHUNKING, large messages",
};

static bool is_large(enum mode mode)
{
	return mode == CHUNKING_LARGE || mode == SMTP_CHUNKING_LARGE;
}

static unsigned pick_state;

static int pick(const int *from, unsigned count)
{
	pick_state = pick_state * 1103515245u + 12345u;
	return from[(pick_state >> 16) % count];
}

/* A run of messages whose fates follow from `seed`; every third run has single recipients only. */
static void make_script(unsigned seed, struct model_message messages[MODEL_MESSAGES])
{
	static const int mail[] = { 250, 250, 250, 250, 450, 550 }, rcpt[] = { 250, 250, 250, 450, 550, 551 };
	static const int data[] = { 354, 354, 354, 354, 451, 554 }, final[] = { 250, 250, 250, 451, 552, 550 };
	static const int counts[] = { 1, 2, 3 };
	bool single = seed % 3 == 2, friendly = seed % 3 == 0;

	pick_state = seed * 7919 + 1;
	for (size_t i = 0; i < MODEL_MESSAGES; i++) {
		messages[i].count = single ? 1 : (size_t)pick(counts, 3);
		messages[i].mail = friendly || (single && i == 0) ? 250 : pick(mail, 6);
		messages[i].data = friendly || (single && i == 0) ? 354 : pick(data, 6);
		for (size_t r = 0; r < MODEL_RECIPIENTS; r++) {
			messages[i].rcpt[r] = single && i == 0 ? 250 : pick(rcpt, 6);
			messages[i].final[r] = single && i == 0 ? 250 : pick(final, 6);
		}
	}
}

static struct model new_run(enum mode mode, struct model_message *messages, const struct model_dialect *dialect)
{
	for (size_t i = 0; i < MODEL_MESSAGES; i++)
		messages[i].size = is_large(mode) ? 64001 : 200;
	return (struct model){
		.messages = messages,
		.count = MODEL_MESSAGES,
		.dialect = dialect,
		.smtp = mode >= SMTP_LOCK_STEP,
		.pipelining = mode % SMTP_LOCK_STEP >= PIPELINED,
		.chunking = mode % SMTP_LOCK_STEP == LOCK_STEP_CHUNKING || mode % SMTP_LOCK_STEP >= CHUNKING,
	};
}

static void run_must_hold(struct model *m, enum mode mode, unsigned seed)
{
	model_run(m);
	if (m->broken == NULL || model_may_be_fooled(m))
		return;
	fail_msg("%s, codes %s, script %u, %s: surplus %d/%u %d, missing %u, lost %u, deaf %u, cut %zu: message %zu "
	         "recipient %zu: %s", mode_names[mode], m->dialect->name, seed, m->one_by_one ? "one by one" : "all at once",
	         m->surplus, m->surplus_at, m->surplus_code, m->missing_at, m->lost_at, m->deaf_at, m->lost_after,
	         m->broken_message, m->broken_recipient, m->broken);
}

static size_t first_accepted(const struct model_message *message)
{
	size_t i = 0;

	while (i + 1 < message->count && message->rcpt[i] >= 300)
		i++;
	return i;
}

static enum outcome fate_of(int code)
{
	return code < 400 ? OUTCOME_DELIVERED : code < 500 ? OUTCOME_DEFERRED : OUTCOME_FAILED;
}

/* What must become of a recipient when nothing is disturbed: the first refusal on its way decides. */
static enum outcome expected(const struct model *m, size_t number, size_t r)
{
	const struct model_message *message = &m->messages[number];
	const size_t first = m->smtp ? first_accepted(message) : r;
	const int data = m->sent_by_bdat[number] ? 250 : message->data;
	const int codes[] = { message->mail, message->rcpt[r], data, message->final[first] };

	for (size_t i = 0; i < 4; i++)
		if (codes[i] >= 400)
			return fate_of(codes[i]);
	return OUTCOME_DELIVERED;
}

static unsigned refused_senders(const struct model_message *messages)
{
	unsigned n = 0;

	for (size_t i = 0; i < MODEL_MESSAGES; i++)
		n += messages[i].mail >= 400;
	return n;
}

static void undisturbed_each_recipient_ends_by_its_own_reply(void **state)
{
	(void)state;
	for (unsigned seed = 0; seed < 300; seed++) {
		for (enum mode mode = 0; mode < MODES; mode++) {
			struct model_message messages[MODEL_MESSAGES];
			struct model m;

			make_script(seed, messages);
			m = new_run(mode, messages, &model_dialects[seed % MODEL_DIALECTS]);
			m.one_by_one = seed % 2;
			m.read_size = seed % 7;
			run_must_hold(&m, mode, seed);
			/* who refuses MAIL on a connection that has carried mail is asked on two more */
			assert_true(m.connections <= 1 + MAIL_OFFERS * refused_senders(messages));
			assert_int_equal(m.expiries, 0);
			assert_false(m.trust.careful);
			for (size_t i = 0; i < MODEL_MESSAGES; i++)
				for (size_t r = 0; r < messages[i].count; r++)
					assert_int_equal(m.to[i][r].outcome, expected(&m, i, r));
		}
	}
}

/* Every combination for up to two recipients (three with ZLMTP_SOAK), one message. */
static void every_mix_of_replies_is_told_apart(void **state)
{
	static const int mail[] = { 250, 451, 553 }, rcpt[] = { 250, 450, 550 }, data[] = { 354, 452, 554 };
	static const int final[] = { 250, 452, 552 };
	size_t most = getenv("ZLMTP_SOAK") ? 3 : 2;

	(void)state;
	for (size_t count = 1; count <= most; count++) {
		unsigned mixes = 9;

		for (size_t r = 0; r < count; r++)
			mixes *= 9;
		for (unsigned mix = 0; mix < mixes * 8; mix++) {
			enum mode mode = mix % 4 + (mix % 8 < 4 ? LOCK_STEP : SMTP_LOCK_STEP);
			struct model_message messages[MODEL_MESSAGES];
			unsigned n = mix / 8;
			struct model m = new_run(mode, messages, &model_dialects[0]);

			m.count = 1;
			messages[0] = (struct model_message){ .count = count, .size = 100, .mail = mail[n % 3], .data = data[n / 3 % 3] };
			n /= 9;
			for (size_t r = 0; r < count; r++, n /= 9) {
				messages[0].rcpt[r] = rcpt[n % 3];
				messages[0].final[r] = final[n / 3 % 3];
			}
			run_must_hold(&m, mode, mix);
			for (size_t r = 0; r < count; r++)
				assert_int_equal(m.to[0][r].outcome, expected(&m, 0, r));
		}
	}
}

enum disturbance { SURPLUS_REPLIES, MISSING_FINALS, LOST_BEHIND_REPLIES, REPLIES_LOST, CUT_BEHIND_BYTES };

static void disturb_by_surplus(struct model *fresh, struct model_message *messages, enum mode mode, unsigned seed,
                               unsigned at)
{
	static const int codes[] = { 250, 421, 450, 550, 354 };

	(void)messages;
	for (unsigned way = 0; way < 2 * 5; way++) {
		struct model m = *fresh;

		m.surplus = way % 2 ? SURPLUS_LATE : SURPLUS_PROMPT;
		m.surplus_at = at;
		m.surplus_code = codes[way / 2];
		m.surplus_status = model_status(m.dialect->final, m.surplus_code);
		run_must_hold(&m, mode, seed);
	}
}

static void sweep_run(enum disturbance what, enum mode mode, unsigned seed, const struct model_dialect *dialect,
                      bool one_by_one)
{
	struct model_message messages[MODEL_MESSAGES];
	struct model fresh, m;
	unsigned replies, bytes;

	make_script(seed, messages);
	fresh = new_run(mode, messages, dialect);
	fresh.one_by_one = one_by_one;
	m = fresh;
	run_must_hold(&m, mode, seed);
	replies = m.reply_count;
	bytes = (unsigned)m.received;
	for (unsigned at = 1; at <= (what == CUT_BEHIND_BYTES ? bytes : replies + 1); at++) {
		m = fresh;
		switch (what) {
		case SURPLUS_REPLIES:
			disturb_by_surplus(&fresh, messages, mode, seed, at);
			continue;
		case MISSING_FINALS: m.missing_at = at; break;
		case LOST_BEHIND_REPLIES: m.lost_at = at; break;
		case REPLIES_LOST: m.deaf_at = at; break;
		case CUT_BEHIND_BYTES: m.lost_after = at; break;
		}
		run_must_hold(&m, mode, seed);
	}
}

/* Large messages differ from small ones in few places and cost much time. */
static void sweep(enum disturbance what, unsigned scripts)
{
	if (getenv("ZLMTP_SOAK"))
		scripts *= 20;
	else if (!getenv("ZLMTP_LONG"))
		scripts = (scripts + 1) / 2;
	for (enum mode mode = 0; mode < MODES; mode++)
		for (unsigned seed = 0; seed < (is_large(mode) ? (scripts + 2) / 3 : scripts); seed++)
			for (size_t dialect = 0; dialect < MODEL_DIALECTS; dialect++) {
				if (is_large(mode) && what == CUT_BEHIND_BYTES)
					continue;
				sweep_run(what, mode, seed, &model_dialects[dialect], seed % 2);
				if (what == SURPLUS_REPLIES || what == MISSING_FINALS)
					sweep_run(what, mode, seed, &model_dialects[dialect], !(seed % 2));
			}
}

static void no_outcome_is_wrong_after_a_surplus_reply(void **state)
{
	(void)state;
	sweep(SURPLUS_REPLIES, 6);
}

static void no_outcome_is_wrong_after_a_missing_final_reply(void **state)
{
	(void)state;
	sweep(MISSING_FINALS, 12);
}

static void no_outcome_is_wrong_after_a_loss_behind_any_reply(void **state)
{
	(void)state;
	sweep(LOST_BEHIND_REPLIES, 12);
}

static void no_outcome_is_wrong_when_replies_are_lost(void **state)
{
	(void)state;
	sweep(REPLIES_LOST, 12);
}

static void no_outcome_is_wrong_after_a_loss_behind_any_byte(void **state)
{
	(void)state;
	sweep(CUT_BEHIND_BYTES, 3);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(lock_step_waits_for_each_reply),
		cmocka_unit_test(an_envelope_is_pipelined),
		cmocka_unit_test(a_probe_has_reset_in_the_place_of_data),
		cmocka_unit_test(a_probe_whose_sender_is_refused_learns_nothing),
		cmocka_unit_test(a_reply_too_many_or_too_few_is_no_answer_to_a_probe),
		cmocka_unit_test(one_reply_too_many_or_too_few_makes_no_wrong_answer),
		cmocka_unit_test(what_a_probe_heard_before_a_loss_is_no_answer),
		cmocka_unit_test(in_smtp_one_final_reply_is_for_all_accepted_recipients),
		cmocka_unit_test(in_smtp_a_loss_behind_the_message_leaves_all_accepted_recipients_in_doubt),
		cmocka_unit_test(in_smtp_a_refusal_behind_bdat_for_several_waits_for_its_proof),
		cmocka_unit_test(too_many_recipients_are_asked_for_later),
		cmocka_unit_test(the_first_bdat_waits_for_the_envelope),
		cmocka_unit_test(a_known_peer_gets_a_single_recipients_bdat_blind),
		cmocka_unit_test(a_large_bdat_is_not_sent_before_it_is_wanted),
		cmocka_unit_test(the_next_envelope_follows_the_dot_of_a_known_peer),
		cmocka_unit_test(nothing_follows_the_dot_of_a_peer_that_is_not_known_or_words_all_replies_alike),
		cmocka_unit_test(a_peer_is_known_by_one_unhurried_message),
		cmocka_unit_test(refusals_count_when_reset_is_answered),
		cmocka_unit_test(in_lock_step_refused_data_proves_a_refusal_too),
		cmocka_unit_test(no_chunk_is_sent_for_nobody),
		cmocka_unit_test(a_server_without_reset_is_believed_and_left),
		cmocka_unit_test(a_refusal_that_was_a_surplus_reply_fails_nobody),
		cmocka_unit_test(a_final_reply_too_many_leaves_in_doubt_whom_it_may_concern),
		cmocka_unit_test(a_final_reply_too_many_in_the_place_of_the_next_mails_does_so_too),
		cmocka_unit_test(a_missing_final_reply_is_not_replaced_by_the_next_mails),
		cmocka_unit_test(a_final_refusal_counts_when_the_next_mail_is_answered),
		cmocka_unit_test(bdat_behind_a_refused_recipient_gets_one_reply),
		cmocka_unit_test(data_accepted_for_nobody_ends_the_connection),
		cmocka_unit_test(content_accepted_for_nobody_is_not_believed),
		cmocka_unit_test(a_final_reply_too_many_is_known_by_its_words),
		cmocka_unit_test(where_354_is_the_proof_words_do_not_matter),
		cmocka_unit_test(what_was_sent_ahead_teaches_nothing),
		cmocka_unit_test(impossible_replies_settle_nobody),
		cmocka_unit_test(a_reply_that_nobody_asked_for_ends_the_dialogue),
		cmocka_unit_test(unasked_421_is_a_farewell),
		cmocka_unit_test(early_reply_to_the_content_defers),
		cmocka_unit_test(lost_before_any_answer_is_one_more_try),
		cmocka_unit_test(a_refusal_of_mail_with_the_end_behind_it_is_one_more_try),
		cmocka_unit_test(refusals_before_a_loss_prove_nothing),
		cmocka_unit_test(refusals_before_silence_do_not),
		cmocka_unit_test(outcomes_given_before_a_loss_stay_and_the_rest_may_be_duplicates),
		cmocka_unit_test(too_many_recipients_wait_for_the_next_transaction),
		cmocka_unit_test(limits_of_the_server_are_kept),
		cmocka_unit_test(what_cannot_be_sent_is_refused_before_the_first_command),
		cmocka_unit_test(unreadable_content_gets_no_end),
		cmocka_unit_test(every_wait_has_its_end),
		cmocka_unit_test(content_that_is_not_written_yet_does_not_end_the_wait_for_those_before_it),
		cmocka_unit_test(a_dripping_server_meets_the_ceiling),
		cmocka_unit_test(one_recipients_421_leaves_the_others_alone),
		cmocka_unit_test(a_reused_connection_that_says_421_to_mail_is_one_more_try),
		cmocka_unit_test(an_envelope_that_was_answered_behind_a_used_up_connection_has_no_try_for_nothing),
		cmocka_unit_test(a_mail_that_was_refused_behind_a_used_up_connection_is_deferred_at_last),
		cmocka_unit_test(undisturbed_each_recipient_ends_by_its_own_reply),
		cmocka_unit_test(every_mix_of_replies_is_told_apart),
		cmocka_unit_test(no_outcome_is_wrong_after_a_surplus_reply),
		cmocka_unit_test(no_outcome_is_wrong_after_a_missing_final_reply),
		cmocka_unit_test(no_outcome_is_wrong_after_a_loss_behind_any_reply),
		cmocka_unit_test(no_outcome_is_wrong_when_replies_are_lost),
		cmocka_unit_test(no_outcome_is_wrong_after_a_loss_behind_any_byte),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
