#include "tests/unit/unit.h"

#include <sys/stat.h>
#include <sysexits.h>
#include <unistd.h>

#include "db/sync/domains.h"
#include "lib/clock.h"
#include "lib/file.h"

static char directory[] = "/tmp/zl-domains-XXXXXX";
static char path[100];

static int begin(void **state)
{
	(void)state;
	assert_non_null(mkdtemp(directory));
	snprintf(path, sizeof path, "%s/list", directory);
	return 0;
}

static int end(void **state)
{
	(void)state;
	unlink(path);
	return rmdir(directory);
}

static void check_file(const char *lines)
{
	struct buf text = { 0 };

	assert_true(file_read_path(path, &text));
	assert_int_equal(text.data[0], '#');
	assert_string_equal(strchr(text.data, '\n') + 1, lines);
	buf_free(&text);
}

static void the_file_is_written_when_it_says_something_else(void **state)
{
	char *command[] = { "/bin/true", NULL };
	char *one[] = { "a.example", NULL }, *two[] = { "a.example", "b.example", NULL };
	struct domains d = { .path = path, .command = command };
	struct buf why = { 0 };
	struct stat before, after;

	(void)state;
	assert_int_equal(domains_write(&d, one, &why), EX_OK);
	check_file("a.example\n");
	assert_true(d.must_run);
	d.must_run = false;
	assert_int_equal(chmod(path, 0604), 0);
	assert_int_equal(stat(path, &before), 0);
	assert_int_equal(domains_write(&d, one, &why), EX_OK);
	assert_int_equal(stat(path, &after), 0);
	assert_int_equal(before.st_ino, after.st_ino);
	assert_false(d.must_run);
	assert_int_equal(domains_write(&d, two, &why), EX_OK);
	check_file("a.example\nb.example\n");
	assert_int_equal(stat(path, &after), 0);
	assert_int_equal(after.st_mode & 07777, 0604);
	assert_true(d.must_run);
	unlink(path);
}

static void lines_have_the_form_that_was_asked_for(void **state)
{
	struct buf why = { 0 };
	struct template *format = template_parse("{domain} relaytarget + %{{", &why);
	struct domains d = { .path = path, .format = format };
	char *list[] = { "a.example", "b.example", NULL };

	(void)state;
	assert_int_equal(domains_write(&d, list, &why), EX_OK);
	check_file("a.example relaytarget + %{\nb.example relaytarget + %{\n");
	assert_false(d.must_run);
	template_free(&format);
	unlink(path);
}

static void many_domains_do_not_go_at_once(void **state)
{
	static char names[300][20];
	char *list[301], *nothing[] = { NULL };
	struct domains d = { .path = path };
	struct buf why = { 0 };

	(void)state;
	for (size_t i = 0; i < 300; i++) {
		snprintf(names[i], sizeof names[i], "d%03zu.example", i);
		list[i] = names[i];
	}
	list[300] = NULL;
	assert_int_equal(domains_write(&d, list, &why), EX_OK);
	list[239] = NULL;
	assert_int_equal(domains_write(&d, list, &why), EX_TEMPFAIL);
	assert_non_null(strstr(buf_str(&why), "61 of 300 domains would be removed"));
	list[239] = names[239];
	list[240] = NULL;
	assert_int_equal(domains_write(&d, list, &why), EX_OK);
	list[3] = NULL;
	assert_int_equal(domains_write(&d, list, &why), EX_TEMPFAIL);
	d.may_shrink = true;
	assert_int_equal(domains_write(&d, list, &why), EX_OK);
	d.may_shrink = false;
	/* even the last few, for then no mail would be taken at all */
	assert_int_equal(domains_write(&d, nothing, &why), EX_TEMPFAIL);
	list[1] = NULL;
	assert_int_equal(domains_write(&d, list, &why), EX_OK);
	check_file("d000.example\n");
	buf_free(&why);
	unlink(path);
}

static void no_list_is_made_of_nothing(void **state)
{
	struct domains d = { .path = path };
	char *nothing[] = { NULL };
	struct buf why = { 0 };

	(void)state;
	/* it would tell the SMTP server to take no mail at all */
	assert_int_equal(domains_write(&d, nothing, &why), EX_TEMPFAIL);
	assert_non_null(strstr(buf_str(&why), "/list: no rule gives a domain; nothing was changed"));
	assert_int_equal(access(path, F_OK), -1);
	d.may_shrink = true;
	assert_int_equal(domains_write(&d, nothing, &why), EX_OK);
	check_file("");
	d.may_shrink = false;
	assert_int_equal(domains_write(&d, nothing, &why), EX_OK);
	buf_free(&why);
	unlink(path);
}

