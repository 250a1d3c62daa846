#include "tests/unit/unit.h"

#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "db/live/worker.h"
#include "lib/child.h"
#include "lib/clock.h"

static int64_t soon(void)
{
	return clock_ms() + 100;
}

static int64_t later(void)
{
	return clock_ms() + 5000;
}

static void echo(void *context, int fd)
{
	struct buf bytes = { 0 };
	char kind;

	(void)context;
	while (child_receive(fd, &kind, &bytes, CLOCK_NEVER) == CHILD_FRAME)
		child_send(fd, (char)(kind + 1), buf_str(&bytes), bytes.len, CLOCK_NEVER);
	buf_free(&bytes);
}

static void say_nothing(void *context, int fd)
{
	(void)context;
	(void)fd;
	pause();
}

static void crash(void *context, int fd)
{
	(void)context;
	(void)fd;
	raise(SIGKILL);
}

/* Tells whether it still lives when its parent has gone. */
static void outlive(void *context, int fd)
{
	struct buf bytes = { 0 };
	char kind;

	child_receive(fd, &kind, &bytes, CLOCK_NEVER);
	if (write(*(int *)context, "x", 1) != 1)
		_exit(1);
}

static void frames_of_any_size_come_through(void **state)
{
	static const size_t sizes[] = { 0, 1, 5, 65536, 3000000 };
	struct worker w;
	struct buf out = { 0 }, back = { 0 };
	char kind;

	(void)state;
	assert_true(worker_start(&w, echo, NULL, -1));
	for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
		memset(buf_reserve(&out, sizes[i]), 'a' + (int)i, sizes[i]);
		out.len = sizes[i];
		assert_true(child_send(w.fd, 'x', out.data, out.len, later()));
		assert_int_equal(child_receive(w.fd, &kind, &back, later()), CHILD_FRAME);
		assert_int_equal(kind, 'y');
		assert_int_equal(back.len, sizes[i]);
		assert_memory_equal(back.data, out.data, sizes[i]);
	}
	assert_true(worker_end(&w, later(), &out));
	buf_free(&out);
	buf_free(&back);
}

static void silence_ends_at_the_deadline(void **state)
{
	struct worker w;
	struct buf back = { 0 };
	pid_t pid;
	char kind;
	int64_t begun = clock_ms();

	(void)state;
	assert_true(worker_start(&w, say_nothing, NULL, -1));
	pid = w.pid;
	assert_int_equal(child_receive(w.fd, &kind, &back, soon()), CHILD_SILENT);
	assert_false(worker_end(&w, soon(), &back));
	assert_non_null(strstr(buf_str(&back), "hangs"));
	assert_true(clock_ms() - begun < 2000);
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
	buf_free(&back);
}

static void a_crash_is_told_with_its_signal(void **state)
{
	struct worker w;
	struct buf back = { 0 };
	char kind;

	(void)state;
	assert_true(worker_start(&w, crash, NULL, -1));
	assert_int_equal(child_receive(w.fd, &kind, &back, later()), CHILD_GONE);
	assert_false(worker_end(&w, later(), &back));
	assert_non_null(strstr(buf_str(&back), "signal 9"));
	buf_free(&back);
}

static void signals_of_the_parent_do_not_reach_it(void **state)
{
	struct worker w;
	struct buf back = { 0 };
	char kind;

	(void)state;
	assert_true(worker_start(&w, echo, NULL, -1));
	assert_true(child_send(w.fd, 'x', "1", 1, later()));
	assert_int_equal(child_receive(w.fd, &kind, &back, later()), CHILD_FRAME);
	assert_int_equal(kill(w.pid, SIGTERM), 0);
	assert_int_equal(kill(w.pid, SIGINT), 0);
	assert_int_not_equal(getpgid(w.pid), getpgrp());
	assert_true(child_send(w.fd, 'x', "2", 1, later()));
	assert_int_equal(child_receive(w.fd, &kind, &back, later()), CHILD_FRAME);
	assert_string_equal(buf_str(&back), "2");
	assert_true(worker_end(&w, later(), &back));
	buf_free(&back);
}

static void it_outlives_a_killed_parent(void **state)
{
	int pipes[2];
	char byte;
	pid_t parent;

	(void)state;
	assert_int_equal(pipe(pipes), 0);
	parent = fork();
	if (parent == 0) {
		struct worker w;

		if (worker_start(&w, outlive, &pipes[1], pipes[1]))
			raise(SIGKILL);
		_exit(1);
	}
	waitpid(parent, NULL, 0);
	assert_int_equal(read(pipes[0], &byte, 1), 1);
	close(pipes[0]);
	close(pipes[1]);
}

/* As within a library that loops: hours of patience, or none to be had because an environment is open. */
static void hang_within_limit(void *context, int fd)
{
	(void)fd;
	worker_limit(*(unsigned *)context);
	for (;;)
		pause();
}

/* Starts a process that starts a child and is killed; the child's number, whose end only we can see: we are its next parent. */
static pid_t orphan_of(unsigned *limit)
{
	int pipes[2];
	pid_t pid = 0, parent;

	assert_int_equal(prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0), 0);
	assert_int_equal(pipe(pipes), 0);
	parent = fork();
	if (parent == 0) {
		struct worker w;

		if (worker_start(&w, hang_within_limit, limit, -1) && write(pipes[1], &w.pid, sizeof w.pid) == sizeof w.pid)
			raise(SIGKILL);
		_exit(1);
	}
	assert_int_equal(read(pipes[0], &pid, sizeof pid), sizeof pid);
	assert_int_equal(waitpid(parent, NULL, 0), parent);
	close(pipes[0]);
	close(pipes[1]);
	return pid;
}

static void one_that_hangs_does_not_outlive_its_starter_for_long(void **state)
{
	unsigned hours = 36000, none = 0;
	pid_t limited = orphan_of(&hours), within = orphan_of(&none);
	int64_t begun = clock_ms();
	int status;

	(void)state;
	assert_int_equal(waitpid(limited, &status, 0), limited);
	assert_true(clock_ms() - begun <= WORKER_ORPHAN_S * 1000 + 1000);
	assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGALRM);
	/* both were left at the same time; within an environment nothing ends it */
	assert_int_equal(waitpid(within, &status, WNOHANG), 0);
	kill(within, SIGKILL);
	assert_int_equal(waitpid(within, &status, 0), within);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(frames_of_any_size_come_through),
		cmocka_unit_test(silence_ends_at_the_deadline),
		cmocka_unit_test(a_crash_is_told_with_its_signal),
		cmocka_unit_test(signals_of_the_parent_do_not_reach_it),
		cmocka_unit_test(it_outlives_a_killed_parent),
		cmocka_unit_test(one_that_hangs_does_not_outlive_its_starter_for_long),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
