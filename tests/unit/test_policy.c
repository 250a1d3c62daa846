#include "tests/unit/unit.h"

#include "channel/protocol/policy.h"

static struct reply reply_of(int code, const char *status)
{
	struct reply r = { .code = code };

	strcpy(r.status, status);
	return r;
}

/* One line per stage: the outcome of 2xx, 354, 4xx, 5xx; - settles nothing, ! does not fit. */
static void each_stage_has_its_meaning(void **state)
{
	static const struct { enum stage stage; const char *outcomes; } rows[] = {
		{ STAGE_LOCAL, "!!dd" }, { STAGE_CONNECT, "!!dd" }, { STAGE_GREETING, "-!dd" }, { STAGE_LHLO, "-!dd" }, { STAGE_EHLO, "-!dd" },
		{ STAGE_HELO, "-!dd" },
		{ STAGE_STARTTLS, "-!dd" }, { STAGE_MAIL, "-!df" }, { STAGE_RCPT, "-!df" }, { STAGE_DATA, "!-df" },
		{ STAGE_CONTENT, "!!dd" }, { STAGE_FINAL, "D!df" },
	};
	static const int codes[] = { 250, 354, 451, 550 };

	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		for (size_t c = 0; c < 4; c++) {
			struct reply r = reply_of(codes[c], "");
			enum outcome o = policy_outcome(rows[i].stage, &r, NULL);
			char said = !policy_fits(rows[i].stage, codes[c]) ? '!' : "-Ddf"[o];

			if (said != rows[i].outcomes[c])
				fail_msg("%s %d: %c, expected %c", stage_name(rows[i].stage), codes[c], said, rows[i].outcomes[c]);
		}
	}
}

static void only_a_positive_final_reply_delivers(void **state)
{
	(void)state;
	for (enum stage stage = STAGE_LOCAL; stage <= STAGE_FINAL; stage++) {
		for (int code = 200; code < 600; code++) {
			struct reply r = reply_of(code, "");
			bool delivered = policy_outcome(stage, &r, NULL) == OUTCOME_DELIVERED;

			assert_int_equal(delivered, stage == STAGE_FINAL && code < 300);
			/* whatever fits and is negative settles somebody */
			if (code >= 400)
				assert_true(policy_outcome(stage, &r, NULL) != OUTCOME_NONE);
		}
	}
}

static void every_refusal_before_mail_defers(void **state)
{
	(void)state;
	for (enum stage stage = STAGE_LOCAL; stage < STAGE_MAIL; stage++)
		for (int code = 400; code < 600; code++) {
			struct reply r = reply_of(code, "");

			assert_int_equal(policy_outcome(stage, &r, NULL), OUTCOME_DEFERRED);
		}
}

static void codes_that_blame_us_defer(void **state)
{
	static const int ours[] = { 503, 530, 534, 538 };

	(void)state;
	for (enum stage stage = STAGE_MAIL; stage <= STAGE_FINAL; stage++)
		for (size_t i = 0; i < 4; i++) {
			struct reply r = reply_of(ours[i], "5.5.1");

			assert_int_equal(policy_outcome(stage, &r, NULL), OUTCOME_DEFERRED);
		}
}

static void codes_out_of_place_do_not_fit(void **state)
{
	static const int others[] = { 300, 334, 353, 355, 399 };

	(void)state;
	for (enum stage stage = STAGE_LOCAL; stage <= STAGE_FINAL; stage++)
		for (size_t i = 0; i < sizeof others / sizeof others[0]; i++)
			if (stage != STAGE_AUTH)
				assert_false(policy_fits(stage, others[i]));
	assert_false(policy_fits(STAGE_DATA, 250));
	assert_false(policy_fits(STAGE_FINAL, 354));
	assert_true(policy_fits(STAGE_RCPT, 251));
}

