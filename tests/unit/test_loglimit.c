#include "tests/unit/unit.h"

#include "lib/loglimit.h"

#define MINUTE (60 * 1000)

static void so_many_a_minute_are_written_and_the_others_counted(void **state)
{
	struct loglimit l = { .most = 3 };
	int64_t now = 5 * MINUTE;

	(void)state;
	for (int i = 0; i < 10; i++)
		assert_int_equal(loglimit_may(&l, now + i), i < 3);
	assert_int_equal(loglimit_left_out(&l, now + 10, false), 0);
	assert_int_equal(loglimit_left_out(&l, now + MINUTE, false), 7);
	assert_int_equal(loglimit_left_out(&l, now + MINUTE, false), 0);
	assert_true(loglimit_may(&l, now + MINUTE));
	assert_true(loglimit_may(&l, now + MINUTE + 1));
	assert_true(loglimit_may(&l, now + MINUTE + 2));
	assert_false(loglimit_may(&l, now + MINUTE + 3));
	assert_int_equal(loglimit_left_out(&l, now + MINUTE + 4, true), 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(so_many_a_minute_are_written_and_the_others_counted),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
