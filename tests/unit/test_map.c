#include "tests/unit/unit.h"

#include <sysexits.h>

#include "db/map/map.h"
#include "lib/clock.h"

static struct map *open_map(const char *type, const char *path)
{
	struct buf why = { 0 };
	int status = -1;
	struct map *map = map_open(type, path, NULL, &status, &why);

	assert_non_null(map);
	assert_int_equal(status, EX_OK);
	buf_free(&why);
	return map;
}

static void expect(struct map *map, const char *key, enum map_answer answer, const char *text)
{
	struct buf value = { 0 };

	assert_int_equal(map_find(map, key, &value), answer);
	assert_string_equal(buf_str(&value), text);
	buf_free(&value);
}

static void unknown_types_are_refused_with_a_reason(void **state)
{
	struct buf why = { 0 };
	int status = 0;

	(void)state;
	assert_null(map_open("gdbm", "x", NULL, &status, &why));
	assert_int_equal(status, EX_UNAVAILABLE);
	assert_non_null(strstr(buf_str(&why), "gdbm"));
	assert_null(map_suffix("gdbm"));
	assert_string_equal(map_suffix("BTree"), ".db");
	buf_free(&why);
}

static void the_suffix_is_added_unless_it_is_there(void **state)
{
	static const struct { const char *type, *path, *source; } rows[] = {
		{ "btree", "dir/base", "dir/base.db" }, { "btree", "dir/base.db", "dir/base.db" },
		{ "bhash", "base", "base.dbh" }, { "bhash", "base.db", "base.db" }, { "btree", ".db", ".db.db" },
		{ "unordered", "base", "base" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		struct map *map = open_map(rows[i].type, rows[i].path);

		assert_string_equal(map->provenance.source, rows[i].source);
		map_close(&map);
		assert_null(map);
	}
}

static void inline_maps_find_exactly_their_keys(void **state)
{
	struct map *map = open_map("inline", "a=1;b=2;empty=;a=3");

	(void)state;
	expect(map, "a", MAP_FOUND, "1");
	expect(map, "b", MAP_FOUND, "2");
	expect(map, "empty", MAP_FOUND, "");
	expect(map, "A", MAP_NOT_FOUND, "");
	expect(map, "", MAP_NOT_FOUND, "");
	map_close(&map);
}

static void a_failing_map_says_why_and_finds_nothing(void **state)
{
	struct map *map = open_map("fail", "disk on fire\r\n");

	(void)state;
	expect(map, "a", MAP_COULD_NOT_TELL, "");
	assert_string_equal(map_error(map), "disk on fire : this map always fails");
	map_close(&map);
}

static void failnth_fails_once(void **state)
{
	struct map *map = open_map("failnth", "2:yes:no");

	(void)state;
	expect(map, "a", MAP_FOUND, "yes:no");
	expect(map, "a", MAP_COULD_NOT_TELL, "");
	expect(map, "a", MAP_FOUND, "yes:no");
	map_close(&map);
}

static void slow_maps_take_their_time(void **state)
{
	struct map *map = open_map("slow", "30:x");
	int64_t start = clock_ms();

	(void)state;
	expect(map, "a", MAP_FOUND, "x");
	assert_true(clock_ms() - start >= 30);
	map_close(&map);
}

static void a_bad_number_is_a_configuration_error(void **state)
{
	static const char *const rows[] = { "", "x", ":", "x:y", "-1:y" };

	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		struct buf why = { 0 };
		int status = 0;

		assert_null(map_open("failnth", rows[i], NULL, &status, &why));
		assert_int_equal(status, EX_CONFIG);
		assert_true(why.len > 0);
		buf_free(&why);
	}
}

static void a_missing_file_could_not_tell_and_costs_no_time(void **state)
{
	static const char *const types[] = { "btree", "bhash", "unordered", "ordered" };
	int64_t start = clock_ms();

	(void)state;
	for (size_t i = 0; i < sizeof types / sizeof types[0]; i++) {
		struct map *map = open_map(types[i], "/nonexistent/map");

		for (int n = 0; n < 1000; n++)
			expect(map, "a", MAP_COULD_NOT_TELL, "");
		assert_non_null(strstr(map_error(map), "No such file"));
		map_close(&map);
	}
	assert_true(clock_ms() - start < 3000);
}

static bool never(void *context, const char *key, size_t key_length, const char *value, size_t value_length)
{
	(void)context, (void)key, (void)key_length, (void)value, (void)value_length;
	fail();
	return true;
}

static void what_cannot_be_listed_says_so(void **state)
{
	struct map *map = open_map("constant", "x");

	(void)state;
	assert_int_equal(map_walk(map, never, NULL), MAP_COULD_NOT_TELL);
	assert_non_null(strstr(map_error(map), "cannot be listed"));
	map_close(&map);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(unknown_types_are_refused_with_a_reason),
		cmocka_unit_test(the_suffix_is_added_unless_it_is_there),
		cmocka_unit_test(inline_maps_find_exactly_their_keys),
		cmocka_unit_test(a_failing_map_says_why_and_finds_nothing),
		cmocka_unit_test(failnth_fails_once),
		cmocka_unit_test(slow_maps_take_their_time),
		cmocka_unit_test(a_bad_number_is_a_configuration_error),
		cmocka_unit_test(a_missing_file_could_not_tell_and_costs_no_time),
		cmocka_unit_test(what_cannot_be_listed_says_so),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
