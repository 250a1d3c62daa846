#include "tests/unit/unit.h"

#include <ctype.h>
#include <fcntl.h>
#include <sys/stat.h>

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

#define TIME_WIDTH 25

static void fits(const char *line, const char *form)
{
	for (size_t i = 0; form[i] != '\0'; i++) {
		if (form[i] == 'X')
			assert_true(isxdigit((unsigned char)line[i]));
		else if (form[i] == 'd')
			assert_true(isdigit((unsigned char)line[i]));
		else
			assert_int_equal(line[i], form[i]);
	}
}

/* The text behind the time, "%05d%04X-%04d-%04d" and the kind. */
static const char *text_of(const char *line, char kind)
{
	fits(line, "dddd-dd-ddTdd:dd:dd.dddZ ");
	line += TIME_WIDTH;
	fits(line, "dddddXXXX-dddd-dddd");
	assert_int_equal(line[19], kind);
	assert_int_equal(line[20], '\t');
	return line + 21;
}

static void lines_are_numbered_and_of_three_kinds(void **state)
{
	struct transcript t = { 0 };
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
	assert_memory_equal(log + TIME_WIDTH + 9, "-0000-", 6);
	log = strchr(log, '\n') + 1;
	assert_memory_equal(text_of(log, 'r'), "250 ok\n", 7);
	assert_memory_equal(log + TIME_WIDTH + 9, "-0001-", 6);
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
		struct transcript t = { 0 };
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
	struct transcript t = { 0 };
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
	struct transcript t = { 0 };
	struct stat st;

	(void)state;
	umask(0);
	open_log(&t);
	transcript_add(&t, '#', "first", 5);
	close(t.fd);
	assert_true(transcript_open(&t, scratch("log")));
	transcript_add(&t, '#', "second", 6);
	close(t.fd);
	assert_non_null(strstr(read_back(), "first\n"));
	assert_non_null(strstr(read_back(), "second\n"));
	assert_int_equal(stat(scratch("log"), &st), 0);
	assert_int_equal(st.st_mode & 07777, 0600);
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

/* Half a second has passed. */
static void time_passes(struct transcript *t)
{
	t->look_again = 0;
}

static void a_file_that_was_moved_or_removed_is_made_again(void **state)
{
	char path[200], old[200];
	struct transcript t = { 0 };
	struct buf text = { 0 };

	(void)state;
	snprintf(path, sizeof path, "%s", scratch("log"));
	snprintf(old, sizeof old, "%s", scratch("log.1"));
	unlink(path);
	assert_true(transcript_open(&t, path));
	transcript_addf(&t, "one");
	assert_int_equal(rename(path, old), 0);
	transcript_addf(&t, "two");
	assert_int_equal(access(path, F_OK), -1);
	time_passes(&t);
	transcript_addf(&t, "three");
	assert_non_null(strstr(read_back(), "three"));
	assert_null(strstr(read_back(), "two"));
	assert_true(file_read_path(old, &text));
	assert_non_null(strstr(buf_str(&text), "one"));
	assert_non_null(strstr(buf_str(&text), "two"));
	assert_null(strstr(buf_str(&text), "three"));
	assert_int_equal(unlink(path), 0);
	time_passes(&t);
	transcript_addf(&t, "{\"json\":4}");
	assert_non_null(strstr(read_back(), "\t{\"json\":4}\n"));
	/* another file under the name, as from "create" of logrotate */
	assert_int_equal(rename(path, old), 0);
	scratch_text("log", "");
	time_passes(&t);
	transcript_addf(&t, "five");
	assert_non_null(strstr(read_back(), "five"));
	close(t.fd);
	buf_free(&text);
}

static bool holds(const char *path, const char *text)
{
	struct buf bytes = { 0 };
	bool found = file_read_path(path, &bytes) && strstr(buf_str(&bytes), text) != NULL;

	buf_free(&bytes);
	return found;
}

/* Each of these is another file under the name, or the same one cut short; what was there is not written to any more. */
static void however_a_log_is_rotated_its_name_is_followed(void **state)
{
	char path[220], directory[200], away[200], first[220], second[220];
	struct transcript t = { 0 };

	(void)state;
	snprintf(directory, sizeof directory, "%s", scratch("rotated"));
	snprintf(away, sizeof away, "%s", scratch("away"));
	snprintf(path, sizeof path, "%s/log", directory);
	snprintf(first, sizeof first, "%s/log", away);
	snprintf(second, sizeof second, "%s/log.1", directory);
	assert_int_equal(mkdir(directory, 0700), 0);
	assert_true(transcript_open(&t, path));
	transcript_addf(&t, "one");
	/* its directory is another one */
	assert_int_equal(rename(directory, away), 0);
	assert_int_equal(mkdir(directory, 0700), 0);
	time_passes(&t);
	transcript_addf(&t, "two");
	assert_true(holds(path, "two") && !holds(first, "two") && holds(first, "one"));
	/* "copytruncate" */
	assert_int_equal(truncate(path, 0), 0);
	transcript_addf(&t, "three");
	assert_true(holds(path, "three") && !holds(path, "two"));
	/* a pipe without a reader, a directory: the old file is better than none */
	assert_int_equal(rename(path, second), 0);
	assert_int_equal(mkfifo(path, 0600), 0);
	time_passes(&t);
	transcript_addf(&t, "four");
	assert_true(holds(second, "four"));
	assert_int_equal(unlink(path), 0);
	assert_int_equal(mkdir(path, 0700), 0);
	time_passes(&t);
	transcript_addf(&t, "five");
	assert_true(holds(second, "five"));
	/* and when there can be one again, it is found */
	assert_int_equal(rmdir(path), 0);
	time_passes(&t);
	transcript_addf(&t, "six");
	assert_true(holds(path, "six") && !holds(second, "six"));
	/* the old one comes back */
	assert_int_equal(rename(second, path), 0);
	time_passes(&t);
	transcript_addf(&t, "seven");
	assert_true(holds(path, "seven") && holds(path, "four"));
	close(t.fd);
	unlink(path);
	rmdir(directory);
	unlink(first);
	rmdir(away);
}

static void a_file_that_cannot_be_made_again_leaves_the_old_one(void **state)
{
	char path[200], directory[200], away[200], moved[220];
	struct transcript t = { 0 };
	struct buf text = { 0 };

	(void)state;
	snprintf(directory, sizeof directory, "%s", scratch("logs"));
	snprintf(away, sizeof away, "%s", scratch("away"));
	snprintf(path, sizeof path, "%s/x", scratch("logs"));
	snprintf(moved, sizeof moved, "%s/x", away);
	assert_int_equal(mkdir(directory, 0700), 0);
	assert_true(transcript_open(&t, path));
	assert_int_equal(rename(directory, away), 0);
	time_passes(&t);
	transcript_addf(&t, "still here");
	assert_true(file_read_path(moved, &text));
	assert_non_null(strstr(buf_str(&text), "still here"));
	assert_int_equal(fcntl(t.fd, F_GETFD) & FD_CLOEXEC, FD_CLOEXEC);
	close(t.fd);
	buf_free(&text);
	unlink(moved);
	rmdir(away);
}

static void a_pipe_without_a_reader_is_no_log(void **state)
{
	struct transcript t = { 0 };
	char path[200];

	(void)state;
	snprintf(path, sizeof path, "%s", scratch("pipe"));
	assert_int_equal(mkfifo(path, 0600), 0);
	assert_false(transcript_open(&t, path));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(lines_are_numbered_and_of_three_kinds),
		cmocka_unit_test(several_lines_at_once_become_a_line_each),
		cmocka_unit_test(bytes_from_outside_stay_one_clean_line),
		cmocka_unit_test(a_log_is_added_to),
		cmocka_unit_test(without_a_log_nothing_happens),
		cmocka_unit_test(a_file_that_was_moved_or_removed_is_made_again),
		cmocka_unit_test(however_a_log_is_rotated_its_name_is_followed),
		cmocka_unit_test(a_file_that_cannot_be_made_again_leaves_the_old_one),
		cmocka_unit_test(a_pipe_without_a_reader_is_no_log),
	};

	return cmocka_run_group_tests(tests, scratch_begin, end);
}
