#include "db/live/worker.h"

#include <signal.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

#include "lib/child.h"

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

bool worker_start(struct worker *worker, void (*serve)(void *context, int fd), void *context, int keep)
{
	struct child_rules rules = {
		.in = CHILD_NULL, .out = CHILD_NULL, .err = CHILD_NULL, .closes = true, .keep = { 0, keep }, .own_group = true,
		.shielded = true,
	};
	const struct sigaction action = { .sa_handler = shorten_limit, .sa_flags = SA_RESTART };
	const pid_t parent = getpid();
	int pair[2];

	*worker = (struct worker){ 0, -1, false };
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0)
		return false;
	rules.keep[0] = pair[1];
	worker->pid = child_fork(&rules);
	if (worker->pid == 0) {
		/* the signal stays blocked until there is a limit */
		starter = parent;
		sigaction(STARTER_GONE, &action, NULL);
		prctl(PR_SET_PDEATHSIG, STARTER_GONE, 0, 0, 0);
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

bool worker_end(struct worker *worker, int64_t deadline, struct buf *how)
{
	pid_t pid = worker->pid;
	int status;

	worker_leave(worker);
	if (!child_end(pid, CHILD_LEAVE, deadline, &status)) {
		buf_addf(how, "process %ld hangs", (long)pid);
		return false;
	}
	worker->crashed = WIFSIGNALED(status) ? child_is_crash(WTERMSIG(status)) : WEXITSTATUS(status) == WORKER_CRASH;
	if (status != 0)
		buf_addf(how, "process %ld ", (long)pid);
	child_describe_end(how, status);
	return status == 0;
}

void worker_leave(struct worker *worker)
{
	close(worker->fd);
	*worker = (struct worker){ 0, -1, false };
}
