/* The text by which a map of ldapsync goes to another machine: all of it is believed, or nothing. */
#include "tests/unit/unit.h"

#include <inttypes.h>
#include <sysexits.h>

#include "db/sync/dump.h"
#include "lib/hash.h"
#include "tests/unit/scratch.h"

#define HEAD "ldapsync-dump 1 l\n"

static struct records records, notes;
static struct buf why;

/* Reads a text with that folding; what was read before goes. */
static int read_text(const char *text, size_t n)
{
	const struct loading loading = { .path = "DUMP" };
	const int fd = open(scratch_write("dump", text, n), O_RDONLY);
	int status;

	records_free(&records);
	records_free(&notes);
	buf_clear(&why);
	status = sync_dump_read(&loading, fd, 'l', &records, &notes, &why);
	close(fd);
	return status;
}

/* The same with the end that this text must have, for so many records and notes. */
static int read_body(const char *body, size_t n, unsigned with_records, unsigned with_notes)
{
	struct buf text = { 0 };
	int status;

	buf_add(&text, body, n);
	buf_addf(&text, "=%u %u %016" PRIx64 "\n", with_records, with_notes, hash_bytes(HASH_START, body, n));
	status = read_text(text.data, text.len);
	buf_free(&text);
	return status;
}

static void expect_refused(const char *body, unsigned with_records, unsigned with_notes, const char *what)
{
	assert_int_equal(read_body(body, strlen(body), with_records, with_notes), EX_DATAERR);
	assert_string_equal(buf_str(&why), what);
}

static void a_whole_dump_is_read(void **state)
{
	static const char body[] = HEAD "+ann@d.test\tlmtp!store!ann%2\n+b\\5Cc\tx\\09y\n!ldapsync-cookie-r\t1 \\00\\0A\\7F\n";

	(void)state;
	assert_int_equal(read_body(body, sizeof body - 1, 2, 1), EX_OK);
	assert_int_equal(why.len, 0);
	assert_int_equal(records.count, 2);
	assert_string_equal(records.list[1].key, "b\\c");
	assert_string_equal(records.list[1].value, "x\ty");
	assert_int_equal(notes.count, 1);
	assert_string_equal(notes.list[0].key, "ldapsync-cookie-r");
	assert_int_equal(notes.list[0].value_length, 5);
	assert_memory_equal(notes.list[0].value, "1 \0\n\x7f", 5);
	assert_int_equal(read_body(HEAD, sizeof HEAD - 1, 0, 0), EX_OK);
}

static void a_dump_that_was_cut_off_anywhere_is_refused(void **state)
{
	static const char body[] = HEAD "+ann@d.test\tone\n!ldapsync-cookie-r\t1 \\00\n";
	struct buf text = { 0 };

	(void)state;
	buf_addf(&text, "%s=1 1 %016" PRIx64 "\n", body, hash_bytes(HASH_START, body, sizeof body - 1));
	assert_int_equal(read_text(text.data, text.len), EX_OK);
	for (size_t n = 0; n < text.len; n++) {
		assert_int_equal(read_text(text.data, n), EX_DATAERR);
		assert_non_null(strstr(buf_str(&why), "the dump was cut off"));
	}
	buf_free(&text);
}

static void a_dump_with_any_byte_changed_is_refused(void **state)
{
	static const char body[] = HEAD "+ann@d.test\tone\n!ldapsync-cookie-r\t1 \\00\n";
	struct buf text = { 0 };

	(void)state;
	buf_addf(&text, "%s=1 1 %016" PRIx64 "\n", body, hash_bytes(HASH_START, body, sizeof body - 1));
	for (size_t i = 0; i < text.len; i++) {
		text.data[i] ^= 1;
		assert_int_equal(read_text(text.data, text.len), EX_DATAERR);
		assert_null(strchr(buf_str(&why), '\n'));
		text.data[i] ^= 1;
	}
	buf_addc(&text, '\n');
	assert_int_equal(read_text(text.data, text.len), EX_DATAERR);
	assert_non_null(strstr(buf_str(&why), "after the end"));
	buf_free(&text);
}

static void what_no_dump_has_is_refused_with_its_line(void **state)
{
	(void)state;
	expect_refused("rubbish\n", 0, 0, "DUMP:1: this is no dump of ldapsync -D, or of another version");
	expect_refused("ldapsync-dump 1 u\n", 0, 0, "DUMP:1: the keys of this dump are folded in another way than those of the map (fold)");
	expect_refused(HEAD "rubbish\n", 0, 0, "DUMP:2: no line of a dump");
	expect_refused(HEAD "\n", 0, 0, "DUMP:2: no line of a dump");
	expect_refused(HEAD "+key\n", 1, 0, "DUMP:2: no record of a dump");
	expect_refused(HEAD "+\tvalue\n", 1, 0, "DUMP:2: no record of a dump");
	expect_refused(HEAD "+key\t\\0\n", 1, 0, "DUMP:2: no record of a dump");
	expect_refused(HEAD "+key\t\\0g\n", 1, 0, "DUMP:2: no record of a dump");
	expect_refused(HEAD "+key\tone\n", 2, 0, "DUMP:3: what stands before this line is not what was written: the dump is damaged");
}

static void what_no_map_of_ldapsync_holds_is_refused(void **state)
{
	(void)state;
	/* a note that is told as a record, a key that ends early, a value that does */
	expect_refused(HEAD "+\\00ldapsync-cookie-r\tx\n", 1, 0, "DUMP:2: a control byte in the key");
	expect_refused(HEAD "+ann\\00\tx\n", 1, 0, "DUMP:2: a control byte in the key");
	expect_refused(HEAD "+ann\tx\\00y\n", 1, 0, "DUMP:2: a NUL in the value");
	expect_refused(HEAD "!ldapsync-cookie-r\\00\tx\n", 0, 1, "DUMP:2: a control byte in the key");
	expect_refused(HEAD "!stamp\tx\n", 0, 1, "DUMP:2: no note of ldapsync");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_whole_dump_is_read),
		cmocka_unit_test(a_dump_that_was_cut_off_anywhere_is_refused),
		cmocka_unit_test(a_dump_with_any_byte_changed_is_refused),
		cmocka_unit_test(what_no_dump_has_is_refused_with_its_line),
		cmocka_unit_test(what_no_map_of_ldapsync_holds_is_refused),
	};
	int failed = cmocka_run_group_tests(tests, scratch_begin, scratch_end);

	records_free(&records);
	records_free(&notes);
	buf_free(&why);
	return failed;
}
