#include "tests/unit/unit.h"

#include <dirent.h>

#include "tests/unit/built.h"

static unsigned files(void)
{
	DIR *directory = opendir(scratch_directory);
	struct dirent *entry;
	unsigned n = 0;

	while ((entry = readdir(directory)) != NULL)
		n += entry->d_name[0] != '.' || strlen(entry->d_name) > 2;
	closedir(directory);
	return n;
}

static int build_one(struct build *build, const char *key, struct buf *why)
{
	struct records records = { 0 };
	int status;

	records_copy(&records, key, strlen(key), "v", 1, 7);
	buf_clear(why);
	status = build_map(build, &records, why);
	records_free(&records);
	return status;
}

static void owner_and_mode_stay_unless_given(void **state)
{
	struct buf why = { 0 };
	struct build build = { .type = "btree", .target = scratch("owned.db"), .uid = (uid_t)-1, .gid = (gid_t)-1,
	                       .stamp = { .source = "t", .folding = '-', .syntax = 'p' } };
	struct stat st;

	(void)state;
	umask(027);
	assert_int_equal(build_one(&build, "k", &why), EX_OK);
	assert_int_equal(stat(build.target, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0640);
	assert_int_equal(chmod(build.target, 0604), 0);
	build.mode = 0;
	assert_int_equal(build_one(&build, "k", &why), EX_OK);
	assert_int_equal(stat(build.target, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0604);
	build.mode = 0600;
	assert_int_equal(build_one(&build, "k", &why), EX_OK);
	assert_int_equal(stat(build.target, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0600);
	umask(022);
	buf_free(&why);
}

static void root_gives_maps_away_and_keeps_their_owner(void **state)
{
	struct buf why = { 0 };
	struct build build = { .type = "btree", .target = scratch("given.db"), .uid = 12345, .gid = 23456,
	                       .stamp = { .source = "t", .folding = '-', .syntax = 'p' } };
	struct stat st;

	(void)state;
	if (geteuid() != 0)
		return;
	assert_int_equal(build_one(&build, "k", &why), EX_OK);
	build.uid = (uid_t)-1;
	build.gid = (gid_t)-1;
	assert_int_equal(build_one(&build, "k", &why), EX_OK);
	assert_int_equal(stat(build.target, &st), 0);
	assert_int_equal(st.st_uid, 12345);
	assert_int_equal(st.st_gid, 23456);
	buf_free(&why);
}

static void root_stays_away_from_the_directories_of_others(void **state)
{
	struct buf why = { 0 };
	struct build build = { .type = "btree", .target = scratch("x.db"), .uid = (uid_t)-1, .gid = (gid_t)-1,
	                       .stamp = { .source = "t", .folding = '-', .syntax = 'p' } };

	(void)state;
	if (geteuid() != 0)
		return;
	assert_int_equal(chmod(scratch_directory, 0777), 0);
	assert_int_equal(build_one(&build, "k", &why), EX_NOPERM);
	assert_int_equal(chmod(scratch_directory, 01777), 0);
	assert_int_equal(build_one(&build, "k", &why), EX_OK);
	assert_int_equal(chmod(scratch_directory, 0700), 0);
	assert_int_equal(chown(scratch_directory, 12345, 0), 0);
	assert_int_equal(build_one(&build, "k", &why), EX_NOPERM);
	assert_non_null(strstr(buf_str(&why), "12345"));
	assert_int_equal(chown(scratch_directory, 0, 0), 0);
	buf_free(&why);
}

static void keys_that_a_type_cannot_hold_name_their_line(void **state)
{
	struct buf why = { 0 }, key = { 0 };
	struct build build = { .type = "lmdb", .target = scratch("long.lmdb"), .uid = (uid_t)-1, .gid = (gid_t)-1,
	                       .stamp = { .source = "text", .folding = '-', .syntax = 'p' } };
	unsigned before;

	(void)state;
	if (map_type("lmdb") == NULL)
		return;
	while (key.len < 510)
		buf_addc(&key, 'k');
	assert_int_equal(build_one(&build, buf_str(&key), &why), EX_OK);
	before = files();
	buf_addc(&key, 'k');
	assert_int_equal(build_one(&build, buf_str(&key), &why), EX_DATAERR);
	assert_string_equal(buf_str(&why), "text:7: key of 511 bytes; maps of type lmdb take at most 510");
	assert_int_equal(files(), before);
	buf_free(&key);
	buf_free(&why);
}

static void trouble_leaves_no_litter(void **state)
{
	struct buf why = { 0 };
	struct build build = { .type = "unordered", .target = scratch("no.db"), .uid = (uid_t)-1, .gid = (gid_t)-1,
	                       .stamp = { .source = "t", .folding = '-', .syntax = 'p' } };
	unsigned before = files();

	(void)state;
	assert_int_equal(build_one(&build, "k", &why), EX_UNAVAILABLE);
	build.type = "btree";
	build.target = scratch("none/no.db");
	assert_int_equal(build_one(&build, "k", &why), EX_CANTCREAT);
	assert_int_equal(mkdir(scratch("dir.db"), 0700), 0);
	build.target = scratch("dir.db");
	assert_int_equal(build_one(&build, "k", &why), EX_CANTCREAT);
	assert_int_equal(rmdir(scratch("dir.db")), 0);
	assert_int_equal(files(), before);
	buf_free(&why);
}

/* Large enough for several levels and pages of overflow. */
static void large_maps_hold_all_their_records(void **state)
{
	(void)state;
	for (size_t t = 0; t < BUILT_TYPES; t++) {
		struct records records = { 0 };
		struct buf why = { 0 }, value = { 0 };
		char *name = xasprintf("large%s", map_suffix(built_types[t]));
		struct build build = { .type = built_types[t], .target = scratch(name), .uid = (uid_t)-1, .gid = (gid_t)-1,
		                       .stamp = { .source = "t", .folding = '-', .syntax = 'p' } };
		struct map *map;

		for (unsigned i = 0; i < 20000; i++) {
			char key[40];

			snprintf(key, sizeof key, "user%u@d%u.test", i, i % 7);
			buf_clear(&value);
			while (value.len < i % 1000 * (i % 991 == 0 ? 50 : 1) % 30000)
				buf_addf(&value, "%u,", i);
			records_copy(&records, key, strlen(key), buf_str(&value), value.len, i + 1);
		}
		records_sort(&records);
		assert_int_equal(build_map(&build, &records, &why), EX_OK);
		map = open_built(built_types[t], build.target);
		for (size_t i = 0; i < records.count; i++) {
			buf_clear(&value);
			assert_int_equal(map_find(map, records.list[i].key, &value), MAP_FOUND);
			assert_string_equal(buf_str(&value), records.list[i].value);
		}
		map_close(&map);
		records_free(&records);
		buf_free(&why);
		buf_free(&value);
		free(name);
	}
}

static void an_empty_map_finds_nothing(void **state)
{
	(void)state;
	for (size_t t = 0; t < BUILT_TYPES; t++) {
		struct records records = { 0 };
		struct buf why = { 0 };
		char *name = xasprintf("empty%s", map_suffix(built_types[t]));
		struct build build = { .type = built_types[t], .target = scratch(name), .uid = (uid_t)-1, .gid = (gid_t)-1,
		                       .stamp = { .source = "t", .folding = '-', .syntax = 'p' } };
		struct map *map;

		assert_int_equal(build_map(&build, &records, &why), EX_OK);
		map = open_built(built_types[t], build.target);
		assert_int_equal(map_find(map, "k", &why), MAP_NOT_FOUND);
		map_close(&map);
		buf_free(&why);
		free(name);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(owner_and_mode_stay_unless_given),
		cmocka_unit_test(root_gives_maps_away_and_keeps_their_owner),
		cmocka_unit_test(root_stays_away_from_the_directories_of_others),
		cmocka_unit_test(keys_that_a_type_cannot_hold_name_their_line),
		cmocka_unit_test(trouble_leaves_no_litter),
		cmocka_unit_test(large_maps_hold_all_their_records),
		cmocka_unit_test(an_empty_map_finds_nothing),
	};

	return cmocka_run_group_tests(tests, scratch_begin, scratch_end);
}
