#include "lib/child.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <sysexits.h>
#include <time.h>
#include <unistd.h>

#include "lib/clock.h"

/* What a child has to say to one question is one line. */
#define MOST_SAID 4000

/* Between two looks whether a child has ended. */
#define POLL_NS 1000000

#define FRAME_HEAD 5

/* What is left to a child that says nothing when its parent is asked to stop, and how often the parent looks whether it is. */
#define ASKED_MS 2000
#define LOOK_MS 200

static const int crashes[] = { SIGSEGV, SIGBUS, SIGABRT, SIGFPE, SIGILL };
#define CRASHES (sizeof crashes / sizeof crashes[0])

bool child_is_crash(int sig)
{
	for (size_t i = 0; i < CRASHES; i++)
		if (crashes[i] == sig)
			return true;
	return false;
}

/* ---- the start ---- */

/* From `first` to `last`, both included. */
static void close_all(int first, int last)
{
	if (first > last || close_range((unsigned)first, (unsigned)last, 0) == 0)
		return;
	/* an old kernel */
	for (int fd = first; fd <= last && fd < getdtablesize(); fd++)
		close(fd);
}

static void close_others(const int keep[2])
{
	int low = keep[0] < keep[1] ? keep[0] : keep[1], high = keep[0] < keep[1] ? keep[1] : keep[0];

	if (low <= STDERR_FILENO)
		low = high;
	if (high <= STDERR_FILENO)
		low = high = STDERR_FILENO;
	close_all(STDERR_FILENO + 1, low - 1);
	close_all(low + 1, high - 1);
	close_all(high + 1, INT_MAX);
}

static bool set_standard(int fd, int to, int null)
{
	return fd == CHILD_SAME || dup2(fd == CHILD_NULL ? null : fd, to) == to;
}

static bool carry_out(const struct child_rules *rules, pid_t parent)
{
	int null;
	sigset_t blocked;

	if (rules->dies_with_parent && (prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0) < 0 || getppid() != parent))
		return false;
	if (rules->own_group)
		setpgid(0, 0);
	null = open("/dev/null", O_RDWR | O_CLOEXEC);
	if (!set_standard(rules->in, STDIN_FILENO, null) || !set_standard(rules->out, STDOUT_FILENO, null) ||
	    !set_standard(rules->err, STDERR_FILENO, null))
		return false;
	if (null > STDERR_FILENO)
		close(null);
	if (rules->closes)
		close_others(rules->keep);
	sigemptyset(&blocked);
	if (rules->shielded) {
		sigfillset(&blocked);
		/* blocked, these would end it without a word to a debugger */
		for (size_t i = 0; i < CRASHES; i++) {
			sigdelset(&blocked, crashes[i]);
			signal(crashes[i], SIG_DFL);
		}
		/* the limit that a child sets itself */
		sigdelset(&blocked, SIGALRM);
		signal(SIGALRM, SIG_DFL);
	}
	if (rules->is_program) {
		signal(SIGPIPE, SIG_DFL);
		signal(SIGXFSZ, SIG_DFL);
	}
	sigprocmask(SIG_SETMASK, &blocked, NULL);
	return true;
}

static bool (*is_asked_to_stop)(void);

pid_t child_fork(const struct child_rules *rules)
{
	pid_t parent = getpid(), pid = fork();

	if (pid == 0) {
		is_asked_to_stop = NULL;
		if (!carry_out(rules, parent))
			_exit(EX_OSERR);
	}
	return pid;
}

pid_t child_run(const struct child_rules *rules, char *const arguments[])
{
	struct child_rules with_fault = *rules;
	int ends[2], error = 0;
	pid_t pid;

	if (pipe2(ends, O_CLOEXEC) < 0)
		return -1;
	with_fault.keep[1] = ends[1];
	with_fault.is_program = true;
	pid = child_fork(&with_fault);
	if (pid == 0) {
		execv(arguments[0], arguments);
		error = errno;
		_exit(write(ends[1], &error, sizeof error) == sizeof error ? EX_UNAVAILABLE : EX_OSERR);
	}
	close(ends[1]);
	/* the end of the file says that the program runs */
	while (pid > 0 && read(ends[0], &error, sizeof error) < 0 && errno == EINTR)
		;
	if (error != 0) {
		child_end(pid, CHILD_KILL, CLOCK_NEVER, &(int){ 0 });
		errno = error;
		pid = -1;
	}
	error = errno;
	close(ends[0]);
	errno = error;
	return pid;
}

/* ---- the end ---- */

void child_heed(bool (*is_asked)(void))
{
	is_asked_to_stop = is_asked;
}

/* The deadline of a caller that waits since *asked (0: not yet) although it was asked to stop. */
static int64_t shorten(int64_t deadline, int64_t *asked)
{
	const int64_t now = clock_ms();

	if (*asked == 0 && is_asked_to_stop != NULL && is_asked_to_stop())
		*asked = now;
	return *asked != 0 && *asked + ASKED_MS < deadline ? *asked + ASKED_MS : deadline;
}

/* Waits until it has ended.  False at the deadline. */
static bool await(pid_t pid, int64_t deadline, int *status)
{
	int64_t asked = 0;
	pid_t done;

	while ((done = waitpid(pid, status, deadline == CLOCK_NEVER ? 0 : WNOHANG)) == 0 || (done < 0 && errno == EINTR)) {
		if (done < 0)
			continue;
		if (clock_ms() >= shorten(deadline, &asked))
			return false;
		clock_pause(POLL_NS);
	}
	if (done < 0)
		*status = 0;
	return true;
}

