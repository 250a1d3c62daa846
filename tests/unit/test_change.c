#include "tests/unit/unit.h"

#include "db/store/change.h"

static void put(struct changes *c, const char *key, const char *value)
{
	changes_put(c, key, strlen(key), value, strlen(value));
}

static void the_last_change_to_a_key_counts(void **state)
{
	struct changes c = { 0 };

	(void)state;
	put(&c, "b", "1");
	put(&c, "a", "1");
	changes_remove(&c, "b", 1);
	put(&c, "a", "2");
	put(&c, "b", "3");
	changes_remove(&c, "c", 1);
	changes_settle(&c);
	assert_int_equal(c.count, 3);
	assert_string_equal(c.list[0].key, "a");
	assert_string_equal(c.list[0].value, "2");
	assert_string_equal(c.list[1].key, "b");
	assert_string_equal(c.list[1].value, "3");
	assert_string_equal(c.list[2].key, "c");
	assert_null(c.list[2].value);
	changes_free(&c);
}

static void keys_stand_in_the_order_of_the_stores(void **state)
{
	(void)state;
	assert_true(change_compare("a", 1, "aa", 2) < 0);
	assert_true(change_compare("b", 1, "aa", 2) > 0);
	assert_true(change_compare("\xff", 1, "a", 1) > 0);
	assert_true(change_compare("\0a", 2, "", 0) > 0);
	assert_int_equal(change_compare("ab", 2, "ab", 2), 0);
}

static void what_is_encoded_comes_back(void **state)
{
	struct changes c = { 0 }, back = { 0 };
	struct buf text = { 0 };

	(void)state;
	changes_put(&c, "\0note\n ", 7, "+1 1 x y\n\0", 10);
	put(&c, "key with blanks", "");
	changes_remove(&c, "gone", 4);
	changes_encode(&c, &text);
	assert_true(changes_decode(&back, text.data, text.len));
	assert_int_equal(back.count, 3);
	assert_int_equal(back.list[0].key_length, 7);
	assert_memory_equal(back.list[0].key, "\0note\n ", 7);
	assert_int_equal(back.list[0].value_length, 10);
	assert_memory_equal(back.list[0].value, "+1 1 x y\n\0", 10);
	assert_string_equal(back.list[1].value, "");
	assert_string_equal(back.list[2].key, "gone");
	assert_null(back.list[2].value);
	changes_free(&c);
	changes_free(&back);
	buf_free(&text);
}

static void damaged_bytes_are_refused(void **state)
{
	static const char *const rows[] = {
		"+", "x1 1 a b\n", "+1 1 a b", "+1 1 a b ", "+1 1 ab\n", "+2 1 a b\n", "+1 2 a b\n", "+1 1  a b\n", "- a\n", "-1 a",
		"-1 ab\n", "-2 a\n", "+4294967296 1 a b\n", "+99999999999 1 a b\n", "+1  a b\n", "+-1 1 a b\n", "-1 a\n+",
	};

	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		struct changes c = { 0 };

		if (changes_decode(&c, rows[i], strlen(rows[i])))
			fail_msg("accepted: %s", rows[i]);
		changes_free(&c);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_last_change_to_a_key_counts),
		cmocka_unit_test(keys_stand_in_the_order_of_the_stores),
		cmocka_unit_test(what_is_encoded_comes_back),
		cmocka_unit_test(damaged_bytes_are_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
