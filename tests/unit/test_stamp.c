#include "tests/unit/unit.h"

#include "db/store/stamp.h"
#include "tests/unit/scratch.h"

static struct stamp sample = {
	.source = "/var/db/fqdn routes", .version = "1.2", .built = 1700000000, .records = 42, .folding = 'l', .syntax = 'a',
};

/* A file of `size` bytes with the stamp's value at `at`. */
static int make_file(const char *name, size_t size, size_t at, struct buf *value)
{
	char *bytes = xmalloc(size);
	int fd;

	for (size_t i = 0; i < size; i++)
		bytes[i] = (char)(i * 7 + i / 251);
	stamp_add(value, &sample);
	assert_true(at + value->len <= size);
	memcpy(bytes + at, value->data, value->len);
	fd = open(scratch_write(name, bytes, size), O_RDWR);
	free(bytes);
	assert_true(fd >= 0);
	return fd;
}

static void a_stamp_can_be_read_again(void **state)
{
	struct buf value = { 0 };
	struct stamp stamp;

	(void)state;
	stamp_add(&value, &sample);
	assert_null(memchr(value.data, '\0', value.len));
	assert_true(stamp_parse(&stamp, value.data, value.len));
	assert_string_equal(stamp.source, sample.source);
	assert_string_equal(stamp.version, "1.2");
	assert_int_equal(stamp.built, 1700000000);
	assert_int_equal(stamp.records, 42);
	assert_int_equal(stamp.folding, 'l');
	assert_int_equal(stamp.syntax, 'a');
	stamp_free(&stamp);
	for (size_t n = 0; n < value.len - strlen(sample.source); n++) {
		bool ok = stamp_parse(&stamp, value.data, n);

		stamp_free(&stamp);
		assert_false(ok);
	}
	assert_false(stamp_parse(&stamp, "smtp!x", 6));
	stamp_free(&stamp);
	buf_free(&value);
}

static void a_broken_seal_is_told_from_the_ruin_of_one(void **state)
{
	struct buf value = { 0 };

	(void)state;
	stamp_add(&value, &sample);
	assert_false(stamp_is_broken(value.data, value.len));
	value.data[0] = STAMP_BROKEN;
	assert_true(stamp_is_broken(value.data, value.len));
	value.data[5] ^= 1;
	assert_false(stamp_is_broken(value.data, value.len));
	assert_false(stamp_is_broken("-", 1));
	assert_false(stamp_is_broken("", 0));
	buf_free(&value);
}

static void no_key_of_a_text_is_the_key_of_the_stamp(void **state)
{
	(void)state;
	assert_int_equal(stamp_key[0], '\0');
	assert_int_equal(stamp_key[STAMP_KEY_LENGTH - 1], '\0');
	assert_int_equal(strlen(stamp_key + 1), STAMP_KEY_LENGTH - 2);
}

/* The borders of the pieces in which files are read are at 512 kB. */
static void a_seal_is_found_wherever_it_stands(void **state)
{
	static const size_t places[] = { 0, 1, 31, 1000, 524288 - 300, 524288 - 40, 524288 - 37, 524288 - 20, 524288 - 1,
	                                 524288, 524288 + 1, 524288 * 2 - 10, 1300000 };

	(void)state;
	for (size_t i = 0; i < sizeof places / sizeof places[0]; i++) {
		struct buf value = { 0 };
		int fd = make_file("sealed", 1400000, places[i], &value);

		assert_int_equal(stamp_check(fd), STAMP_BAD);
		assert_true(stamp_seal(fd));
		assert_int_equal(stamp_check(fd), STAMP_GOOD);
		assert_true(stamp_seal(fd));
		assert_int_equal(stamp_check(fd), STAMP_GOOD);
		close(fd);
		buf_free(&value);
	}
}

