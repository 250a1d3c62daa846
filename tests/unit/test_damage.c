/*
 * Maps with every byte destroyed in turn, and cut at every length: never a crash, never a wrong answer of a
 * sealed map, and in maps without a seal only where nobody could know better.
 */
#include "tests/unit/unit.h"

#include <signal.h>

#include "db/store/stamp.h"
#include "tests/unit/built.h"

/* libdb frees less than it took when a file turns out to be damaged. */
const char *__lsan_default_suppressions(void);
const char *__lsan_default_suppressions(void)
{
	return "leak:libdb-5.3.so\n";
}

/* With every byte of an unsealed map a process is started; the full round is for "make soak". */
static size_t stride(void)
{
	return getenv("ZLMTP_SOAK") != NULL ? 1 : 41;
}

/* The magic number of each type is within so many bytes. */
#define HEAD 32

static struct buf original;

static void load(const char *path)
{
	buf_clear(&original);
	assert_true(file_read_path(path, &original));
}

/* What the bytes of a record were nobody can know without the checksum. */
static bool is_in_record(size_t at)
{
	for (size_t i = 0; i < BUILT_RECORDS; i++) {
		for (int k = 0; k < 2; k++) {
			const char *text = built_records[i][k];
			size_t n = strlen(text) + 1;
			const char *p = original.data;

			while (n > 1 && (p = memmem(p, original.len - (size_t)(p - original.data), text, n)) != NULL) {
				if (at >= (size_t)(p - original.data) && at < (size_t)(p - original.data) + n)
					return true;
				p++;
			}
		}
	}
	return false;
}

/* Asks for all keys.  How many answers are wrong, an empty value that got a byte not counted, and how many unknown. */
static void ask_all(struct map *map, unsigned *wrong, unsigned *unknown)
{
	for (size_t i = 0; i <= BUILT_RECORDS; i++) {
		bool there = i < BUILT_RECORDS;
		struct buf value = { 0 };

		switch (map_find(map, there ? built_records[i][0] : "nobody", &value)) {
		case MAP_FOUND:
			*wrong += !there || (strcmp(buf_str(&value), built_records[i][1]) != 0 && built_records[i][1][0] != '\0');
			break;
		case MAP_NOT_FOUND:
			*wrong += there;
			break;
		case MAP_COULD_NOT_TELL:
			assert_true(map_error(map)[0] != '\0');
			++*unknown;
			break;
		}
		buf_free(&value);
	}
}

static bool count(void *context, const char *key, size_t key_length, const char *value, size_t value_length)
{
	unsigned *n = context;

	(void)key, (void)key_length, (void)value, (void)value_length;
	return ++*n < 1000;
}

static void try_bytes(const char *type, const char *bytes, size_t n, unsigned *wrong, unsigned *unknown)
{
	char *name = xasprintf("damaged%s", map_suffix(type));
	struct map *map = open_built(type, scratch_write(name, bytes, n));
	unsigned records = 0;

	ask_all(map, wrong, unknown);
	if (map_walk(map, count, &records) == MAP_FOUND && *unknown == 0 && *wrong == 0)
		assert_int_equal(records, BUILT_RECORDS);
	map_close(&map);
	free(name);
}

static void a_sealed_map_gives_right_answers_or_none(void **state)
{
	static const unsigned char masks[] = { 0x01, 0x80, 0xff };

	(void)state;
	for (size_t t = 0; t < BUILT_TYPES; t++) {
		const size_t step = getenv("ZLMTP_LONG") != NULL || getenv("ZLMTP_SOAK") != NULL ? 1 : 7;
		unsigned wrong = 0, unknown = 0;

		load(build_small(built_types[t], "m"));
		for (size_t at = 0; at < original.len; at += step) {
			char was = original.data[at];

			original.data[at] ^= (char)masks[at % 3];
			try_bytes(built_types[t], original.data, original.len, &wrong, &unknown);
			original.data[at] = was;
		}
		assert_int_equal(wrong, 0);
		assert_true(unknown > original.len / step * BUILT_RECORDS * 9 / 10);
	}
}

static void a_map_without_seal_never_crashes(void **state)
{
	(void)state;
	for (size_t t = 0; t < BUILT_TYPES; t++) {
		unsigned unknown = 0;
		int fd = open(build_small(built_types[t], "m"), O_RDWR);

		assert_int_not_equal(stamp_break(fd), STAMP_UNREADABLE);
		close(fd);
		load(scratch(t == 0 ? "m.db" : t == 1 ? "m.dbh" : "m.lmdb"));
		/* the head of a file counts in every type, whatever the stride meets behind it */
		for (size_t at = 0; at < original.len; at += at < HEAD ? 1 : stride()) {
			unsigned wrong = 0;
			char was = original.data[at];

			original.data[at] = (char)~was;
			try_bytes(built_types[t], original.data, original.len, &wrong, &unknown);
			original.data[at] = was;
			if (wrong > 0 && !is_in_record(at))
				print_message("# %s: byte %zu (%02x) gives %u wrong answers\n", built_types[t], at, was & 255, wrong);
			assert_true(wrong == 0 || is_in_record(at));
		}
		assert_true(unknown > 0);
	}
}

