#include "tests/unit/unit.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include "lib/child.h"
#include "lib/clock.h"

static int say(void *context, struct buf *out)
{
	buf_adds(out, context);
	return 7;
}

static int crash(void *context, struct buf *out)
{
	(void)context;
	(void)out;
	raise(SIGSEGV);
	return 0;
}

static int hang(void *context, struct buf *out)
{
	(void)context;
	(void)out;
	for (;;)
		pause();
	return 0;
}

static int chatter(void *context, struct buf *out)
{
	(void)context;
	for (int i = 0; i < 100000; i++)
		buf_adds(out, "blah ");
	fprintf(stderr, "this must not be seen\n");
	printf("not ok - nor this\n");
	fflush(stdout);
	return 0;
}

static void a_child_answers(void **state)
{
	struct buf out = { 0 };
	int status = -1;

	(void)state;
	assert_int_equal(child_ask(say, "hello", clock_ms() + 10000, &status, &out), CHILD_SAID);
	assert_int_equal(status, 7);
	assert_string_equal(buf_str(&out), "hello");
	buf_free(&out);
}

static void a_crash_stays_in_the_child(void **state)
{
	struct buf out = { 0 };
	int status = -1;

	(void)state;
	assert_int_equal(child_ask(crash, NULL, clock_ms() + 10000, &status, &out), CHILD_CRASHED);
	assert_int_equal(status, SIGSEGV);
	buf_free(&out);
}

static void a_child_that_hangs_is_ended(void **state)
{
	struct buf out = { 0 };
	int64_t start = clock_ms();
	int status = -1;

	(void)state;
	assert_int_equal(child_ask(hang, NULL, start + 100, &status, &out), CHILD_HUNG);
	assert_true(clock_ms() - start >= 100 && clock_ms() - start < 5000);
	buf_free(&out);
}

static void a_child_that_says_much_is_cut_short(void **state)
{
	struct buf out = { 0 };
	int status = -1;

	(void)state;
	assert_int_equal(child_ask(chatter, NULL, clock_ms() + 10000, &status, &out), CHILD_SAID);
	assert_true(out.len > 100 && out.len < 10000);
	buf_free(&out);
}

static const struct child_rules quiet = { .in = CHILD_NULL, .out = CHILD_NULL, .err = CHILD_NULL, .closes = true, .own_group = true };

static void a_program_that_cannot_be_run_is_told_by_errno(void **state)
{
	char *const missing[] = { "/nonexistent/program", NULL }, *const there[] = { "/bin/true", NULL };
	int status = -1;
	pid_t pid;

	(void)state;
	errno = 0;
	assert_int_equal(child_run(&quiet, missing), -1);
	assert_int_equal(errno, ENOENT);
	pid = child_run(&quiet, there);
	assert_true(pid > 0);
	assert_true(child_end(pid, CHILD_KILL, clock_ms() + 10000, &status));
	assert_int_equal(status, 0);
}

static void at_the_deadline_a_child_is_killed_with_its_group_or_left(void **state)
{
	char *const nested[] = { "/bin/sh", "-c", "sleep 1000 & wait", NULL };
	pid_t pid = child_run(&quiet, nested);
	struct buf end = { 0 };
	int status = 0;

	(void)state;
	assert_true(pid > 0);
	assert_false(child_end(pid, CHILD_LEAVE, clock_ms() + 20, &status));
	assert_int_equal(kill(pid, 0), 0);
	assert_false(child_end(pid, CHILD_KILL, 0, &status));
	child_describe_end(&end, status);
	assert_string_equal(buf_str(&end), "was killed by signal 9");
	buf_free(&end);
	for (int64_t limit = clock_ms() + 10000; kill(-pid, 0) == 0; usleep(1000))
		assert_true(clock_ms() < limit);
}

static void the_end_is_said_in_words(void **state)
{
	char *const three[] = { "/bin/sh", "-c", "exit 3", NULL };
	struct buf end = { 0 };
	int status = 0;

	(void)state;
	child_describe_end(&end, 0);
	assert_string_equal(buf_str(&end), "");
	assert_true(child_end(child_run(&quiet, three), CHILD_LEAVE, clock_ms() + 10000, &status));
	child_describe_end(&end, status);
	assert_string_equal(buf_str(&end), "ended with status 3");
	buf_free(&end);
}

/* Which of these descriptors are open, as a number. */
static int open_ones(const int *fds, int n)
{
	int sum = 0;

	for (int i = 0; i < n; i++)
		sum |= (fcntl(fds[i], F_GETFD) >= 0) << i;
	return sum;
}

static void descriptors_are_closed_but_those_to_keep(void **state)
{
	int fds[4], status = 0;

	(void)state;
	for (int i = 0; i < 4; i++)
		fds[i] = open("/dev/null", O_RDONLY);
	for (int kept = 0; kept < 16; kept++) {
		struct child_rules rules = quiet;
		int n = 0;
		pid_t pid;

		for (int i = 0; i < 4; i++)
			if (kept >> i & 1 && n < 2)
				rules.keep[n++] = fds[i];
		pid = child_fork(&rules);
		if (pid == 0)
			_exit(open_ones(fds, 4));
		assert_true(child_end(pid, CHILD_KILL, clock_ms() + 10000, &status));
		assert_true(WIFEXITED(status));
		assert_int_equal(WEXITSTATUS(status), __builtin_popcount((unsigned)kept) <= 2 ? kept : WEXITSTATUS(status) & kept);
		assert_int_equal(__builtin_popcount((unsigned)WEXITSTATUS(status)), n);
	}
	for (int i = 0; i < 4; i++)
		close(fds[i]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_child_answers),
		cmocka_unit_test(a_crash_stays_in_the_child),
		cmocka_unit_test(a_child_that_hangs_is_ended),
		cmocka_unit_test(a_child_that_says_much_is_cut_short),
		cmocka_unit_test(a_program_that_cannot_be_run_is_told_by_errno),
		cmocka_unit_test(at_the_deadline_a_child_is_killed_with_its_group_or_left),
		cmocka_unit_test(the_end_is_said_in_words),
		cmocka_unit_test(descriptors_are_closed_but_those_to_keep),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
