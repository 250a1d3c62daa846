#include "tests/unit/unit.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "db/store/stamp.h"
#include "tests/unit/built.h"

static void expect(struct map *map, const char *key, enum map_answer answer, const char *text)
{
	struct buf value = { 0 };

	buf_adds(&value, "before ");
	assert_int_equal(map_find(map, key, &value), answer);
	assert_string_equal(buf_str(&value) + 7, text);
	buf_free(&value);
}

static void records_come_back_and_nothing_else(void **state)
{
	(void)state;
	for (size_t t = 0; t < BUILT_TYPES; t++) {
		struct map *map = open_built(built_types[t], build_small(built_types[t], "m"));

		for (size_t i = 0; i < BUILT_RECORDS; i++)
			expect(map, built_records[i][0], MAP_FOUND, built_records[i][1]);
		expect(map, "nobody@d.test", MAP_NOT_FOUND, "");
		expect(map, "User@d.test", MAP_NOT_FOUND, "");
		expect(map, "user@d.tes", MAP_NOT_FOUND, "");
		expect(map, "", MAP_NOT_FOUND, "");
		map_close(&map);
	}
}

static void the_longest_keys_can_be_asked_for(void **state)
{
	struct buf key = { 0 };

	(void)state;
	while (key.len < 100000)
		buf_adds(&key, "long.");
	for (size_t t = 0; t < BUILT_TYPES; t++) {
		struct map *map = open_built(built_types[t], build_small(built_types[t], "m"));

		expect(map, buf_str(&key), MAP_NOT_FOUND, "");
		map_close(&map);
	}
	buf_free(&key);
}

static void an_open_map_says_where_it_comes_from(void **state)
{
	(void)state;
	for (size_t t = 0; t < BUILT_TYPES; t++) {
		const char *path = build_small(built_types[t], "m");
		struct map *map = open_built(built_types[t], path);
		struct stat st;

		assert_true(map_ready(map));
		assert_int_equal(stat(path, &st), 0);
		assert_int_equal(map->provenance.inode, st.st_ino);
		assert_int_equal(map->provenance.owner, getuid());
		assert_int_equal(map->provenance.size, st.st_size);
		assert_string_equal(map->provenance.type, built_types[t]);
		assert_non_null(map->provenance.stamp);
		assert_string_equal(map->provenance.stamp->source, "/text");
		assert_int_equal(map->provenance.stamp->records, BUILT_RECORDS);
		assert_true(map->provenance.stamp->built <= stamp_now());
		map_close(&map);
	}
}

struct seen {
	unsigned count;
	unsigned stop_at;
};

static bool see(void *context, const char *key, size_t key_length, const char *value, size_t value_length)
{
	struct seen *seen = context;
	bool known = false;

	for (size_t i = 0; i < BUILT_RECORDS; i++)
		known = known || (key_length == strlen(built_records[i][0]) && memcmp(key, built_records[i][0], key_length) == 0 &&
		                  value_length == strlen(built_records[i][1]) &&
		                  memcmp(value, built_records[i][1], value_length) == 0);
	assert_true(known);
	return ++seen->count != seen->stop_at;
}

static void a_walk_shows_all_records_but_no_notes(void **state)
{
	(void)state;
	for (size_t t = 0; t < BUILT_TYPES; t++) {
		struct map *map = open_built(built_types[t], build_small(built_types[t], "m"));
		struct seen all = { 0, 0 }, two = { 0, 2 };

		assert_int_equal(map_walk(map, see, &all), MAP_FOUND);
		assert_int_equal(all.count, BUILT_RECORDS);
		assert_int_equal(map_walk(map, see, &two), MAP_FOUND);
		assert_int_equal(two.count, 2);
		map_close(&map);
	}
}

static void a_new_file_is_seen_by_refresh_only(void **state)
{
	(void)state;
	for (size_t t = 0; t < BUILT_TYPES; t++) {
		const char *path = build_small(built_types[t], "m");
		struct map *map = open_built(built_types[t], path);
		ino_t before;

		expect(map, "user@d.test", MAP_FOUND, "smtp!relay");
		before = map->provenance.inode;
		assert_false(map_refresh(map));
		build_small(built_types[t], "m");
		expect(map, "user@d.test", MAP_FOUND, "smtp!relay");
		assert_int_equal(map->provenance.inode, before);
		assert_true(map_refresh(map));
		expect(map, "user@d.test", MAP_FOUND, "smtp!relay");
		assert_int_not_equal(map->provenance.inode, before);
		assert_false(map_refresh(map));
		assert_int_equal(unlink(path), 0);
		assert_true(map_refresh(map));
		expect(map, "user@d.test", MAP_COULD_NOT_TELL, "");
		map_close(&map);
	}
}

static const char *build_one(const char *type, const char *name, const char *key, const char *value)
{
	struct records records = { 0 };

	records_copy(&records, key, strlen(key), value, strlen(value), 1);
	return build_records(type, name, &records);
}

/* Writes over a file in place, as cp -p does from a copy of the same age. */
static void write_over(const char *path, const char *other)
{
	char bytes[65536];
	int from = open(other, O_RDONLY), to = open(path, O_WRONLY);
	struct timespec times[2];
	struct stat st;
	ssize_t n;

	assert_int_equal(fstat(to, &st), 0);
	times[0] = st.st_atim;
	times[1] = st.st_mtim;
	while ((n = read(from, bytes, sizeof bytes)) > 0)
		assert_int_equal(write(to, bytes, (size_t)n), n);
	assert_int_equal(ftruncate(to, lseek(to, 0, SEEK_CUR)), 0);
	assert_int_equal(futimens(to, times), 0);
	close(from);
	close(to);
}

