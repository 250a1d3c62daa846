#include "channel/probe/guard.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <sysexits.h>
#include <unistd.h>

#include "lib/child.h"
#include "lib/clock.h"
#include "lib/file.h"
#include "lib/log.h"

/* In front of an answer. */
struct head {
	int status;
	size_t length;
};

void guard_answer(int fd, int status, const struct buf *out)
{
	const struct head head = { status, out->len };

	/* the parent does not listen any more: it was late */
	if (file_write(fd, &head, sizeof head) && out->len > 0)
		(void)!file_write(fd, out->data, out->len);
}

/* Reads what there is; at the end the descriptor is taken out of the set. */
static void take(struct pollfd *p, struct buf *said)
{
	ssize_t n;

	if (p->fd < 0 || p->revents == 0)
		return;
	n = read(p->fd, buf_reserve(said, 4096), 4096);
	if (n > 0)
		said->len += (size_t)n;
	else if (n == 0 || errno != EINTR)
		p->fd = -1;
}

/* Reads until all have closed the other ends, and passes complaints on.  False at the deadline. */
static bool hear(int answer, int complaints, int64_t deadline, struct buf *said)
{
	struct pollfd fds[] = { { .fd = answer, .events = POLLIN }, { .fd = complaints, .events = POLLIN } };
	struct buf lines = { 0 };
	int ready = 0;

	while (fds[0].fd >= 0 || fds[1].fd >= 0) {
		ready = poll(fds, 2, clock_poll_timeout(deadline));
		if (ready == 0 || (ready < 0 && errno != EINTR))
			break;
		if (ready < 0)
			continue;
		take(&fds[0], said);
		take(&fds[1], &lines);
		(void)!write(STDERR_FILENO, buf_str(&lines), lines.len);
		buf_clear(&lines);
	}
	buf_free(&lines);
	return ready > 0;
}

static bool take_answer(struct buf *said, int *status, struct buf *out)
{
	struct head head;

	if (said->len < sizeof head)
		return false;
	memcpy(&head, said->data, sizeof head);
	if (said->len - sizeof head != head.length)
		return false;
	*status = head.status;
	buf_add(out, said->data + sizeof head, head.length);
	return true;
}

enum guard_end guard_run(guard_work *work, void *context, int64_t deadline, int *status, struct buf *out)
{
	/* standard output is not for it to keep open: the end of that is waited for */
	struct child_rules rules = { .in = CHILD_NULL, .out = CHILD_NULL };
	struct buf said = { 0 };
	bool ended, answered;
	int ends[2], errors[2], state = 0;
	pid_t pid = -1;

	if (pipe2(ends, O_CLOEXEC) == 0 && pipe2(errors, O_CLOEXEC) == 0) {
		rules.err = errors[1];
		pid = child_fork(&rules);
	}
	if (pid < 0)
		die(EX_OSERR, "cannot start a process: %s", strerror(errno));
	if (pid == 0) {
		close(errors[1]);
		signal(SIGPIPE, SIG_IGN);
		work(context, ends[1]);
		exit(EX_OK);
	}
	close(ends[1]);
	close(errors[1]);
	ended = hear(ends[0], errors[0], deadline, &said);
	close(ends[0]);
	close(errors[0]);
	answered = take_answer(&said, status, out);
	buf_free(&said);
	if (answered)
		return GUARD_ANSWERED;
	if (!ended)
		return GUARD_LATE;
	child_end(pid, CHILD_LEAVE, CLOCK_NEVER, &state);
	*status = WIFEXITED(state) ? WEXITSTATUS(state) : EX_SOFTWARE;
	return GUARD_ENDED;
}
