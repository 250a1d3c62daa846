#include "tests/unit/unit.h"

/* Programs' own files are in no archive. */
#include "channel/probe/question.c"
#include "channel/probesettings.c"

/* A question whose places answer as the letters say: y, n, u. */
static struct question question_of(const char *letters)
{
	struct question q = { .address = "a@x" };
	char user[2] = "";

	for (const char *p = letters; *p != '\0'; p++) {
		user[0] = *p;
		place_say(question_add(&q, NULL, user), *p == 'y' ? ANSWER_YES : *p == 'n' ? ANSWER_NO : ANSWER_UNCLEAR,
		          "5.1.1", user);
	}
	return q;
}

static void one_yes_is_enough_and_a_no_needs_all(void **state)
{
	static const struct { const char *places; enum answer answer; } rows[] = {
		{ "y", ANSWER_YES }, { "n", ANSWER_NO }, { "u", ANSWER_UNCLEAR }, { "nn", ANSWER_NO }, { "ny", ANSWER_YES },
		{ "yn", ANSWER_YES }, { "uy", ANSWER_YES }, { "nu", ANSWER_UNCLEAR }, { "un", ANSWER_UNCLEAR },
		{ "nnnuny", ANSWER_YES }, { "nnunn", ANSWER_UNCLEAR },
	};

	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		struct question q = question_of(rows[i].places);

		assert_int_equal(question_decider(&q)->answer, rows[i].answer);
		question_free(&q);
	}
}

static void the_worst_answer_is_the_exit_status(void **state)
{
	static const struct { const char *answers; int status; } rows[] = {
		{ "y", 0 }, { "n", 1 }, { "u", 75 }, { "yy", 0 }, { "yn", 1 }, { "ny", 1 }, { "nu", 75 }, { "un", 75 }, { "yu", 75 },
	};

	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		struct question q[2];
		size_t count = strlen(rows[i].answers);

		for (size_t k = 0; k < count; k++) {
			char one[2] = { rows[i].answers[k], '\0' };

			q[k] = question_of(one);
		}
		assert_int_equal(questions_exit_status(q, count), rows[i].status);
		for (size_t k = 0; k < count; k++)
			question_free(&q[k]);
	}
}

static void what_is_settled_stays(void **state)
{
	struct question q = question_of("n");
	const struct result yes = { .outcome = OUTCOME_ACCEPTED, .stage = STAGE_RCPT, .status = "2.1.5", .words = "ok" };

	(void)state;
	place_settle(&q.places[0], &yes);
	place_say(&q.places[0], ANSWER_UNCLEAR, "4.0.0", "late");
	assert_int_equal(q.places[0].answer, ANSWER_NO);
	assert_string_equal(q.places[0].words, "n");
	question_free(&q);
}

static void lines_say_who_spoke_where(void **state)
{
	static const struct { struct result result; int64_t age; const char *line; } rows[] = {
		{ { OUTCOME_FAILED, STAGE_RCPT, 550, "5.1.1", false, "no\tsuch user", true, false, false }, 0,
		  "a x\tno\t550 5.1.1 no such user\n" },
		{ { OUTCOME_FAILED, STAGE_RCPT, 550, "5.1.1", false, "no", true, false, false }, 7,
		  "a x\tno\t550 5.1.1 no (said 7 s ago)\n" },
		{ { OUTCOME_FAILED, STAGE_MAIL, 550, "5.1.1", false, "no", true, false, false }, 0,
		  "a x\tcould not tell\tMAIL: 550 5.1.1 no\n" },
		{ { OUTCOME_DEFERRED, STAGE_CONNECT, 421, "4.4.1", false, "refused", false, false, false }, 0,
		  "a x\tcould not tell\trefused\n" },
		{ { OUTCOME_ACCEPTED, STAGE_RCPT, 250, "2.1.5", false, "ok", true, false, false }, 0,
		  "a x\tyes\t250 2.1.5 ok\n" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		struct question q = { .address = "a\nx" };
		struct buf out = { 0 };

		place_settle(question_add(&q, NULL, "u"), &rows[i].result);
		q.places[0].age = rows[i].age;
		question_print(&q, false, &out);
		assert_string_equal(out.data, rows[i].line);
		buf_free(&out);
		question_free(&q);
	}
}

static void json_holds_what_the_line_says(void **state)
{
	const struct result no = { OUTCOME_FAILED, STAGE_RCPT, 550, "5.1.1", false, "\"no\"", true, false, false };
	struct question q = { .address = "a\"x\xff" };
	struct buf out = { 0 };

	(void)state;
	place_settle(question_add(&q, NULL, "u\\"), &no);
	question_print(&q, true, &out);
	assert_string_equal(out.data, "{\"address\":\"a\\\"x\\ufffd\",\"answer\":\"no\",\"stage\":\"RCPT\","
		"\"code\":550,\"status\":\"5.1.1\","
		"\"words\":\"\\\"no\\\"\",\"peer\":\"-\",\"user\":\"u\\\\\",\"age\":0}\n");
	buf_free(&out);
	question_free(&q);
}

static void lifetimes_are_two_and_the_first_is_no_longer(void **state)
{
	static const struct { const char *value; bool good; int64_t fresh, kept; } rows[] = {
		{ "10m/1h", true, 600, 3600 }, { "0/0", true, 0, 0 }, { "1d/1d", true, 86400, 86400 },
		{ "1h/10m", false, 0, 0 }, { "1h", false, 0, 0 }, { "/1h", false, 0, 0 }, { "1h/", false, 0, 0 }, { "", false, 0, 0 },
		{ "1h/2h/3h", false, 0, 0 },
	};

	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		struct probe_lifetime lifetime = { 0 };

		assert_int_equal(probe_set_lifetime(&lifetime, rows[i].value), rows[i].good);
		if (!rows[i].good)
			continue;
		assert_int_equal(lifetime.fresh, rows[i].fresh);
		assert_int_equal(lifetime.kept, rows[i].kept);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(one_yes_is_enough_and_a_no_needs_all),
		cmocka_unit_test(the_worst_answer_is_the_exit_status),
		cmocka_unit_test(what_is_settled_stays),
		cmocka_unit_test(lines_say_who_spoke_where),
		cmocka_unit_test(json_holds_what_the_line_says),
		cmocka_unit_test(lifetimes_are_two_and_the_first_is_no_longer),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
