#include "tests/unit/unit.h"

#include <ctype.h>

#include "channel/net/transcript.h"
#include "tests/unit/scratch.h"

static struct buf content;

static const char *read_back(void)
{
	buf_clear(&content);
	assert_true(file_read_path(scratch("log"), &content));
	return buf_str(&content);
}

static void open_log(struct transcript *t)
{
	unlink(scratch("log"));
	assert_true(transcript_open(t, scratch("log")));
}

/* The text behind "%05d%04X-%04d-%04d" and the kind. */
static const char *text_of(const char *line, char kind)
{
	static const char form[] = "dddddXXXX-dddd-dddd";

	for (size_t i = 0; i < sizeof form - 1; i++) {
		if (form[i] == '-')
			assert_int_equal(line[i], '-');
		else
			assert_true(form[i] == 'X' ? isxdigit((unsigned char)line[i]) : isdigit((unsigned char)line[i]));
	}
	assert_int_equal(line[19], kind);
	assert_int_equal(line[20], '\t');
	return line + 21;
}

static void lines_are_numbered_and_of_three_kinds(void **state)
{
	struct transcript t;
	const char *log;

	(void)state;
	open_log(&t);
	transcript_add(&t, 'w', "MAIL FROM:<>", 12);
	transcript_add(&t, 'r', "250 ok", 6);
	transcript_addf(&t, "remark %d %s", 1, "x%s");
	log = read_back();
	/* pids have more digits than five on large machines */
	if (getpid() > 99999)
		return;
	assert_memory_equal(text_of(log, 'w'), "MAIL FROM:<>\n", 13);
	assert_memory_equal(log + 9, "-0000-", 6);
	log = strchr(log, '\n') + 1;
	assert_memory_equal(text_of(log, 'r'), "250 ok\n", 7);
	assert_memory_equal(log + 9, "-0001-", 6);
	log = strchr(log, '\n') + 1;
	assert_string_equal(text_of(log, '#'), "remark 1 x%s\n");
	close(t.fd);
}

static void several_lines_at_once_become_a_line_each(void **state)
{
	static const struct { const char *bytes; const char *lines[4]; } rows[] = {
		{ "MAIL\r\nRCPT\r\nDATA\r\n", { "MAIL\n", "RCPT\n", "DATA\n" } },
		{ "one\ntwo", { "one\n", "two\n" } },
		{ "\r\n", { "\n" } },
		{ "a\r\r\n", { "a \n" } },
		{ "", { NULL } },
	};

	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		struct transcript t;
		const char *log;

		open_log(&t);
		transcript_add_lines(&t, 'w', rows[i].bytes, strlen(rows[i].bytes));
		log = read_back();
		for (size_t n = 0; n < 4 && rows[i].lines[n] != NULL; n++) {
			const char *text = strchr(log, '\t') + 1;

			assert_memory_equal(text, rows[i].lines[n], strlen(rows[i].lines[n]));
			log = strchr(log, '\n') + 1;
		}
		assert_string_equal(log, "");
		close(t.fd);
	}
}

static void bytes_from_outside_stay_one_clean_line(void **state)
{
	struct transcript t;
	struct buf big = { 0 };
	const char *log;

	(void)state;
	open_log(&t);
	transcript_add(&t, 'r', "250 a\r\n250 b\x1b[2J\xff\0c", 19);
	log = read_back();
	assert_string_equal(strchr(log, '\t') + 1, "250 a 250 b [2J? c\n");
	close(t.fd);
	open_log(&t);
	for (int i = 0; i < 100000; i++)
		buf_addc(&big, 'x');
	transcript_add(&t, 'r', big.data, big.len);
	log = read_back();
	assert_true(strlen(log) < 10000);
	assert_string_equal(log + strlen(log) - 4, "...\n");
	close(t.fd);
	buf_free(&big);
}

static void a_log_is_added_to(void **state)
{
	struct transcript t;
	struct stat st;

	(void)state;
	umask(022);
	open_log(&t);
	transcript_add(&t, '#', "first", 5);
	close(t.fd);
	assert_true(transcript_open(&t, scratch("log")));
	transcript_add(&t, '#', "second", 6);
	close(t.fd);
	assert_non_null(strstr(read_back(), "first\n"));
	assert_non_null(strstr(read_back(), "second\n"));
	assert_int_equal(stat(scratch("log"), &st), 0);
	assert_int_equal(st.st_mode & 07777, 0644);
}

static void without_a_log_nothing_happens(void **state)
{
	struct transcript t = { .fd = -1 };

	(void)state;
	transcript_add(&t, 'w', "x", 1);
	transcript_addf(&t, "%s", "x");
	transcript_add_lines(&t, 'w', "x\n", 2);
	assert_int_equal(t.lines, 0);
	assert_false(transcript_open(&t, scratch("no/such/directory")));
	transcript_add(&t, 'w', "x", 1);
}

static int end(void **state)
{
	buf_free(&content);
	return scratch_end(state);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(lines_are_numbered_and_of_three_kinds),
		cmocka_unit_test(several_lines_at_once_become_a_line_each),
		cmocka_unit_test(bytes_from_outside_stay_one_clean_line),
		cmocka_unit_test(a_log_is_added_to),
		cmocka_unit_test(without_a_log_nothing_happens),
	};

	return cmocka_run_group_tests(tests, scratch_begin, end);
}
