#include "db/live/worker.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "lib/child.h"
#include "lib/clock.h"

#define POLL_NS 1000000

#define HEAD_LENGTH 5

/* ---- the child ------------------------------------------------------------------ */

/* What the kernel sends to the child when its starter is gone. */
#define STARTER_GONE SIGUSR1

static pid_t starter;

/* alarm() is the timer of worker_limit() */
static void shorten_limit(int sig)
{
	(void)sig;
	if (getppid() != starter)
		alarm(WORKER_ORPHAN_S);
}

/* The signal stays blocked until there is a limit. */
static void watch_starter(pid_t parent)
{
	const struct sigaction action = { .sa_handler = shorten_limit, .sa_flags = SA_RESTART };

	starter = parent;
	sigaction(STARTER_GONE, &action, NULL);
	prctl(PR_SET_PDEATHSIG, STARTER_GONE, 0, 0, 0);
}

static void shut_out_signals(void)
{
	sigset_t all;

	sigfillset(&all);
	/* these come from what this process does itself: blocked, they would end it without a word to a debugger */
	sigdelset(&all, SIGSEGV);
	sigdelset(&all, SIGBUS);
	sigdelset(&all, SIGFPE);
	sigdelset(&all, SIGILL);
	sigdelset(&all, SIGABRT);
	/* the limit that a child sets itself */
	sigdelset(&all, SIGALRM);
	signal(SIGALRM, SIG_DFL);
	sigprocmask(SIG_SETMASK, &all, NULL);
	signal(SIGBUS, SIG_DFL);
	signal(SIGSEGV, SIG_DFL);
}

/* From `first` to `last`, both included. */
static void close_all(int first, int last)
{
	if (first > last || close_range((unsigned)first, (unsigned)last, 0) == 0)
		return;
	/* an old kernel */
	for (int fd = first; fd <= last && fd < getdtablesize(); fd++)
		close(fd);
}

static void let_go(int fd, int keep)
{
	int low = fd < keep ? fd : keep, high = fd < keep ? keep : fd;
	int null;

	if (low < 0)
		low = high;
	close_all(3, low - 1);
	close_all(low + 1, high - 1);
	close_all(high + 1, INT_MAX);
	null = open("/dev/null", O_RDWR | O_CLOEXEC);
	for (int i = 0; null >= 0 && i <= 2; i++)
		dup2(null, i);
	if (null > 2)
		close(null);
}

bool worker_start(struct worker *worker, void (*serve)(void *context, int fd), void *context, int keep)
{
	const pid_t parent = getpid();
	int pair[2];

	*worker = (struct worker){ 0, -1, false };
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0)
		return false;
	worker->pid = fork();
	if (worker->pid == 0) {
		shut_out_signals();
		watch_starter(parent);
		setpgid(0, 0);
		let_go(pair[1], keep);
		serve(context, pair[1]);
		_exit(0);
	}
	close(pair[1]);
	worker->fd = pair[0];
	if (worker->pid > 0)
		return true;
	close(pair[0]);
	*worker = (struct worker){ 0, -1, false };
	return false;
}

void worker_limit(unsigned seconds)
{
	struct itimerval limit = { 0 };
	sigset_t gone;

	sigemptyset(&gone);
	sigaddset(&gone, STARTER_GONE);
	/* if it comes between the question and the timer, it must shorten this one */
	sigprocmask(SIG_BLOCK, &gone, NULL);
	limit.it_value.tv_sec = seconds > WORKER_ORPHAN_S && getppid() != starter ? WORKER_ORPHAN_S : (time_t)seconds;
	setitimer(ITIMER_REAL, &limit, NULL);
	if (seconds > 0)
		sigprocmask(SIG_UNBLOCK, &gone, NULL);
}

bool worker_runs(const struct worker *worker)
{
	return worker->pid > 0;
}

/* ---- frames ---------------------------------------------------------------------- */

/* Waits until fd is ready for `events`. */
static bool ready(int fd, short events, int64_t deadline)
{
	struct pollfd p = { .fd = fd, .events = events };
	int n;

	do
		n = poll(&p, 1, clock_poll_timeout(deadline));
	while (n < 0 && errno == EINTR);
	return n > 0;
}

static bool send_all(int fd, const char *bytes, size_t n, int64_t deadline)
{
	while (n > 0) {
		ssize_t sent = send(fd, bytes, n, MSG_NOSIGNAL | MSG_DONTWAIT);

		if (sent < 0 && errno == EINTR)
			continue;
		if (sent < 0 && errno != EAGAIN)
			return false;
		if (sent < 0 && !ready(fd, POLLOUT, deadline))
			return false;
		if (sent > 0) {
			bytes += sent;
			n -= (size_t)sent;
		}
	}
	return true;
}

bool worker_send(int fd, char kind, const char *bytes, size_t n, int64_t deadline)
{
	char head[HEAD_LENGTH];
	uint32_t length = (uint32_t)n;

	memcpy(head, &length, sizeof length);
	head[4] = kind;
	return n <= UINT32_MAX && send_all(fd, head, sizeof head, deadline) && send_all(fd, bytes, n, deadline);
}

static enum worker_news receive_all(int fd, char *bytes, size_t n, int64_t deadline)
{
	while (n > 0) {
		ssize_t got = recv(fd, bytes, n, MSG_DONTWAIT);

		if (got < 0 && errno == EINTR)
			continue;
		if (got == 0 || (got < 0 && errno != EAGAIN))
			return WORKER_GONE;
		if (got < 0 && !ready(fd, POLLIN, deadline))
			return WORKER_SILENT;
		if (got > 0) {
			bytes += got;
			n -= (size_t)got;
		}
	}
	return WORKER_FRAME;
}

enum worker_news worker_receive(int fd, char *kind, struct buf *bytes, int64_t deadline)
{
	char head[HEAD_LENGTH];
	uint32_t length;
	enum worker_news news = receive_all(fd, head, sizeof head, deadline);

	if (news != WORKER_FRAME)
		return news;
	memcpy(&length, head, sizeof length);
	*kind = head[4];
	buf_clear(bytes);
	buf_reserve(bytes, length);
	news = receive_all(fd, bytes->data, length, deadline);
	if (news == WORKER_FRAME) {
		bytes->len = length;
		bytes->data[length] = '\0';
	}
	return news;
}

/* ---- the end --------------------------------------------------------------------- */

static bool reap(pid_t pid, int *status, int64_t deadline)
{
	const struct timespec pause = { 0, POLL_NS };
	pid_t done;

	while ((done = waitpid(pid, status, WNOHANG)) == 0 || (done < 0 && errno == EINTR)) {
		if (clock_ms() >= deadline)
			return false;
		nanosleep(&pause, NULL);
	}
	if (done < 0)
		*status = 0;
	return true;
}

bool worker_end(struct worker *worker, int64_t deadline, struct buf *how)
{
	pid_t pid = worker->pid;
	int status;

	close(worker->fd);
	*worker = (struct worker){ 0, -1, false };
	if (!reap(pid, &status, deadline)) {
		buf_addf(how, "process %ld hangs", (long)pid);
		return false;
	}
	worker->crashed = WIFSIGNALED(status) ? child_is_crash(WTERMSIG(status)) : WEXITSTATUS(status) == WORKER_CRASH;
	if (WIFSIGNALED(status))
		buf_addf(how, "process %ld was killed by signal %d", (long)pid, WTERMSIG(status));
	else if (WEXITSTATUS(status) != 0)
		buf_addf(how, "process %ld ended with status %d", (long)pid, WEXITSTATUS(status));
	return WIFEXITED(status) && WEXITSTATUS(status) == 0;
}
