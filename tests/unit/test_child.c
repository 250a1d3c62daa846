#include "tests/unit/unit.h"

#include <signal.h>
#include <unistd.h>

#include "lib/child.h"
#include "lib/clock.h"

static int say(void *context, struct buf *out)
{
	buf_adds(out, context);
	return 7;
}

static int crash(void *context, struct buf *out)
{
	(void)context;
	(void)out;
	raise(SIGSEGV);
	return 0;
}

static int hang(void *context, struct buf *out)
{
	(void)context;
	(void)out;
	for (;;)
		pause();
	return 0;
}

static int chatter(void *context, struct buf *out)
{
	(void)context;
	for (int i = 0; i < 100000; i++)
		buf_adds(out, "blah ");
	fprintf(stderr, "this must not be seen\n");
	printf("not ok - nor this\n");
	fflush(stdout);
	return 0;
}

static void a_child_answers(void **state)
{
	struct buf out = { 0 };
	int status = -1;

	(void)state;
	assert_int_equal(child_ask(say, "hello", clock_ms() + 10000, &status, &out), CHILD_SAID);
	assert_int_equal(status, 7);
	assert_string_equal(buf_str(&out), "hello");
	buf_free(&out);
}

static void a_crash_stays_in_the_child(void **state)
{
	struct buf out = { 0 };
	int status = -1;

	(void)state;
	assert_int_equal(child_ask(crash, NULL, clock_ms() + 10000, &status, &out), CHILD_CRASHED);
	assert_int_equal(status, SIGSEGV);
	buf_free(&out);
}

static void a_child_that_hangs_is_ended(void **state)
{
	struct buf out = { 0 };
	int64_t start = clock_ms();
	int status = -1;

	(void)state;
	assert_int_equal(child_ask(hang, NULL, start + 100, &status, &out), CHILD_HUNG);
	assert_true(clock_ms() - start >= 100 && clock_ms() - start < 5000);
	buf_free(&out);
}

static void a_child_that_says_much_is_cut_short(void **state)
{
	struct buf out = { 0 };
	int status = -1;

	(void)state;
	assert_int_equal(child_ask(chatter, NULL, clock_ms() + 10000, &status, &out), CHILD_SAID);
	assert_true(out.len > 100 && out.len < 10000);
	buf_free(&out);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_child_answers),
		cmocka_unit_test(a_crash_stays_in_the_child),
		cmocka_unit_test(a_child_that_hangs_is_ended),
		cmocka_unit_test(a_child_that_says_much_is_cut_short),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
