#include "lib/wait.h"

#include "lib/clock.h"

void wait_catch(const int *signals, size_t n, void (*handler)(int sig), sigset_t *unblocked)
{
	const struct sigaction action = { .sa_handler = handler };
	sigset_t blocked;

	signal(SIGPIPE, SIG_IGN);
	sigemptyset(&blocked);
	sigprocmask(SIG_SETMASK, NULL, unblocked);
	for (size_t i = 0; i < n; i++) {
		sigaction(signals[i], &action, NULL);
		sigaddset(&blocked, signals[i]);
		sigdelset(unblocked, signals[i]);
	}
	sigprocmask(SIG_BLOCK, &blocked, NULL);
}

static volatile sig_atomic_t over;
static const int ends[] = { SIGTERM, SIGINT, SIGHUP };

static void on_end(int sig)
{
	(void)sig;
	over = 1;
}

void wait_catch_end(sigset_t *unblocked)
{
	wait_catch(ends, sizeof ends / sizeof ends[0], on_end, unblocked);
}

bool wait_is_told_to_end(void)
{
	sigset_t pending;

	if (sigpending(&pending) < 0)
		return false;
	for (size_t i = 0; i < sizeof ends / sizeof ends[0]; i++)
		if (sigismember(&pending, ends[i]) == 1)
			return true;
	return false;
}

bool wait_is_over(void)
{
	return over != 0;
}

/* Between two looks for signals while there is always something to do, in milliseconds. */
#define BUSY_PAUSE 50

static int wait_once(struct pollfd *fds, nfds_t n, int64_t deadline, const sigset_t *unblocked)
{
	int ms = clock_poll_timeout(deadline);
	const struct timespec timeout = { .tv_sec = ms / 1000, .tv_nsec = (long)(ms % 1000) * 1000000 };

	return ppoll(fds, n, ms < 0 ? NULL : &timeout, unblocked);
}

/* ppoll(2) looks at signals only if no descriptor is ready. */
static void look_for_signals(const sigset_t *unblocked)
{
	const struct timespec none = { 0 };

	ppoll(NULL, 0, &none, unblocked);
}

int wait_for(struct pollfd *fds, nfds_t n, int64_t deadline, const sigset_t *unblocked)
{
	int ready = wait_once(fds, n, deadline, unblocked);

	if (ready > 0)
		look_for_signals(unblocked);
	return ready;
}

int wait_busily(struct pollfd *fds, nfds_t n, int64_t deadline, const sigset_t *unblocked)
{
	static int64_t look_again;
	int ready = wait_once(fds, n, deadline, unblocked);

	if (ready > 0 && clock_ms() >= look_again) {
		look_for_signals(unblocked);
		look_again = clock_ms() + BUSY_PAUSE;
	}
	return ready;
}
