#include "tests/unit/unit.h"

#include "tests/unit/built.h"

static void expect(const char *text, const char *key, enum map_answer answer, const char *wanted)
{
	static const char *const types[] = { "unordered", "ordered" };

	for (size_t i = 0; i < 2; i++) {
		struct map *map = open_built(types[i], scratch_text("text", text));
		struct buf value = { 0 };

		assert_int_equal(map_find(map, key, &value), answer);
		assert_string_equal(buf_str(&value), wanted);
		buf_free(&value);
		map_close(&map);
	}
}

static void the_first_word_is_the_value(void **state)
{
	(void)state;
	expect("key one two\n", "key", MAP_FOUND, "one");
	expect("key\tone\n", "key", MAP_FOUND, "one");
	expect("key\n", "key", MAP_FOUND, "");
	expect("key one", "key", MAP_FOUND, "one");
	expect("# x\nkey one\n", "#", MAP_FOUND, "x");
	expect("key: one\n", "key:", MAP_FOUND, "one");
	expect("key: one\n", "key", MAP_NOT_FOUND, "");
}

static void keys_have_no_case_and_may_be_quoted(void **state)
{
	(void)state;
	expect("KeY one\n", "kEy", MAP_FOUND, "one");
	expect("\"a b\" one\n", "\"A b\"", MAP_FOUND, "one");
	expect("a\\ b one\n", "a\\ b", MAP_FOUND, "one");
	expect("\"a b one\n", "\"a", MAP_NOT_FOUND, "");
}

static void the_first_of_several_lines_counts_in_any_order(void **state)
{
	(void)state;
	expect("b 1\na 2\nB 3\nc 4\n", "b", MAP_FOUND, "1");
	expect("b 1\na 2\nB 3\nc 4\n", "a", MAP_FOUND, "2");
	expect("b 1\na 2\nB 3\nc 4\n", "d", MAP_NOT_FOUND, "");
	expect("", "d", MAP_NOT_FOUND, "");
	expect("\n\n  x y\n", "x", MAP_NOT_FOUND, "");
}

static void a_file_with_nul_bytes_is_no_text(void **state)
{
	struct map *map = open_built("unordered", scratch_write("text", "a b\nc\0d e\n", 10));
	struct buf value = { 0 };

	(void)state;
	assert_int_equal(map_find(map, "a", &value), MAP_COULD_NOT_TELL);
	assert_non_null(strstr(map_error(map), "line 2: NUL byte"));
	map_close(&map);
}

static void changes_are_seen_by_refresh(void **state)
{
	struct map *map = open_built("unordered", scratch_text("text", "a 1\n"));
	struct buf value = { 0 };
	int fd;

	(void)state;
	assert_int_equal(map_find(map, "a", &value), MAP_FOUND);
	fd = open(scratch("text"), O_WRONLY | O_APPEND);
	assert_int_equal(write(fd, "b 2\n", 4), 4);
	close(fd);
	assert_int_equal(map_find(map, "b", &value), MAP_NOT_FOUND);
	assert_true(map_refresh(map));
	assert_int_equal(map_find(map, "b", &value), MAP_FOUND);
	assert_false(map_refresh(map));
	buf_free(&value);
	map_close(&map);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_first_word_is_the_value),
		cmocka_unit_test(keys_have_no_case_and_may_be_quoted),
		cmocka_unit_test(the_first_of_several_lines_counts_in_any_order),
		cmocka_unit_test(a_file_with_nul_bytes_is_no_text),
		cmocka_unit_test(changes_are_seen_by_refresh),
	};

	return cmocka_run_group_tests(tests, scratch_begin, scratch_end);
}