static void a_shortened_map_never_answers(void **state)
{
	(void)state;
	for (size_t t = 0; t < BUILT_TYPES; t++) {
		for (int sealed = 0; sealed < 2; sealed++) {
			const char *path = build_small(built_types[t], "m");
			int fd = open(path, O_RDWR);

			assert_true(sealed || stamp_break(fd) != STAMP_UNREADABLE);
			close(fd);
			load(path);
			for (size_t n = 0; n < original.len; n += sealed ? 13 : 13 * stride()) {
				unsigned wrong = 0, unknown = 0;

				try_bytes(built_types[t], original.data, n, &wrong, &unknown);
				assert_int_equal(wrong, 0);
			}
		}
	}
}

/* The answers of a map that was open when its file was damaged: right, as long as libraries have it in memory, or none. */
static void expect_no_wrong_answer(struct map *map)
{
	for (size_t i = 0; i <= BUILT_RECORDS; i++) {
		bool there = i < BUILT_RECORDS;
		struct buf value = { 0 };
		enum map_answer answer = map_find(map, there ? built_records[i][0] : "nobody", &value);

		assert_true(answer == MAP_COULD_NOT_TELL || (answer == MAP_FOUND) == there);
		assert_true(answer != MAP_FOUND || strcmp(buf_str(&value), built_records[i][1]) == 0);
		buf_free(&value);
	}
}

static struct map *open_and_ask(const char *type, bool sealed, bool ask)
{
	const char *path = build_small(type, "m");
	int fd = open(path, O_RDWR);
	struct buf value = { 0 };
	struct map *map;

	assert_true(sealed || stamp_break(fd) != STAMP_UNREADABLE);
	close(fd);
	map = open_built(type, path);
	assert_true(map_ready(map));
	if (ask)
		assert_int_equal(map_find(map, built_records[0][0], &value), MAP_FOUND);
	buf_free(&value);
	return map;
}

static void a_map_cut_off_while_it_is_open_gives_no_wrong_answer(void **state)
{
	static const off_t ends[] = { 0, 1, 100, 4095, 4096, 4200, 6000, 8191, 8192, 8300, 12287, 12288, 14000 };

	(void)state;
	for (size_t t = 0; t < BUILT_TYPES; t++) {
		for (size_t n = 0; n < 4 * sizeof ends / sizeof ends[0]; n++) {
			struct map *map = open_and_ask(built_types[t], n & 1, n & 2);
			struct stat st;
			unsigned records = 0;

			assert_int_equal(stat(map->path, &st), 0);
			if (ends[n / 4] < st.st_size) {
				assert_int_equal(truncate(map->path, ends[n / 4]), 0);
				expect_no_wrong_answer(map);
				if (map_walk(map, count, &records) == MAP_FOUND)
					assert_int_equal(records, BUILT_RECORDS);
			}
			map_close(&map);
		}
	}
}

/* Nobody can tell what was damaged in a record itself; here all else is. */
static void garbage_under_an_open_map_is_no_crash(void **state)
{
	(void)state;
	for (size_t t = 0; t < BUILT_TYPES; t++) {
		for (unsigned n = 0; n < 4; n++) {
			struct map *map = open_and_ask(built_types[t], n & 1, n & 2);
			char garbage[4096];
			int fd = open(map->path, O_RDWR);

			memset(garbage, n & 1 ? 0xff : 0x5a, sizeof garbage);
			for (off_t at = 0; pread(fd, garbage, 1, at) == 1; at += 4096)
				assert_int_equal(pwrite(fd, garbage, sizeof garbage, at), sizeof garbage);
			close(fd);
			expect_no_wrong_answer(map);
			map_close(&map);
		}
	}
}

static int end(void **state)
{
	buf_free(&original);
	return scratch_end(state);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_sealed_map_gives_right_answers_or_none),
		cmocka_unit_test(a_map_without_seal_never_crashes),
		cmocka_unit_test(a_shortened_map_never_answers),
		cmocka_unit_test(a_map_cut_off_while_it_is_open_gives_no_wrong_answer),
		cmocka_unit_test(garbage_under_an_open_map_is_no_crash),
	};

	return cmocka_run_group_tests(tests, scratch_begin, end);
}
