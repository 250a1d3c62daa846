#include "tests/unit/unit.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <sysexits.h>
#include <unistd.h>

#include "db/live/cdb/journal.h"
#include "lib/file.h"

static char path[] = "/tmp/zlmtp-journal-XXXXXX";
static struct buf why;

static void put(struct changes *c, const char *key, const char *value)
{
	if (value != NULL)
		changes_put(c, key, strlen(key), value, strlen(value));
	else
		changes_remove(c, key, strlen(key));
}

static void add(struct journal_writer *w, const char *key, const char *value)
{
	struct change c = { key, value, (uint32_t)strlen(key), (uint32_t)strlen(value) };

	journal_add(w, &c);
}

/* A journal with base a=1 b=2 d=4. */
static void make(void)
{
	struct journal_writer w;

	assert_int_equal(journal_begin(&w, path, NULL, 0, "/nowhere", &why), EX_OK);
	add(&w, "a", "1");
	add(&w, "b", "2");
	add(&w, "d", "4");
	assert_int_equal(journal_commit(&w, &why), EX_OK);
}

static void append(struct journal *j, const char *key, const char *value)
{
	struct changes c = { 0 };
	struct buf bytes = { 0 };

	put(&c, key, value);
	changes_encode(&c, &bytes);
	assert_int_equal(journal_append(j, c.count, &bytes, &why), EX_OK);
	changes_free(&c);
	buf_free(&bytes);
}

static int collect(void *context, const struct change *c, struct buf *text)
{
	struct buf *out = context;

	(void)text;
	buf_addf(out, "%.*s", (int)c->key_length, c->key);
	if (c->value != NULL)
		buf_addf(out, "=%.*s ", (int)c->value_length, c->value);
	else
		buf_adds(out, "- ");
	return EX_OK;
}

static void state_is(const struct journal *j, const char *expect)
{
	struct buf out = { 0 };

	assert_int_equal(journal_state(j, collect, &out, &why), EX_OK);
	assert_string_equal(buf_str(&out), expect);
	buf_free(&out);
}

static int remove_file(void **state)
{
	(void)state;
	unlink(path);
	buf_clear(&why);
	return 0;
}

static void the_state_is_base_and_batches(void **state)
{
	struct journal j;
	struct buf out = { 0 };

	(void)state;
	make();
	assert_int_equal(journal_open(&j, path, &why), EX_OK);
	assert_int_equal(j.last, 0);
	state_is(&j, "a=1 b=2 d=4 ");
	append(&j, "c", "3");
	append(&j, "a", NULL);
	append(&j, "b", "two");
	append(&j, "z", "26");
	assert_int_equal(j.last, 4);
	journal_close(&j);
	assert_int_equal(journal_open(&j, path, &why), EX_OK);
	assert_int_equal(j.last, 4);
	state_is(&j, "b=two c=3 d=4 z=26 ");
	assert_int_equal(journal_replay(&j, 2, collect, &out, &why), EX_OK);
	assert_string_equal(buf_str(&out), "b=two z=26 ");
	buf_free(&out);
	journal_close(&j);
}

/* Records end anywhere in what is read at once, and one is longer than that. */
static void a_base_of_many_pieces_is_whole(void **state)
{
	struct buf expect = { 0 }, value = { 0 };
	struct journal_writer w;
	struct journal j;

	(void)state;
	assert_int_equal(journal_begin(&w, path, NULL, 0, "/nowhere", &why), EX_OK);
	for (int i = 0; i < 3000; i++) {
		char key[16];

		snprintf(key, sizeof key, "key%04d", i);
		buf_clear(&value);
		for (int n = i == 1500 ? 700000 : 300 + i % 7; n > 0; n--)
			buf_addc(&value, (char)('a' + (i + n) % 26));
		add(&w, key, value.data);
		if (i == 2999)
			buf_addf(&expect, "key2998x=new ");
		if (i != 1)
			buf_addf(&expect, "%s=%s ", key, value.data);
	}
	assert_int_equal(journal_commit(&w, &why), EX_OK);
	assert_int_equal(journal_open(&j, path, &why), EX_OK);
	append(&j, "key0001", NULL);
	append(&j, "key2998x", "new");
	state_is(&j, buf_str(&expect));
	assert_int_equal(journal_compact(&j, &why), EX_OK);
	state_is(&j, buf_str(&expect));
	journal_close(&j);
	buf_free(&expect);
	buf_free(&value);
}

static void compaction_keeps_id_numbers_and_state(void **state)
{
	struct journal j;
	char id[JOURNAL_ID + 1];

	(void)state;
	make();
	assert_int_equal(journal_open(&j, path, &why), EX_OK);
	append(&j, "c", "3");
	append(&j, "a", NULL);
	strcpy(id, j.id);
	assert_int_equal(journal_compact(&j, &why), EX_OK);
	assert_string_equal(j.id, id);
	assert_int_equal(j.first, 2);
	assert_int_equal(j.last, 2);
	append(&j, "e", "5");
	assert_int_equal(j.last, 3);
	state_is(&j, "b=2 c=3 d=4 e=5 ");
	journal_close(&j);
}

