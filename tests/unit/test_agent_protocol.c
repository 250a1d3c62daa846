#include "tests/unit/unit.h"

#include "channel/spool/agent_protocol.h"
#include "lib/alloc.h"

static void orders_are_jobs_idle_and_quit(void **state)
{
	char job[] = "Y/K/4711002\tstore1", with_host[] = "99", idle[] = "#idle", other[] = "#news", quit[] = "";
	struct agent_order order;

	(void)state;
	order = agent_order(job);
	assert_int_equal(order.kind, ORDER_JOB);
	assert_string_equal(order.path, "Y/K/4711002");
	assert_string_equal(order.host, "store1");
	order = agent_order(with_host);
	assert_int_equal(order.kind, ORDER_JOB);
	assert_string_equal(order.path, "99");
	assert_null(order.host);
	assert_int_equal(agent_order(idle).kind, ORDER_IDLE);
	assert_int_equal(agent_order(other).kind, ORDER_IDLE);
	assert_int_equal(agent_order(quit).kind, ORDER_QUIT);
}

static void reports_are_cut_up(void **state)
{
	static const struct {
		const char *line, *notary, *text;
		uint64_t id;
		off_t offset;
		enum agent_verdict verdict;
		bool logged;
	} rows[] = {
		{ "4711002/277\t\terror2 \r->> 550 no", "", "\r->> 550 no", 4711002, 277, VERDICT_ERROR, true },
		{ "99/75\tann\001failed\0014.4.1\tdeferall smtp; 500 (x)", "ann\001failed\0014.4.1", "smtp; 500 (x)", 99, 75,
		  VERDICT_RETRY_ALL, false },
		{ "99/75\tn\tretryat +60 down", "n", "down", 99, 75, VERDICT_RETRY_ALL, false },
		{ "99/75\tn\tretryat 60 down", "n", "down", 99, 75, VERDICT_RETRY_ALL, false },
		{ "99/75\tn\tretryat down", "n", "down", 99, 75, VERDICT_RETRY_ALL, false },
		{ "99/75\tn\tretryat", "n", "", 99, 75, VERDICT_RETRY_ALL, false },
		{ "99/75\tn\tdeferred later", "n", "later", 99, 75, VERDICT_DEFERRED, false },
		{ "99/75\tn\tdeferback lost", "n", "lost", 99, 75, VERDICT_DEFERRED, false },
		{ "99/75\tn\tperhaps why not", "n", "why not", 99, 75, VERDICT_DEFERRED, false },
		{ "99/75\tn\tok fine", "n", "fine", 99, 75, VERDICT_OK, false },
		{ "99/75\t\tok2", "", "", 99, 75, VERDICT_OK, true },
		{ "99/75\t\tok3 a\tb", "", "a\tb", 99, 75, VERDICT_OK, true },
		{ "99/75\tn\terror no", "n", "no", 99, 75, VERDICT_ERROR, false },
		{ "18446744073709551615/9223372036854775807\t\tok3 x", "", "x", UINT64_MAX, INT64_MAX, VERDICT_OK, true },
	};

	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		char *line = xstrdup(rows[i].line);
		struct agent_answer a = agent_answer(line);

		assert_int_equal(a.kind, ANSWER_REPORT);
		assert_true(a.id == rows[i].id);
		assert_true(a.offset == rows[i].offset);
		assert_string_equal(a.notary, rows[i].notary);
		assert_string_equal(a.text, rows[i].text);
		assert_int_equal(a.verdict, rows[i].verdict);
		assert_int_equal(a.logged, rows[i].logged);
		free(line);
	}
}

static void remarks_are_told_apart(void **state)
{
	char hungry[] = "#hungry", more[] = "#hungry now", resync[] = "#resync Y/K/1", none[] = "#resync";
	char text[] = "# lmtp: hello", empty[] = "";
	struct agent_answer a;

	(void)state;
	assert_int_equal(agent_answer(hungry).kind, ANSWER_HUNGRY);
	assert_int_equal(agent_answer(more).kind, ANSWER_HUNGRY);
	a = agent_answer(resync);
	assert_int_equal(a.kind, ANSWER_RESYNC);
	assert_string_equal(a.name, "Y/K/1");
	assert_int_equal(agent_answer(none).kind, ANSWER_COMMENT);
	a = agent_answer(text);
	assert_int_equal(a.kind, ANSWER_COMMENT);
	assert_string_equal(a.text, "lmtp: hello");
	assert_int_equal(agent_answer(empty).kind, ANSWER_COMMENT);
}

static void anything_else_is_garbage_and_kept_whole(void **state)
{
	static const char *const rows[] = {
		"hello", "99/75", "99/75\tok3 x", "99\t\tok3 x", "/75\t\tok3", "99/\t\tok3", "x/75\t\tok3", "99/-1\t\tok3",
		"99/75 \t\tok3", "18446744073709551616/1\t\tok3", "1/9223372036854775808\t\tok3", "hungry", "\t\t\t",
	};

	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		char *line = xstrdup(rows[i]);
		struct agent_answer a = agent_answer(line);

		assert_int_equal(a.kind, ANSWER_GARBAGE);
		assert_string_equal(a.text, rows[i]);
		free(line);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(orders_are_jobs_idle_and_quit),
		cmocka_unit_test(reports_are_cut_up),
		cmocka_unit_test(remarks_are_told_apart),
		cmocka_unit_test(anything_else_is_garbage_and_kept_whole),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
