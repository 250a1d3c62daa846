#include "lib/child.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "lib/clock.h"

/* What a child has to say is one line. */
#define MOST_SAID 4000

static const int crashes[] = { SIGSEGV, SIGBUS, SIGABRT, SIGFPE, SIGILL };
#define CRASHES (sizeof crashes / sizeof crashes[0])

bool child_is_crash(int sig)
{
	for (size_t i = 0; i < CRASHES; i++)
		if (crashes[i] == sig)
			return true;
	return false;
}

static _Noreturn void be_the_child(int (*ask)(void *context, struct buf *out), void *context, int fd, pid_t parent)
{
	const struct rlimit none = { 0, 0 };
	struct buf out = { .limit = MOST_SAID };
	int status, nowhere;
	sigset_t empty;

	/* a damaged map may keep it busy for ever, with the locks of its parent */
	prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);
	if (getppid() != parent)
		_exit(255);
	nowhere = open("/dev/null", O_WRONLY);
	/* a crash is an expected answer here: no core, no handler that came along */
	setrlimit(RLIMIT_CORE, &none);
	/* libdb prints pages that it finds damaged */
	dup2(nowhere, STDOUT_FILENO);
	dup2(nowhere, STDERR_FILENO);
	for (size_t i = 0; i < CRASHES; i++)
		signal(crashes[i], SIG_DFL);
	sigemptyset(&empty);
	sigprocmask(SIG_SETMASK, &empty, NULL);
	status = ask(context, &out);
	if (out.len > 0 && write(fd, out.data, out.len) < 0)
		status = 255;
	_exit(status);
}

/* Reads until the child closes its end.  False at the deadline. */
static bool hear(int fd, int64_t deadline, struct buf *out)
{
	for (;;) {
		struct pollfd p = { .fd = fd, .events = POLLIN };
		char piece[512];
		ssize_t n;
		int ready = poll(&p, 1, clock_poll_timeout(deadline));

		if (ready == 0)
			return false;
		if (ready < 0 && errno != EINTR)
			return false;
		if (ready < 0)
			continue;
		n = read(fd, piece, sizeof piece);
		if (n == 0 || (n < 0 && errno != EINTR))
			return true;
		if (n > 0)
			buf_add(out, piece, (size_t)n);
	}
}

enum child_end child_ask(int (*ask)(void *context, struct buf *out), void *context, int64_t deadline, int *status,
                         struct buf *out)
{
	int ends[2], state = 0;
	bool in_time;
	pid_t pid, parent = getpid();

	if (pipe2(ends, O_CLOEXEC) < 0)
		return CHILD_FAILED;
	pid = fork();
	if (pid == 0)
		be_the_child(ask, context, ends[1], parent);
	close(ends[1]);
	if (pid < 0) {
		close(ends[0]);
		return CHILD_FAILED;
	}
	in_time = hear(ends[0], deadline, out);
	if (!in_time)
		kill(pid, SIGKILL);
	close(ends[0]);
	while (waitpid(pid, &state, 0) < 0 && errno == EINTR)
		;
	if (!in_time)
		return CHILD_HUNG;
	*status = WIFEXITED(state) ? WEXITSTATUS(state) : WTERMSIG(state);
	if (WIFEXITED(state))
		return CHILD_SAID;
	return child_is_crash(*status) ? CHILD_CRASHED : CHILD_KILLED;
}
