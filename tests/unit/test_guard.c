#include "tests/unit/unit.h"

#include <time.h>

/* Programs' own files are in no archive. */
#include "channel/probe/guard.c"

#define SOON 20000

static void say(int fd, int status, const char *text)
{
	struct buf out = { 0 };

	buf_adds(&out, text);
	guard_answer(fd, status, &out);
	buf_free(&out);
}

static void answer(void *context, int fd)
{
	say(fd, 75, context);
}

static void answer_much(void *context, int fd)
{
	struct buf out = { 0 };

	(void)context;
	memset(buf_reserve(&out, 300000), 'x', 300000);
	out.len = 300000;
	guard_answer(fd, 0, &out);
	buf_free(&out);
}

static void end_with_4(void *context, int fd)
{
	(void)context;
	(void)fd;
	_exit(4);
}

static void crash(void *context, int fd)
{
	(void)context;
	(void)fd;
	signal(SIGTERM, SIG_DFL);
	raise(SIGTERM);
}

/* Until nobody is there any more who would hear it; a minute at most. */
static void hang(void *context, int fd)
{
	const struct timespec pause = { 0, 10000000 };
	pid_t parent = getppid();

	(void)context;
	(void)fd;
	for (int i = 0; i < 6000 && getppid() == parent; i++)
		nanosleep(&pause, NULL);
	_exit(0);
}

static void answer_and_hang(void *context, int fd)
{
	answer(context, fd);
	hang(context, fd);
}

static void half_an_answer(void *context, int fd)
{
	const struct head head = { 0, 100 };

	(void)context;
	assert_true(file_write(fd, &head, sizeof head));
	_exit(0);
}

static enum guard_end run(guard_work *work, int64_t patience, int *status, struct buf *out)
{
	*status = -1;
	buf_clear(out);
	return guard_run(work, (void *)"some text", clock_ms() + patience, status, out);
}

static void an_answer_comes_through(void **state)
{
	struct buf out = { 0 };
	int status;

	(void)state;
	assert_int_equal(run(answer, SOON, &status, &out), GUARD_ANSWERED);
	assert_int_equal(status, 75);
	assert_string_equal(buf_str(&out), "some text");
	assert_int_equal(run(answer_much, SOON, &status, &out), GUARD_ANSWERED);
	assert_int_equal(out.len, 300000);
	buf_free(&out);
}

static void an_end_without_an_answer_is_none(void **state)
{
	struct buf out = { 0 };
	int status;

	(void)state;
	assert_int_equal(run(end_with_4, SOON, &status, &out), GUARD_ENDED);
	assert_int_equal(status, 4);
	assert_int_equal(run(crash, SOON, &status, &out), GUARD_ENDED);
	assert_int_equal(status, EX_SOFTWARE);
	assert_int_equal(run(half_an_answer, SOON, &status, &out), GUARD_ENDED);
	assert_int_equal(out.len, 0);
	buf_free(&out);
}

static void what_hangs_is_not_waited_for(void **state)
{
	struct buf out = { 0 };
	int64_t start = clock_ms();
	int status;

	(void)state;
	assert_int_equal(run(hang, 100, &status, &out), GUARD_LATE);
	assert_int_equal(out.len, 0);
	/* what was said before it hung counts */
	assert_int_equal(run(answer_and_hang, 100, &status, &out), GUARD_ANSWERED);
	assert_string_equal(buf_str(&out), "some text");
	assert_in_range(clock_ms() - start, 200, SOON);
	buf_free(&out);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(an_answer_comes_through),
		cmocka_unit_test(an_end_without_an_answer_is_none),
		cmocka_unit_test(what_hangs_is_not_waited_for),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