static void another_process_is_followed(void **state)
{
	struct journal mine, other;

	(void)state;
	make();
	assert_int_equal(journal_open(&mine, path, &why), EX_OK);
	assert_int_equal(journal_open(&other, path, &why), EX_OK);
	append(&other, "c", "3");
	assert_int_equal(journal_refresh(&mine, &why), EX_OK);
	assert_int_equal(mine.last, 1);
	append(&mine, "e", "5");
	assert_int_equal(journal_refresh(&other, &why), EX_OK);
	assert_int_equal(journal_compact(&other, &why), EX_OK);
	append(&other, "f", "6");
	assert_int_equal(journal_refresh(&mine, &why), EX_OK);
	assert_int_equal(mine.last, 3);
	state_is(&mine, "a=1 b=2 c=3 d=4 e=5 f=6 ");
	journal_close(&mine);
	journal_close(&other);
}

static void an_unfinished_batch_at_the_end_is_as_if_never_written(void **state)
{
	struct journal j;
	struct stat st;

	(void)state;
	make();
	assert_int_equal(journal_open(&j, path, &why), EX_OK);
	append(&j, "c", "3");
	append(&j, "e", "5");
	journal_close(&j);
	assert_int_equal(stat(path, &st), 0);
	for (off_t size = st.st_size - 1;; size--) {
		assert_int_equal(truncate(path, size), 0);
		assert_int_equal(journal_open(&j, path, &why), EX_OK);
		if (j.last == 0)
			break;
		assert_int_equal(j.last, 1);
		journal_close(&j);
	}
	/* the next one is longer or shorter than what is left; nothing of that shows through */
	append(&j, "c", "3");
	append(&j, "f", "6");
	journal_close(&j);
	assert_int_equal(journal_open(&j, path, &why), EX_OK);
	state_is(&j, "a=1 b=2 c=3 d=4 f=6 ");
	journal_close(&j);
}

static void zeros_at_the_end_are_a_cut_write(void **state)
{
	struct journal j;
	struct stat st;

	(void)state;
	make();
	assert_int_equal(journal_open(&j, path, &why), EX_OK);
	append(&j, "c", "3");
	journal_close(&j);
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(truncate(path, st.st_size + 5000), 0);
	assert_int_equal(journal_open(&j, path, &why), EX_OK);
	assert_int_equal(j.last, 1);
	append(&j, "e", "5");
	state_is(&j, "a=1 b=2 c=3 d=4 e=5 ");
	journal_close(&j);
}

/* True if a change of byte `at` went unnoticed and shows in the state. */
static bool lies(const struct buf *good, size_t at, const char *expect)
{
	struct journal j;
	struct buf out = { 0 };
	char byte = (char)(good->data[at] ^ 1);
	int fd = open(path, O_WRONLY);
	bool lie = false;

	assert_true(pwrite(fd, &byte, 1, (off_t)at) == 1);
	if (journal_open(&j, path, &why) == EX_OK) {
		lie = journal_state(&j, collect, &out, &why) == EX_OK && j.last == 2 && strcmp(buf_str(&out), expect) != 0;
		journal_close(&j);
	}
	assert_true(pwrite(fd, good->data + at, 1, (off_t)at) == 1);
	close(fd);
	buf_free(&out);
	return lie;
}

static void no_changed_byte_becomes_a_wrong_record(void **state)
{
	struct journal j;
	struct buf good = { 0 };

	(void)state;
	make();
	assert_int_equal(journal_open(&j, path, &why), EX_OK);
	append(&j, "c", "3");
	append(&j, "e", "5");
	journal_close(&j);
	assert_true(file_read_path(path, &good));
	for (size_t at = 0; at < good.len; at++)
		if (lies(&good, at, "a=1 b=2 c=3 d=4 e=5 "))
			fail_msg("byte %zu", at);
	buf_free(&good);
}

static void damage_before_the_end_is_told_with_its_place(void **state)
{
	struct journal j;
	int fd;

	(void)state;
	make();
	assert_int_equal(journal_open(&j, path, &why), EX_OK);
	append(&j, "c", "3");
	append(&j, "e", "5");
	fd = open(path, O_WRONLY);
	assert_true(pwrite(fd, "X", 1, j.base_end + 10) == 1);
	close(fd);
	journal_close(&j);
	assert_int_equal(journal_open(&j, path, &why), EX_DATAERR);
	assert_non_null(strstr(buf_str(&why), "damaged at byte"));
}

static void no_journal_is_no_error(void **state)
{
	struct journal j;

	(void)state;
	assert_int_equal(journal_open(&j, path, &why), EX_NOINPUT);
	assert_int_equal(why.len, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(the_state_is_base_and_batches, remove_file),
		cmocka_unit_test_setup(a_base_of_many_pieces_is_whole, remove_file),
		cmocka_unit_test_setup(compaction_keeps_id_numbers_and_state, remove_file),
		cmocka_unit_test_setup(another_process_is_followed, remove_file),
		cmocka_unit_test_setup(an_unfinished_batch_at_the_end_is_as_if_never_written, remove_file),
		cmocka_unit_test_setup(zeros_at_the_end_are_a_cut_write, remove_file),
		cmocka_unit_test_setup(no_changed_byte_becomes_a_wrong_record, remove_file),
		cmocka_unit_test_setup(damage_before_the_end_is_told_with_its_place, remove_file),
		cmocka_unit_test_setup(no_journal_is_no_error, remove_file),
	};
	int failed, fd = mkstemp(path);

	close(fd);
	failed = cmocka_run_group_tests(tests, NULL, NULL);
	unlink(path);
	buf_free(&why);
	return failed;
}