bool child_end(pid_t pid, enum child_rule rule, int64_t deadline, int *status)
{
	if (await(pid, deadline, status))
		return true;
	if (rule == CHILD_KILL) {
		/* it may have no group of its own */
		kill(-pid, SIGKILL);
		kill(pid, SIGKILL);
		await(pid, CLOCK_NEVER, status);
	}
	return false;
}

void child_describe_end(struct buf *text, int status)
{
	if (WIFSIGNALED(status))
		buf_addf(text, "was killed by signal %d", WTERMSIG(status));
	else if (WEXITSTATUS(status) != 0)
		buf_addf(text, "ended with status %d", WEXITSTATUS(status));
}

/* ---- frames ---- */

/* Waits until fd is ready for `events`.  False at the deadline. */
static bool ready(int fd, short events, int64_t deadline)
{
	struct pollfd p = { .fd = fd, .events = events };
	int64_t asked = 0, end;
	int n;

	do {
		const int64_t look_again = is_asked_to_stop != NULL ? clock_ms() + LOOK_MS : CLOCK_NEVER;

		end = shorten(deadline, &asked);
		n = poll(&p, 1, clock_poll_timeout(end < look_again ? end : look_again));
	} while ((n < 0 && errno == EINTR) || (n == 0 && clock_ms() < end));
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

bool child_send(int fd, char kind, const char *bytes, size_t n, int64_t deadline)
{
	char head[FRAME_HEAD];
	uint32_t length = (uint32_t)n;

	memcpy(head, &length, sizeof length);
	head[4] = kind;
	return n <= UINT32_MAX && send_all(fd, head, sizeof head, deadline) && send_all(fd, bytes, n, deadline);
}

static enum child_news receive_all(int fd, char *bytes, size_t n, int64_t deadline)
{
	while (n > 0) {
		ssize_t got = recv(fd, bytes, n, MSG_DONTWAIT);

		if (got < 0 && errno == EINTR)
			continue;
		if (got == 0 || (got < 0 && errno != EAGAIN))
			return CHILD_GONE;
		if (got < 0 && !ready(fd, POLLIN, deadline))
			return CHILD_SILENT;
		if (got > 0) {
			bytes += got;
			n -= (size_t)got;
		}
	}
	return CHILD_FRAME;
}

enum child_news child_receive(int fd, char *kind, struct buf *bytes, int64_t deadline)
{
	char head[FRAME_HEAD];
	uint32_t length;
	enum child_news news = receive_all(fd, head, sizeof head, deadline);

	if (news != CHILD_FRAME)
		return news;
	memcpy(&length, head, sizeof length);
	*kind = head[4];
	buf_clear(bytes);
	buf_reserve(bytes, length);
	news = receive_all(fd, bytes->data, length, deadline);
	if (news == CHILD_FRAME) {
		bytes->len = length;
		bytes->data[length] = '\0';
	}
	return news;
}

/* ---- one question ---- */

static _Noreturn void answer(int (*ask)(void *context, struct buf *out), void *context, int fd)
{
	const struct rlimit none = { 0, 0 };
	struct buf out = { .limit = MOST_SAID };
	int status;

	/* a crash is an expected answer here: no core, no handler that came along */
	setrlimit(RLIMIT_CORE, &none);
	for (size_t i = 0; i < CRASHES; i++)
		signal(crashes[i], SIG_DFL);
	status = ask(context, &out);
	if (out.len > 0 && write(fd, out.data, out.len) < 0)
		status = 255;
	_exit(status);
}

/* Reads until the child closes its end.  False at the deadline. */
static bool hear(int fd, int64_t deadline, struct buf *out)
{
	char piece[512];
	ssize_t n;

	while (ready(fd, POLLIN, deadline)) {
		n = read(fd, piece, sizeof piece);
		if (n == 0 || (n < 0 && errno != EINTR))
			return true;
		if (n > 0)
			buf_add(out, piece, (size_t)n);
	}
	return false;
}

enum child_answer child_ask(int (*ask)(void *context, struct buf *out), void *context, int64_t deadline, int *status,
                            struct buf *out)
{
	/* a damaged map may keep it busy for ever, with the locks of its parent; libdb prints pages that it finds damaged */
	const struct child_rules rules = { .in = CHILD_SAME, .out = CHILD_NULL, .err = CHILD_NULL, .dies_with_parent = true };
	int ends[2], state = 0;
	bool in_time;
	pid_t pid;

	if (pipe2(ends, O_CLOEXEC) < 0)
		return CHILD_FAILED;
	pid = child_fork(&rules);
	if (pid == 0)
		answer(ask, context, ends[1]);
	close(ends[1]);
	if (pid < 0) {
		close(ends[0]);
		return CHILD_FAILED;
	}
	in_time = hear(ends[0], deadline, out);
	close(ends[0]);
	child_end(pid, CHILD_KILL, in_time ? CLOCK_NEVER : 0, &state);
	if (!in_time)
		return CHILD_HUNG;
	*status = WIFEXITED(state) ? WEXITSTATUS(state) : WTERMSIG(state);
	if (WIFEXITED(state))
		return CHILD_SAID;
	return child_is_crash(*status) ? CHILD_CRASHED : CHILD_KILLED;
}