static void put_file(const char *bytes, size_t n)
{
	FILE *file = fopen(path, "w");

	assert_non_null(file);
	assert_int_equal(fwrite(bytes, 1, n, file), n);
	fclose(file);
}

static void check_refused(const char *bytes, size_t n, const char *words)
{
	struct domains d = { .path = path, .may_shrink = true };
	char *list[] = { "a.example", NULL };
	struct buf why = { 0 }, text = { 0 };

	put_file(bytes, n);
	assert_int_equal(domains_judge(&d, list, &why), EX_CANTCREAT);
	assert_non_null(strstr(buf_str(&why), words));
	assert_int_equal(domains_write(&d, list, &why), EX_CANTCREAT);
	assert_true(file_read_path(path, &text));
	assert_int_equal(text.len, n);
	assert_memory_equal(text.data, bytes, n);
	buf_free(&text);
	buf_free(&why);
	unlink(path);
}

/* "domains" that names another file, be it the configuration itself, or the map */
static void a_file_that_is_no_list_of_domains_is_left_alone(void **state)
{
	static const char map[] = "\0\0\0\0a.example\n", text[] = "# users\nuri ldapi:///\nbase o=a.example\n";
	struct domains d = { .path = path };
	char *list[] = { "a.example", NULL };
	struct buf why = { 0 };

	(void)state;
	check_refused(text, sizeof text - 1, "/list:2: this is no list of domains; move it away, or name another file");
	check_refused(map, sizeof map - 1, "/list:1: this is no list of domains");
	put_file("# mine\n\n.A.example\nb.example RELAY\nmail for c.example.\n", 55);
	assert_int_equal(domains_write(&d, list, &why), EX_OK);
	check_file("a.example\n");
	buf_free(&why);
	unlink(path);
}

static void an_unwritable_place_is_told(void **state)
{
	struct domains d = { .path = "/nonexistent/list" };
	char *list[] = { "a.example", NULL };
	struct buf why = { 0 };

	(void)state;
	assert_int_equal(domains_write(&d, list, &why), EX_CANTCREAT);
	assert_non_null(strstr(buf_str(&why), "/nonexistent/list: No such file"));
	buf_free(&why);
}

/* Runs it to its end; what domains_run() said last. */
static bool run(struct domains *d, struct buf *why)
{
	bool ok = domains_run(d, why);

	while (d->pid != 0) {
		assert_true(domains_deadline(d) < clock_ms() + 1000);
		usleep(2000);
		ok = domains_run(d, why);
	}
	return ok;
}

static void the_command_is_run_until_it_goes_well(void **state)
{
	char *good[] = { "/bin/true", NULL }, *bad[] = { "/bin/false", NULL }, *missing[] = { "/nonexistent", NULL };
	char *killed[] = { "/bin/sh", "-c", "kill -9 $$", NULL };
	struct domains d = { .path = path, .command = good };
	struct buf why = { 0 };

	(void)state;
	assert_true(run(&d, &why));
	assert_int_equal(domains_deadline(&d), CLOCK_NEVER);
	d.must_run = true;
	assert_true(run(&d, &why));
	assert_false(d.must_run);
	d.must_run = true;
	d.command = bad;
	assert_false(run(&d, &why));
	assert_string_equal(buf_str(&why), "/bin/false: ended with status 1");
	assert_true(d.must_run);
	/* not at once */
	assert_true(run(&d, &why));
	assert_true(d.must_run);
	assert_true(domains_deadline(&d) > clock_ms() + 1000);
	buf_clear(&why);
	d.deadline = 0;
	d.command = missing;
	assert_false(run(&d, &why));
	assert_string_equal(buf_str(&why), "/nonexistent: No such file or directory");
	buf_clear(&why);
	d.deadline = 0;
	d.command = killed;
	assert_false(run(&d, &why));
	assert_string_equal(buf_str(&why), "/bin/sh: was killed by signal 9");
	d.deadline = 0;
	d.command = good;
	assert_true(run(&d, &why));
	assert_false(d.must_run);
	buf_free(&why);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_file_is_written_when_it_says_something_else),
		cmocka_unit_test(lines_have_the_form_that_was_asked_for),
		cmocka_unit_test(many_domains_do_not_go_at_once),
		cmocka_unit_test(no_list_is_made_of_nothing),
		cmocka_unit_test(a_file_that_is_no_list_of_domains_is_left_alone),
		cmocka_unit_test(an_unwritable_place_is_told),
		cmocka_unit_test(the_command_is_run_until_it_goes_well),
	};

	return cmocka_run_group_tests(tests, begin, end);
}
