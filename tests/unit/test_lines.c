#include "tests/unit/unit.h"

#include <unistd.h>

#include "db/live/lines.h"

static int ends[2];

static int open_pipe(void **state)
{
	(void)state;
	return pipe(ends);
}

static int close_pipe(void **state)
{
	(void)state;
	for (int i = 0; i < 2; i++)
		if (ends[i] >= 0)
			close(ends[i]);
	return 0;
}

static void say(const char *text)
{
	assert_int_equal(write(ends[1], text, strlen(text)), strlen(text));
}

static void finish(void)
{
	close(ends[1]);
	ends[1] = -1;
}

static void next_is(struct lines *l, enum lines_news expect, const char *text)
{
	const char *line = "";
	size_t n = 0;

	assert_int_equal(lines_next(l, 20, &line, &n), expect);
	assert_int_equal(n, strlen(text));
	assert_memory_equal(line, text, n);
}

static void lines_come_one_by_one_and_are_counted(void **state)
{
	struct lines l = { .fd = ends[0] };

	(void)state;
	say("one\n\nthree\n");
	finish();
	next_is(&l, LINES_ONE, "one");
	next_is(&l, LINES_ONE, "");
	next_is(&l, LINES_ONE, "three");
	assert_int_equal(l.number, 3);
	next_is(&l, LINES_END, "");
	lines_free(&l);
}

static void a_pause_is_told_and_a_line_may_go_on_behind_it(void **state)
{
	struct lines l = { .fd = ends[0] };

	(void)state;
	next_is(&l, LINES_PAUSE, "");
	say("one\ntw");
	next_is(&l, LINES_ONE, "one");
	next_is(&l, LINES_PAUSE, "");
	say("o\n");
	next_is(&l, LINES_ONE, "two");
	lines_free(&l);
}

static void a_last_line_without_newline_is_told_apart(void **state)
{
	struct lines l = { .fd = ends[0] };

	(void)state;
	say("one\ntwo");
	finish();
	next_is(&l, LINES_ONE, "one");
	next_is(&l, LINES_CUT, "two");
	next_is(&l, LINES_END, "");
	lines_free(&l);
}

static void a_line_has_a_limit(void **state)
{
	FILE *f = tmpfile();
	struct lines l = { .fd = fileno(f) };
	const char *line;
	size_t n;

	(void)state;
	assert_int_equal(ftruncate(fileno(f), (off_t)LINES_LONGEST + 2000000), 0);
	assert_int_equal(lines_next(&l, -1, &line, &n), LINES_TOO_LONG);
	lines_free(&l);
	fclose(f);
}

static void trouble_is_no_end(void **state)
{
	struct lines l = { .fd = -1 };
	const char *line;
	size_t n;

	(void)state;
	assert_int_equal(lines_next(&l, -1, &line, &n), LINES_ERROR);
	lines_free(&l);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(lines_come_one_by_one_and_are_counted, open_pipe, close_pipe),
		cmocka_unit_test_setup_teardown(a_pause_is_told_and_a_line_may_go_on_behind_it, open_pipe, close_pipe),
		cmocka_unit_test_setup_teardown(a_last_line_without_newline_is_told_apart, open_pipe, close_pipe),
		cmocka_unit_test_setup_teardown(a_line_has_a_limit, open_pipe, close_pipe),
		cmocka_unit_test(trouble_is_no_end),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
