#include "tests/unit/unit.h"

#include "lib/title.h"

/* Arguments as the kernel lays them: one behind the other. */
static char area[32];
static char *argv[4];

static void lay_out(void)
{
	memset(area, '#', sizeof area);
	memcpy(area, "lmtp\0-c\0smtp\0", 13);
	argv[0] = area;
	argv[1] = area + 5;
	argv[2] = area + 8;
	argv[3] = NULL;
	title_init(3, argv);
}

static void a_title_before_the_beginning_changes_nothing(void **state)
{
	(void)state;
	title_set("early");
}

static void a_title_fills_the_arguments_and_no_more(void **state)
{
	static const struct { const char *title; const char *shown; } rows[] = {
		{ "short", "short" }, { "", "" }, { "exactly 12 b", "exactly 12 b" }, { "rather too long for it", "rather to..." },
		{ "a\tb\nc", "a b c" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		lay_out();
		title_set("%s", rows[i].title);
		assert_string_equal(area, rows[i].shown);
		/* nothing of the old arguments is left behind it, and nothing beyond them was touched */
		for (size_t n = strlen(area); n < 13; n++)
			assert_int_equal(area[n], '\0');
		assert_int_equal(area[13], '#');
	}
}

static void arguments_that_do_not_follow_each_other_are_left_alone(void **state)
{
	static char elsewhere[] = "elsewhere";

	(void)state;
	lay_out();
	argv[1] = elsewhere;
	title_init(3, argv);
	title_set("lmtp delivering");
	assert_string_equal(area, "l...");
	assert_string_equal(area + 5, "-c");
	assert_string_equal(elsewhere, "elsewhere");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_title_before_the_beginning_changes_nothing),
		cmocka_unit_test(a_title_fills_the_arguments_and_no_more),
		cmocka_unit_test(arguments_that_do_not_follow_each_other_are_left_alone),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
