#include "tests/unit/unit.h"

#include <unistd.h>

#include "lib/clock.h"
#include "lib/wait.h"

static volatile sig_atomic_t seen;

static void on_signal(int sig)
{
	(void)sig;
	seen++;
}

/* Blocks SIGUSR1, as programs do; the mask to wait with. */
static sigset_t block(void)
{
	const struct sigaction action = { .sa_handler = on_signal };
	sigset_t blocked, unblocked;

	sigaction(SIGUSR1, &action, NULL);
	sigemptyset(&blocked);
	sigaddset(&blocked, SIGUSR1);
	sigprocmask(SIG_BLOCK, &blocked, &unblocked);
	sigdelset(&unblocked, SIGUSR1);
	seen = 0;
	return unblocked;
}

static void signals_come_while_we_wait_and_nowhere_else(void **state)
{
	const sigset_t unblocked = block();

	(void)state;
	raise(SIGUSR1);
	assert_int_equal(seen, 0);
	assert_int_equal(wait_for(NULL, 0, CLOCK_NEVER, &unblocked), -1);
	assert_int_equal(seen, 1);
}

static void signals_come_though_a_descriptor_is_always_ready(void **state)
{
	const sigset_t unblocked = block();
	int fds[2];

	(void)state;
	assert_int_equal(pipe(fds), 0);
	assert_int_equal(write(fds[1], "x", 1), 1);
	for (int i = 1; i <= 3; i++) {
		struct pollfd p = { .fd = fds[0], .events = POLLIN };

		raise(SIGUSR1);
		assert_int_equal(wait_for(&p, 1, CLOCK_NEVER, &unblocked), 1);
		assert_int_equal(p.revents, POLLIN);
		assert_int_equal(seen, i);
	}
	close(fds[0]);
	close(fds[1]);
}

static void a_busy_one_hears_of_signals_soon(void **state)
{
	const sigset_t unblocked = block();
	int fds[2];

	(void)state;
	assert_int_equal(pipe(fds), 0);
	assert_int_equal(write(fds[1], "x", 1), 1);
	for (int i = 1; i <= 3; i++) {
		struct pollfd p = { .fd = fds[0], .events = POLLIN };
		int64_t end = clock_ms() + 10000;

		raise(SIGUSR1);
		while (seen < i && clock_ms() < end)
			assert_int_equal(wait_busily(&p, 1, CLOCK_NEVER, &unblocked), 1);
		assert_int_equal(seen, i);
	}
	raise(SIGUSR1);
	assert_int_equal(wait_busily(NULL, 0, CLOCK_NEVER, &unblocked), -1);
	assert_int_equal(seen, 4);
	close(fds[0]);
	close(fds[1]);
}

static void it_ends_in_time(void **state)
{
	const sigset_t unblocked = block();
	int64_t begun = clock_ms();

	(void)state;
	assert_int_equal(wait_for(NULL, 0, begun - 1, &unblocked), 0);
	assert_int_equal(wait_for(NULL, 0, begun + 30, &unblocked), 0);
	assert_true(clock_ms() >= begun + 30);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(signals_come_while_we_wait_and_nowhere_else),
		cmocka_unit_test(signals_come_though_a_descriptor_is_always_ready),
		cmocka_unit_test(a_busy_one_hears_of_signals_soon),
		cmocka_unit_test(it_ends_in_time),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
