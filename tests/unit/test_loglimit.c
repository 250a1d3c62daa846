#include "tests/unit/unit.h"

#include "lib/loglimit.h"

enum { MINUTE = 60 * 1000 };

static void so_many_a_minute_are_written(void **state)
{
	struct loglimit l = { .most = 3 };

	(void)state;
	for (int i = 0; i < 3; i++)
		assert_true(loglimit_may(&l, 5 + i));
	assert_false(loglimit_may(&l, 8));
	assert_false(loglimit_may(&l, 4 + MINUTE));
	/* the minute began with the first line */
	assert_true(loglimit_may(&l, 5 + MINUTE));
}

static void those_that_were_left_out_are_told_when_the_minute_is_over(void **state)
{
	struct loglimit l = { .most = 1 };

	(void)state;
	assert_true(loglimit_may(&l, 1));
	assert_int_equal(loglimit_left_out(&l, 1 + MINUTE, false), 0);
	assert_true(loglimit_may(&l, 1 + MINUTE));
	assert_false(loglimit_may(&l, 2 + MINUTE));
	assert_false(loglimit_may(&l, 3 + MINUTE));
	assert_int_equal(loglimit_left_out(&l, 2 * MINUTE, false), 0);
	assert_int_equal(loglimit_left_out(&l, 1 + 2 * MINUTE, false), 2);
	/* once */
	assert_int_equal(loglimit_left_out(&l, 1 + 2 * MINUTE, false), 0);
}

static void at_the_end_they_are_told_at_once(void **state)
{
	struct loglimit l = { .most = 1 };

	(void)state;
	assert_true(loglimit_may(&l, 1));
	assert_false(loglimit_may(&l, 2));
	assert_int_equal(loglimit_left_out(&l, 3, true), 1);
	assert_int_equal(loglimit_left_out(&l, 3, true), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(so_many_a_minute_are_written),
		cmocka_unit_test(those_that_were_left_out_are_told_when_the_minute_is_over),
		cmocka_unit_test(at_the_end_they_are_told_at_once),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
