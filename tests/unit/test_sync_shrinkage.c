#include "tests/unit/unit.h"

#include <string.h>

#include "db/sync/shrinkage.h"

#define NOW 1700000000

static void what_may_go_at_once(void **state)
{
	static const struct { size_t keys, removed; bool too_much; } cases[] = {
		{ 0, 0, false }, { 51, 50, false }, { 52, 51, true },
		/* nothing is left */
		{ 1, 1, true }, { 50, 50, true },
		 { 250, 50, false }, { 250, 51, true },
		{ 1000, 200, false }, { 1000, 201, true }, { 1000, 1000, true },
	};

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		struct shrinkage s = { 0 };

		shrinkage_add(&s, NOW, cases[i].keys, cases[i].removed);
		assert_int_equal(shrinkage_is_too_much(&s, cases[i].keys - cases[i].removed), cases[i].too_much);
	}
}

static void what_goes_in_ten_minutes_counts_together(void **state)
{
	struct shrinkage s = { 0 };

	(void)state;
	shrinkage_add(&s, NOW, 1000, 150);
	assert_false(shrinkage_is_too_much(&s, 800));
	/* of what there was at the beginning */
	shrinkage_add(&s, NOW + 300, 850, 50);
	assert_false(shrinkage_is_too_much(&s, 800));
	shrinkage_add(&s, NOW + 600, 800, 1);
	assert_true(shrinkage_is_too_much(&s, 800));
	shrinkage_add(&s, NOW + 601, 800, 160);
	assert_false(shrinkage_is_too_much(&s, 800));
	assert_int_equal(s.keys, 800);
}

static void a_clock_that_is_put_back_does_not_stop_it(void **state)
{
	struct shrinkage s = { 0 };

	(void)state;
	shrinkage_add(&s, NOW, 1000, 150);
	shrinkage_add(&s, NOW - 86400, 850, 51);
	assert_true(shrinkage_is_too_much(&s, 800));
	shrinkage_add(&s, NOW - 86400 + 601, 800, 1);
	assert_false(shrinkage_is_too_much(&s, 800));
}

static void it_comes_back_from_its_note(void **state)
{
	static const char *const damaged[] = {
		"", " ", "1", "1 2", "1 2 ", "1 2 3 ", "1 2 3 4", "1  2 3", "-1 2 3", "1 2 x", "1 2 99999999999999999999",
	};
	struct shrinkage s = { NOW, 1000, 17 }, back;
	struct buf note = { 0 };

	(void)state;
	shrinkage_encode(&note, &s);
	assert_string_equal(note.data, "1700000000 1000 17");
	assert_true(shrinkage_decode(note.data, note.len, &back));
	assert_int_equal(back.since, NOW);
	assert_int_equal(back.keys, 1000);
	assert_int_equal(back.gone, 17);
	assert_false(shrinkage_decode("1 2 3\0", 6, &back));
	for (size_t i = 0; i < sizeof damaged / sizeof damaged[0]; i++) {
		back.gone = 1;
		assert_false(shrinkage_decode(damaged[i], strlen(damaged[i]), &back));
		assert_int_equal(back.gone, 0);
	}
	buf_free(&note);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_may_go_at_once),
		cmocka_unit_test(what_goes_in_ten_minutes_counts_together),
		cmocka_unit_test(a_clock_that_is_put_back_does_not_stop_it),
		cmocka_unit_test(it_comes_back_from_its_note),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