static void the_postmasters_rules_come_first(void **state)
{
	static const struct reply_rule list[] = {
		{ 552, "5.2.2", OUTCOME_DEFERRED },
		{ 552, "", OUTCOME_FAILED },
		{ 452, "", OUTCOME_FAILED },
		{ 452, "4.2.2", OUTCOME_DEFERRED },
		{ 250, "", OUTCOME_FAILED },
	};
	static const struct reply_rules rules = { list, 5 };
	static const struct { int code; const char *status; enum outcome outcome; } rows[] = {
		{ 552, "5.2.2", OUTCOME_DEFERRED },
		{ 552, "5.3.4", OUTCOME_FAILED },
		{ 552, "", OUTCOME_FAILED },
		{ 452, "4.2.2", OUTCOME_FAILED },    /* the first match */
		{ 550, "5.2.2", OUTCOME_FAILED },
		{ 451, "", OUTCOME_DEFERRED },
		{ 250, "", OUTCOME_DELIVERED },      /* no rule makes a refusal of a promise */
	};

	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		struct reply r = reply_of(rows[i].code, rows[i].status);

		assert_int_equal(policy_outcome(STAGE_FINAL, &r, &rules), rows[i].outcome);
	}
}

static void the_servers_own_status_is_kept(void **state)
{
	struct reply r = reply_of(552, "5.2.2");

	(void)state;
	assert_string_equal(policy_status(STAGE_RCPT, &r, OUTCOME_FAILED), "5.2.2");
	assert_string_equal(policy_status(STAGE_RCPT, &r, OUTCOME_DEFERRED), "5.2.2");
}

static void a_missing_status_is_made_from_the_code(void **state)
{
	static const struct { int code; const char *status; } rows[] = {
		{ 500, "5.5.1" }, { 501, "5.5.2" }, { 502, "5.5.1" }, { 503, "5.5.1" }, { 504, "5.5.4" }, { 550, "5.1.1" },
		{ 551, "5.1.6" }, { 552, "5.2.3" }, { 553, "5.1.3" }, { 554, "5.0.0" }, { 555, "5.5.4" }, { 571, "5.7.1" },
		{ 599, "5.0.0" }, { 421, "4.0.0" }, { 450, "4.0.0" }, { 499, "4.0.0" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		struct reply r = reply_of(rows[i].code, "");

		assert_string_equal(policy_status(STAGE_RCPT, &r, OUTCOME_FAILED), rows[i].status);
	}
	for (int code = 200; code < 300; code++) {
		struct reply r = reply_of(code, "");

		assert_string_equal(policy_status(STAGE_RCPT, &r, OUTCOME_DELIVERED), "2.0.0");
	}
}

/* "550 message rejected as spam" behind the dot is not "no such mailbox". */
static void a_status_speaks_of_an_address_in_replies_to_rcpt_alone(void **state)
{
	static const enum stage stages[] = { STAGE_MAIL, STAGE_DATA, STAGE_FINAL };
	static const int codes[] = { 550, 551, 553 };

	(void)state;
	for (size_t i = 0; i < sizeof stages / sizeof stages[0]; i++) {
		for (size_t k = 0; k < sizeof codes / sizeof codes[0]; k++) {
			struct reply r = reply_of(codes[k], "");

			assert_string_equal(policy_status(stages[i], &r, OUTCOME_FAILED), "5.0.0");
			r = reply_of(codes[k], "5.1.1");
			assert_string_equal(policy_status(stages[i], &r, OUTCOME_FAILED), "5.1.1");
		}
	}
}

static void too_many_recipients_has_two_codes(void **state)
{
	static const struct { int code; const char *status; bool is; } rows[] = {
		{ 452, "4.5.3", true }, { 552, "5.5.3", true }, { 452, "", true }, { 552, "", true },
		{ 452, "4.2.2", false }, { 552, "5.2.2", false }, { 451, "4.5.3", false }, { 550, "", false },
	};

	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		struct reply r = reply_of(rows[i].code, rows[i].status);

		assert_int_equal(policy_too_many(&r), rows[i].is);
	}
}

static void stages_have_names_of_their_own(void **state)
{
	(void)state;
	for (enum stage a = STAGE_LOCAL; a <= STAGE_FINAL; a++)
		for (enum stage b = STAGE_LOCAL; b <= STAGE_FINAL; b++)
			assert_int_equal(strcmp(stage_name(a), stage_name(b)) == 0, a == b);
}

