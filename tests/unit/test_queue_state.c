#include "tests/unit/unit.h"

#include "channel/operator/queue_state.h"

#define HEAD "zlmtp-runqueue-state 1\t42\t1795254489\n"

static void reads(struct queue_state *o, const char *text)
{
	struct buf why = { 0 };

	assert_true(queue_state_parse(o, text, strlen(text), &why));
	assert_string_equal(buf_str(&why), "");
	buf_free(&why);
}

static void lines_are_found_by_name_arrival_and_offset(void **state)
{
	const struct timespec came = { 1795254000, 5 }, later = { 1795254000, 6 };
	const struct queue_state_line *line;
	struct queue_state o;

	(void)state;
	reads(&o, HEAD "Y/K/4711002\t1795254000.000000005\t277\theld\t0\t\n"
	               "Y/K/4711002\t1795254000.000000005\t111\t1795258000\t1795254400\t->> 452 a b\n"
	               "99\t7.000000000\t75\t-\t8\tx\n");
	assert_int_equal(o.written, 1795254489);
	assert_int_equal(o.count, 3);
	line = queue_state_find(&o, "Y/K/4711002", &came, 111);
	assert_non_null(line);
	assert_int_equal(line->next, 1795258000);
	assert_int_equal(line->answered, 1795254400);
	assert_string_equal(line->answer, "->> 452 a b");
	assert_int_equal(queue_state_find(&o, "Y/K/4711002", &came, 277)->next, NEXT_HELD);
	assert_null(queue_state_find(&o, "Y/K/4711002", &came, 278));
	assert_null(queue_state_find(&o, "Y/K/4711002", &later, 111));
	assert_null(queue_state_find(&o, "4711002", &came, 111));
	queue_state_free(&o);
}

static void a_file_without_lines_is_fine(void **state)
{
	const struct timespec came = { 1, 0 };
	struct queue_state o;

	(void)state;
	reads(&o, HEAD);
	assert_null(queue_state_find(&o, "1", &came, 1));
	queue_state_free(&o);
}

static void damage_is_named_with_its_line(void **state)
{
	static const struct {
		const char *text, *where;
	} bad[] = {
		{ "", ":1: expected" },
		{ "zlmtp-runqueue-state 1\t42\t1795254489", ":1: expected" },
		{ "zlmtp-runqueue-state 2\t42\t1795254489\n", ":1: expected" },
		{ "zlmtp-runqueue-state 1\t42\t\n", ":1: expected" },
		{ HEAD "1\t7.000000000\t75\t-\t8\tx", ":2: expected" },
		{ HEAD "1\t7.000000000\t75\t-\t8\tx\n\n", ":3: expected" },
		{ HEAD "1\t7.00000000\t75\t-\t8\tx\n", ":2: expected" },
		{ HEAD "1\t7\t75\t-\t8\tx\n", ":2: expected" },
		{ HEAD "x\t7.000000000\t75\t-\t8\tx\n", ":2: expected" },
		{ HEAD "1\t7.000000000\t-75\t-\t8\tx\n", ":2: expected" },
		{ HEAD "1\t7.000000000\t75\tsoon\t8\tx\n", ":2: expected" },
		{ HEAD "1\t7.000000000\t75\t99999999999999999999\t8\tx\n", ":2: expected" },
		{ HEAD "1\t7.000000000\t75\t-\n", ":2: expected" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
		struct buf why = { 0 };
		struct queue_state o;

		assert_false(queue_state_parse(&o, bad[i].text, strlen(bad[i].text), &why));
		assert_non_null(strstr(buf_str(&why), bad[i].where));
		assert_non_null(strstr(buf_str(&why), "expected"));
		assert_int_equal(o.count, 0);
		buf_free(&why);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(lines_are_found_by_name_arrival_and_offset),
		cmocka_unit_test(a_file_without_lines_is_fine),
		cmocka_unit_test(damage_is_named_with_its_line),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
