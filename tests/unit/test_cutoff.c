#include "tests/unit/unit.h"

#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "db/ldap/cutoff.h"
#include "lib/clock.h"

/* Reads until the other end says something, which it never does; returns what read(2) says after at most 5 s. */
static ssize_t wait_for_nothing(int64_t deadline, bool watch_late)
{
	const struct timeval longest = { 5, 0 };
	int pair[2];
	char byte;
	ssize_t n;

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
	assert_int_equal(setsockopt(pair[0], SOL_SOCKET, SO_RCVTIMEO, &longest, sizeof longest), 0);
	cutoff_begin(deadline);
	if (watch_late)
		usleep(30000);
	cutoff_watch(pair[0]);
	n = read(pair[0], &byte, 1);
	cutoff_watch(-1);
	close(pair[0]);
	close(pair[1]);
	return n;
}

static void a_blocked_call_ends_when_the_time_is_up(void **state)
{
	int64_t start = clock_ms();

	(void)state;
	assert_int_equal(wait_for_nothing(start + 50, false), 0);
	assert_true(cutoff_end());
	assert_in_range(clock_ms() - start, 49, 3000);
}

static void a_socket_that_comes_too_late_is_shut_at_once(void **state)
{
	(void)state;
	assert_int_equal(wait_for_nothing(clock_ms() + 1, true), 0);
	assert_true(cutoff_end());
}

static void nothing_happens_in_time(void **state)
{
	int pair[2];

	(void)state;
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
	for (int i = 0; i < 1000; i++) {
		char byte = 'x';

		cutoff_begin(clock_ms() + 60000);
		cutoff_watch(pair[0]);
		assert_int_equal(write(pair[1], &byte, 1), 1);
		assert_int_equal(read(pair[0], &byte, 1), 1);
		assert_false(cutoff_end());
	}
	close(pair[0]);
	close(pair[1]);
}

static void it_works_in_a_forked_child_too(void **state)
{
	int status;
	pid_t pid;

	(void)state;
	pid = fork();
	if (pid == 0)
		_exit(wait_for_nothing(clock_ms() + 50, false) == 0 && cutoff_end() ? 0 : 1);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_blocked_call_ends_when_the_time_is_up),
		cmocka_unit_test(a_socket_that_comes_too_late_is_shut_at_once),
		cmocka_unit_test(nothing_happens_in_time),
		cmocka_unit_test(it_works_in_a_forked_child_too),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