/* What a probe may call a no must be said of the recipient. */
static void a_no_is_about_the_recipient(void **state)
{
	static const struct { enum stage stage; int code; const char *status; enum answer answer; } rows[] = {
		{ STAGE_RCPT, 550, "5.1.1", ANSWER_NO }, { STAGE_RCPT, 550, "5.1.2", ANSWER_NO },
		{ STAGE_RCPT, 501, "5.1.3", ANSWER_NO }, { STAGE_RCPT, 550, "5.1.4", ANSWER_NO },
		{ STAGE_RCPT, 551, "5.1.6", ANSWER_NO }, { STAGE_RCPT, 556, "5.1.10", ANSWER_NO },
		{ STAGE_RCPT, 550, "5.2.1", ANSWER_NO }, { STAGE_RCPT, 550, "5.0.0", ANSWER_NO },
		{ STAGE_RCPT, 553, "5.0.0", ANSWER_NO }, { STAGE_LOCAL, 553, "5.1.3", ANSWER_NO },
		{ STAGE_RCPT, 554, "5.0.0", ANSWER_UNCLEAR }, { STAGE_RCPT, 550, "5.1.0", ANSWER_UNCLEAR },
		{ STAGE_RCPT, 550, "5.1.7", ANSWER_UNCLEAR }, { STAGE_RCPT, 550, "5.1.8", ANSWER_UNCLEAR },
		{ STAGE_RCPT, 552, "5.2.2", ANSWER_UNCLEAR }, { STAGE_RCPT, 550, "5.7.1", ANSWER_UNCLEAR },
		{ STAGE_RCPT, 550, "5.1.11", ANSWER_UNCLEAR }, { STAGE_MAIL, 550, "5.1.1", ANSWER_UNCLEAR },
		{ STAGE_DATA, 550, "5.1.1", ANSWER_UNCLEAR }, { STAGE_LOCAL, 553, "5.6.7", ANSWER_UNCLEAR },
	};

	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		struct result r = { .outcome = OUTCOME_FAILED, .stage = rows[i].stage, .code = rows[i].code,
		                    .status = rows[i].status };

		assert_int_equal(policy_answer(&r), rows[i].answer);
		r.outcome = OUTCOME_DEFERRED;
		assert_int_equal(policy_answer(&r), ANSWER_UNCLEAR);
		r.outcome = OUTCOME_ACCEPTED;
		assert_int_equal(policy_answer(&r), ANSWER_YES);
	}
}

/* A code without an enhanced one is given the generic one, which must not say more than the code does. */
static void bare_codes_answer_as_rfc_5321_has_them(void **state)
{
	(void)state;
	for (int code = 400; code < 600; code++) {
		struct reply reply = reply_of(code, "");
		enum outcome outcome = policy_outcome(STAGE_RCPT, &reply, NULL);
		struct result r = { .outcome = outcome, .stage = STAGE_RCPT, .code = code, .status = policy_status(STAGE_RCPT, &reply, outcome) };

		assert_int_equal(policy_answer(&r) == ANSWER_NO, code == 550 || code == 551 || code == 553);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(each_stage_has_its_meaning),
		cmocka_unit_test(only_a_positive_final_reply_delivers),
		cmocka_unit_test(every_refusal_before_mail_defers),
		cmocka_unit_test(codes_that_blame_us_defer),
		cmocka_unit_test(codes_out_of_place_do_not_fit),
		cmocka_unit_test(the_postmasters_rules_come_first),
		cmocka_unit_test(the_servers_own_status_is_kept),
		cmocka_unit_test(a_missing_status_is_made_from_the_code),
		cmocka_unit_test(a_status_speaks_of_an_address_in_replies_to_rcpt_alone),
		cmocka_unit_test(too_many_recipients_has_two_codes),
		cmocka_unit_test(stages_have_names_of_their_own),
		cmocka_unit_test(a_no_is_about_the_recipient),
		cmocka_unit_test(bare_codes_answer_as_rfc_5321_has_them),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