static void what_is_written_over_an_open_file_is_no_answer(void **state)
{
	(void)state;
	for (size_t t = 0; t < BUILT_TYPES; t++) {
		const char *path = build_one(built_types[t], "m", "one@d.test", "smtp!relay");
		const char *other = build_one(built_types[t], "other", "two@d.test", "smtp!relay");
		struct map *map = open_built(built_types[t], path);

		expect(map, "one@d.test", MAP_FOUND, "smtp!relay");
		write_over(path, other);
		/* without a refresh: what is there by now has the one and not the other */
		expect(map, "two@d.test", MAP_FOUND, "smtp!relay");
		expect(map, "one@d.test", MAP_NOT_FOUND, "");
		map_close(&map);
	}
}

/* It goes on in other pages than its key. */
static void a_long_value_is_of_one_file(void **state)
{
	char before[3000], after[3000];

	(void)state;
	memset(before, 'x', sizeof before);
	memset(after, 'y', sizeof after);
	before[sizeof before - 1] = after[sizeof after - 1] = '\0';
	for (size_t t = 0; t < BUILT_TYPES; t++) {
		const char *path = build_one(built_types[t], "m", "one@d.test", before);
		struct map *map = open_built(built_types[t], path);

		expect(map, "one@d.test", MAP_FOUND, before);
		write_over(path, build_one(built_types[t], "other", "one@d.test", after));
		expect(map, "one@d.test", MAP_FOUND, after);
		map_close(&map);
	}
}

static void a_touched_file_tells_as_before(void **state)
{
	(void)state;
	for (size_t t = 0; t < BUILT_TYPES; t++) {
		const char *path = build_small(built_types[t], "m");
		struct map *map = open_built(built_types[t], path);

		expect(map, "user@d.test", MAP_FOUND, "smtp!relay");
		assert_int_equal(chmod(path, 0640), 0);
		expect(map, "user@d.test", MAP_FOUND, "smtp!relay");
		assert_int_equal(chmod(path, 0600), 0);
		expect(map, "nobody@d.test", MAP_NOT_FOUND, "");
		map_close(&map);
	}
}

static void one_type_is_not_taken_for_another(void **state)
{
	(void)state;
	for (size_t t = 0; t < BUILT_TYPES; t++) {
		for (size_t other = 0; other < BUILT_TYPES; other++) {
			struct map *map;

			if (t == other)
				continue;
			map = open_built(built_types[other], build_small(built_types[t], "m"));
			expect(map, "user@d.test", MAP_COULD_NOT_TELL, "");
			assert_true(strlen(map_error(map)) > strlen(map->path));
			map_close(&map);
		}
	}
}

static void what_is_no_map_cannot_be_told(void **state)
{
	static const struct { const char *bytes; size_t n; } rows[] = { { "", 0 }, { "text\n", 5 }, { "\0\0\0\0\0\0\0\0", 8 } };
	char zeros[16384] = { 0 };

	(void)state;
	for (size_t t = 0; t < BUILT_TYPES; t++) {
		for (size_t i = 0; i <= sizeof rows / sizeof rows[0]; i++) {
			bool last = i == sizeof rows / sizeof rows[0];
			struct map *map;

			scratch_write("bad.db", last ? zeros : rows[i].bytes, last ? sizeof zeros : rows[i].n);
			map = open_built(built_types[t], scratch("bad.db"));
			expect(map, "user@d.test", MAP_COULD_NOT_TELL, "");
			map_close(&map);
		}
		scratch("bad.db");
	}
}

static void a_directory_is_no_map(void **state)
{
	(void)state;
	for (size_t t = 0; t < BUILT_TYPES; t++) {
		struct map *map = open_built(built_types[t], "/tmp.db");

		free(map->path);
		map->path = xstrdup("/tmp");
		expect(map, "user@d.test", MAP_COULD_NOT_TELL, "");
		map_close(&map);
	}
}

static void lmdb_has_no_environment_file(void **state)
{
	struct buf why = { 0 };
	int status = 0;

	(void)state;
	if (map_type("lmdb") == NULL)
		return;
	assert_null(map_open("lmdb", "x", "/some/file", &status, &why));
	assert_int_equal(status, EX_CONFIG);
	buf_free(&why);
}

static void an_environment_that_is_not_described_is_refused(void **state)
{
	struct buf why = { 0 };
	int status = 0;

	(void)state;
	assert_null(map_open("btree", "x", scratch("none"), &status, &why));
	assert_int_equal(status, EX_NOINPUT);
	buf_clear(&why);
	assert_null(map_open("btree", "x", scratch_text("env", "envhome /x\n"), &status, &why));
	assert_int_equal(status, EX_CONFIG);
	buf_free(&why);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(records_come_back_and_nothing_else),
		cmocka_unit_test(the_longest_keys_can_be_asked_for),
		cmocka_unit_test(an_open_map_says_where_it_comes_from),
		cmocka_unit_test(a_walk_shows_all_records_but_no_notes),
		cmocka_unit_test(a_new_file_is_seen_by_refresh_only),
		cmocka_unit_test(what_is_written_over_an_open_file_is_no_answer),
		cmocka_unit_test(a_long_value_is_of_one_file),
		cmocka_unit_test(a_touched_file_tells_as_before),
		cmocka_unit_test(one_type_is_not_taken_for_another),
		cmocka_unit_test(what_is_no_map_cannot_be_told),
		cmocka_unit_test(a_directory_is_no_map),
		cmocka_unit_test(lmdb_has_no_environment_file),
		cmocka_unit_test(an_environment_that_is_not_described_is_refused),
	};

	return cmocka_run_group_tests(tests, scratch_begin, scratch_end);
}
