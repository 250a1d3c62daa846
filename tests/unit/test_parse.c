#include "tests/unit/unit.h"

#include "lib/parse.h"

static void intervals_add_up(void **state)
{
	static const struct { const char *text; int64_t seconds; } rows[] = {
		{ "0", 0 }, { "90", 90 }, { "1h30m", 5400 }, { "1d", 86400 }, { "2m 3s", 123 }, { "1H5", 3605 },
	};

	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		int64_t seconds = -1;

		assert_true(parse_interval(rows[i].text, &seconds));
		assert_int_equal(seconds, rows[i].seconds);
	}
}

static void damaged_intervals_are_refused(void **state)
{
	static const char *const rows[] = { "", "h", "1x", "-1", "1h30q", " 1", "1 ", "99999999999999999999", "1e3" };
	int64_t seconds;

	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
		assert_false(parse_interval(rows[i], &seconds));
}

static void numbers_are_digits_within_their_limit(void **state)
{
	uint64_t n = 7;

	(void)state;
	assert_true(parse_number("18446744073709551615", UINT64_MAX, &n));
	assert_true(n == UINT64_MAX);
	assert_false(parse_number("18446744073709551616", UINT64_MAX, &n));
	assert_true(parse_number("65535", 65535, &n));
	assert_false(parse_number("65536", 65535, &n));
	assert_false(parse_number("", 10, &n));
	assert_false(parse_number("+1", 10, &n));
	assert_false(parse_number("1 ", 10, &n));
}

static void modes_are_up_to_five_octal_digits(void **state)
{
	static const char *const damaged[] = { "", "8", "0o644", "-1", " 644", "644 ", "0x1", "000644" };
	mode_t mode = 7;

	(void)state;
	assert_true(parse_mode("664", &mode));
	assert_int_equal(mode, 0664);
	assert_true(parse_mode("07777", &mode));
	assert_int_equal(mode, 07777);
	assert_true(parse_mode("0", &mode));
	assert_int_equal(mode, 0);
	for (size_t i = 0; i < sizeof damaged / sizeof damaged[0]; i++)
		assert_false(parse_mode(damaged[i], &mode));
}

static void a_row_of_a_table_is_found_by_its_name(void **state)
{
	static const struct { const char *name; int value; } table[] = { { "one", 1 }, { "two", 2 }, { "", 3 }, { "two", 4 } };

	(void)state;
	assert_ptr_equal(PARSE_ROW(table, "one"), &table[0]);
	assert_ptr_equal(PARSE_ROW(table, "two"), &table[1]);
	assert_ptr_equal(PARSE_ROW(table, ""), &table[2]);
	assert_null(PARSE_ROW(table, "tw"));
	assert_null(PARSE_ROW(table, "Two"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(intervals_add_up),
		cmocka_unit_test(damaged_intervals_are_refused),
		cmocka_unit_test(numbers_are_digits_within_their_limit),
		cmocka_unit_test(modes_are_up_to_five_octal_digits),
		cmocka_unit_test(a_row_of_a_table_is_found_by_its_name),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
