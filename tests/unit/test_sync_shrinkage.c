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
	assert_int_equal(shrinkage_gone(&s), 201);
}

static void the_ten_minutes_slide(void **state)
{
	struct shrinkage s = { 0 };

	(void)state;
	/* a window that starts anew at its end would let 350 of 1000 go within two seconds */
	shrinkage_add(&s, NOW, 1000, 1);
	shrinkage_add(&s, NOW + 599, 999, 180);
	assert_false(shrinkage_is_too_much(&s, 800));
	shrinkage_add(&s, NOW + 601, 819, 170);
	assert_true(shrinkage_is_too_much(&s, 800));
	assert_int_equal(shrinkage_gone(&s), 350);
	assert_int_equal(s.list[0].keys, 999);
	shrinkage_add(&s, NOW + 599 + 601, 819, 100);
	assert_int_equal(shrinkage_gone(&s), 270);
	shrinkage_add(&s, NOW + 1800, 719, 1);
	assert_int_equal(shrinkage_gone(&s), 101);
	assert_false(shrinkage_is_too_much(&s, 800));
}

static void a_first_copy_is_not_what_removals_are_measured_by(void **state)
{
	struct shrinkage s = { 0 };

	(void)state;
	shrinkage_add(&s, NOW, 0, 0);
	shrinkage_add(&s, NOW + 1, 1000, 60);
	assert_false(shrinkage_is_too_much(&s, 800));
	assert_int_equal(s.list[0].keys, 1000);
}

static void many_small_removals_take_no_more_room(void **state)
{
	struct shrinkage s = { 0 };

	(void)state;
	for (size_t i = 0; i < 600; i++)
		shrinkage_add(&s, NOW + (int64_t)i, 100000 - i, 1);
	assert_int_equal(shrinkage_gone(&s), 600);
	assert_true(s.count <= SHRINKAGE_STEPS);
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

static void a_clock_that_is_put_back_makes_the_ten_minutes_no_longer(void **state)
{
	struct shrinkage s = { 0 };

	(void)state;
	shrinkage_add(&s, NOW, 1000, 150);
	shrinkage_add(&s, NOW + 590, 850, 10);
	shrinkage_add(&s, NOW - 86400, 840, 1);
	assert_int_equal(shrinkage_gone(&s), 161);
	/* the first of them are eleven minutes ago */
	shrinkage_add(&s, NOW - 86400 + 70, 839, 100);
	assert_int_equal(shrinkage_gone(&s), 111);
	assert_int_equal(s.list[0].keys, 850);
	/* again and again, as by a clock that is corrected by small steps: nothing is forgotten before its time */
	for (int i = 0; i < 100; i++)
		shrinkage_add(&s, NOW - 86400 + 70 - i, 739 - (size_t)i, 1);
	assert_int_equal(shrinkage_gone(&s), 211);
	assert_true(s.count <= SHRINKAGE_STEPS);
}

static enum shrinkage_verdict judge(struct shrinkage *s, size_t keys, size_t removed, size_t left, bool may_shrink)
{
	return shrinkage_judge(s, &(struct shrinking){ NOW, keys, removed, left, may_shrink });
}

static void a_map_without_keys_is_what_somebody_has_allowed(void **state)
{
	struct shrinkage s = { 0 }, back;
	struct buf note = { 0 };

	(void)state;
	assert_int_equal(judge(&s, 0, 0, 0, false), SHRINKAGE_NO_KEYS);
	assert_int_equal(judge(&s, 0, 0, 1, false), SHRINKAGE_FINE);
	assert_int_equal(judge(&s, 1, 1, 0, false), SHRINKAGE_TOO_MUCH);
	shrinkage_explain(&s, &(struct shrinking){ .keys = 1, .removed = 1 }, &note);
	assert_string_equal(buf_str(&note), "1 of 1 keys would be removed; nothing was changed");
	buf_clear(&note);
	s = (struct shrinkage){ 0 };
	/* allowed once, for a map that is made and for one that loses its keys */
	assert_int_equal(judge(&s, 0, 0, 0, true), SHRINKAGE_FINE);
	shrinkage_encode(&note, &s);
	assert_string_equal(buf_str(&note), "empty");
	assert_true(shrinkage_decode(note.data, note.len, &back));
	assert_memory_equal(&back, &s, sizeof s);
	assert_int_equal(judge(&back, 0, 0, 0, false), SHRINKAGE_FINE);
	/* until it has some */
	assert_int_equal(judge(&back, 0, 0, 3, false), SHRINKAGE_FINE);
	assert_int_equal(judge(&back, 3, 3, 0, false), SHRINKAGE_TOO_MUCH);
	assert_int_equal(judge(&back, 3, 3, 0, true), SHRINKAGE_FINE);
	assert_int_equal(judge(&back, 0, 0, 0, false), SHRINKAGE_FINE);
	buf_free(&note);
}

static void it_comes_back_from_its_note(void **state)
{
	static const char *const damaged[] = {
		"", " ", "1", "1 2", "1 2 ", "1 2 3 ", "1 2 3 4", "1  2 3", "-1 2 3", "1 2 x", "1 2 99999999999999999999",
		"empt", "empty\n", "1 2 3\nempty", "1 2 3\n", "1 2 3\n4", "\n1 2 3", "1 2 3\n\n1 2 3",
	};
	struct shrinkage s = { .list = { { NOW, 1000, 17 }, { NOW + 40, 983, 1 } }, .count = 2 }, back;
	struct buf note = { 0 };

	(void)state;
	shrinkage_encode(&note, &s);
	assert_string_equal(note.data, "1700000000 1000 17\n1700000040 983 1");
	assert_true(shrinkage_decode(note.data, note.len, &back));
	assert_memory_equal(&back, &s, sizeof s);
	assert_true(shrinkage_decode("1700000000 1000 17", 18, &back));
	assert_int_equal(shrinkage_gone(&back), 17);
	assert_false(shrinkage_decode("1 2 3\0", 6, &back));
	for (size_t i = 0; i < sizeof damaged / sizeof damaged[0]; i++) {
		back.count = 1;
		assert_false(shrinkage_decode(damaged[i], strlen(damaged[i]), &back));
		assert_int_equal(back.count, 0);
	}
	buf_clear(&note);
	for (size_t i = 0; i <= SHRINKAGE_STEPS; i++)
		buf_addf(&note, "%s1 2 3", i > 0 ? "\n" : "");
	assert_false(shrinkage_decode(note.data, note.len, &back));
	buf_free(&note);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_may_go_at_once),
		cmocka_unit_test(what_goes_in_ten_minutes_counts_together),
		cmocka_unit_test(the_ten_minutes_slide),
		cmocka_unit_test(a_first_copy_is_not_what_removals_are_measured_by),
		cmocka_unit_test(many_small_removals_take_no_more_room),
		cmocka_unit_test(a_clock_that_is_put_back_does_not_stop_it),
		cmocka_unit_test(a_clock_that_is_put_back_makes_the_ten_minutes_no_longer),
		cmocka_unit_test(a_map_without_keys_is_what_somebody_has_allowed),
		cmocka_unit_test(it_comes_back_from_its_note),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