static void every_changed_bit_shows(void **state)
{
	struct buf value = { 0 };
	int fd = make_file("sealed", 1000, 300, &value);
	char byte;

	(void)state;
	assert_true(stamp_seal(fd));
	for (off_t at = 0; at < 1000; at++) {
		for (int bit = 0; bit < 8; bit++) {
			enum stamp_state found;

			assert_int_equal(pread(fd, &byte, 1, at), 1);
			byte ^= (char)(1 << bit);
			assert_int_equal(pwrite(fd, &byte, 1, at), 1);
			found = stamp_check(fd);
			/* who destroys the mark of the seal, or makes its digits none, leaves a file without one */
			assert_true(found == STAMP_BAD || (found == STAMP_NONE && at >= 300 && at < 346));
			byte ^= (char)(1 << bit);
			assert_int_equal(pwrite(fd, &byte, 1, at), 1);
		}
	}
	assert_int_equal(stamp_check(fd), STAMP_GOOD);
	close(fd);
	buf_free(&value);
}

static void every_other_length_shows(void **state)
{
	struct buf value = { 0 };
	int fd = make_file("sealed", 1000, 300, &value);

	(void)state;
	assert_true(stamp_seal(fd));
	for (off_t size = 1100; size >= 600; size--) {
		assert_int_equal(ftruncate(fd, size), 0);
		/* what is cut off comes back as zeros */
		if (size != 1000)
			assert_int_equal(stamp_check(fd), STAMP_BAD);
	}
	close(fd);
	buf_free(&value);
}

static void copies_of_a_seal_all_count(void **state)
{
	struct buf value = { 0 };
	int fd = make_file("sealed", 4000, 300, &value);

	(void)state;
	assert_int_equal(pwrite(fd, value.data, value.len, 2000), value.len);
	assert_true(stamp_seal(fd));
	assert_int_equal(stamp_check(fd), STAMP_GOOD);
	assert_int_equal(pwrite(fd, value.data, value.len, 2000), value.len);
	assert_int_equal(stamp_check(fd), STAMP_BAD);
	close(fd);
	buf_free(&value);
}

static void a_broken_seal_is_none(void **state)
{
	struct buf value = { 0 };
	int fd = make_file("sealed", 4000, 300, &value);
	struct stamp stamp;

	(void)state;
	assert_int_equal(pwrite(fd, value.data, value.len, 2000), value.len);
	assert_true(stamp_seal(fd));
	assert_int_not_equal(stamp_break(fd), STAMP_UNREADABLE);
	assert_int_equal(stamp_check(fd), STAMP_NONE);
	assert_int_not_equal(stamp_break(fd), STAMP_UNREADABLE);
	/* what it says about the map stays readable */
	assert_int_equal(pread(fd, value.data, value.len, 300), value.len);
	assert_true(stamp_parse(&stamp, value.data, value.len));
	stamp_free(&stamp);
	close(fd);
	buf_free(&value);
}

static void files_without_a_seal_are_told_apart(void **state)
{
	int fd = open(scratch_write("plain", "hello", 5), O_RDWR);

	(void)state;
	assert_int_equal(stamp_check(fd), STAMP_NONE);
	assert_false(stamp_seal(fd));
	assert_int_not_equal(stamp_break(fd), STAMP_UNREADABLE);
	assert_int_equal(ftruncate(fd, 0), 0);
	assert_int_equal(stamp_check(fd), STAMP_NONE);
	close(fd);
	assert_int_equal(stamp_check(fd), STAMP_UNREADABLE);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_stamp_can_be_read_again),
		cmocka_unit_test(a_broken_seal_is_told_from_the_ruin_of_one),
		cmocka_unit_test(no_key_of_a_text_is_the_key_of_the_stamp),
		cmocka_unit_test(a_seal_is_found_wherever_it_stands),
		cmocka_unit_test(every_changed_bit_shows),
		cmocka_unit_test(every_other_length_shows),
		cmocka_unit_test(copies_of_a_seal_all_count),
		cmocka_unit_test(a_broken_seal_is_none),
		cmocka_unit_test(files_without_a_seal_are_told_apart),
	};

	return cmocka_run_group_tests(tests, scratch_begin, scratch_end);
}
