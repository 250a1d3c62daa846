#include "channel/operator/control_client.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "channel/queue/control_line.h"
#include "lib/alloc.h"
#include "lib/clock.h"

/* So much may wait to be sent. */
#define REQUESTS_MAX ((size_t)64 * 1024)
/* Longer than runqueue waits for agents and for its disk, in milliseconds. */
#define SILENCE (30 * 1000)
#define UNKNOWN_ANSWER "runqueue sent an unknown answer; is it of another version?"

int control_client_connect(void)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX, .sun_path = CONTROL_SOCKET };
	/* a runqueue that hangs takes no connections some day, which is no reason to wait for it */
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	if (fd >= 0 && connect(fd, (const struct sockaddr *)&address, sizeof address) < 0) {
		int error = errno;

		close(fd);
		errno = error;
		return -1;
	}
	return fd;
}

static void answer(struct control_client *c, size_t request, enum operation_result result, size_t changed, const char *words)
{
	c->open[request] = false;
	c->unanswered--;
	c->answered(c->context, request, result, changed, words);
}

static void give_up(struct control_client *c, const char *why)
{
	for (size_t i = 0; i < c->asked; i++)
		if (c->open[i])
			answer(c, i, OPERATION_TROUBLE, 0, why);
	if (c->fd >= 0)
		close(c->fd);
	c->fd = -1;
	buf_clear(&c->out);
}

static void take_answers(struct control_client *c)
{
	char *lf;

	while (c->in.len > 0 && (lf = memchr(c->in.data, '\n', c->in.len)) != NULL) {
		struct control_answer a;
		size_t length = (size_t)(lf - c->in.data) + 1;

		*lf = '\0';
		if (!control_line_parse_answer(c->in.data, &a) || a.tag >= c->asked || !c->open[a.tag]) {
			give_up(c, UNKNOWN_ANSWER);
			return;
		}
		answer(c, (size_t)a.tag, a.result, (size_t)a.changed, a.words);
		buf_consume(&c->in, length);
	}
	if (c->in.len > CONTROL_LINE_MAX)
		give_up(c, UNKNOWN_ANSWER);
}

/* One step: sends and receives what goes, waiting up to the deadline.  False when the time is up. */
static bool exchange(struct control_client *c, int64_t deadline)
{
	struct pollfd p = { .fd = c->fd, .events = (short)(POLLIN | (c->out.len > 0 ? POLLOUT : 0)) };
	char bytes[16 * 1024];
	ssize_t n;
	int ready = poll(&p, 1, clock_poll_timeout(deadline));

	if (ready <= 0)
		return ready < 0 && errno == EINTR;
	if (p.revents & POLLOUT) {
		n = send(c->fd, c->out.data, c->out.len, MSG_NOSIGNAL | MSG_DONTWAIT);
		if (n > 0)
			buf_consume(&c->out, (size_t)n);
	}
	if (p.revents & (POLLIN | POLLHUP | POLLERR)) {
		n = recv(c->fd, bytes, sizeof bytes, MSG_DONTWAIT);
		if (n > 0)
			buf_add(&c->in, bytes, (size_t)n);
		else if (n == 0 || (errno != EAGAIN && errno != EINTR))
			give_up(c, "runqueue ended before it answered; list the queue again");
		take_answers(c);
	}
	return true;
}

static int64_t deadline(const struct control_client *c)
{
	return clock_ms() + c->patience * 1000 + SILENCE;
}

void control_client_ask(struct control_client *c, const struct operation *o)
{
	struct buf why = { 0 };
	size_t request = c->asked;

	c->open = xgrow(c->open, c->asked, &c->capacity, sizeof *c->open);
	c->open[request] = true;
	c->asked++;
	c->unanswered++;
	if (c->fd < 0)
		answer(c, request, OPERATION_TROUBLE, 0, "runqueue has ended; nothing was changed");
	else if (!control_line_add_request(&c->out, request, o, c->patience, &why))
		answer(c, request, OPERATION_TROUBLE, 0, buf_str(&why));
	buf_free(&why);
	for (int64_t until = deadline(c); c->fd >= 0 && c->out.len > REQUESTS_MAX;)
		if (!exchange(c, until))
			give_up(c, "runqueue does not answer; list the queue again");
}

void control_client_finish(struct control_client *c)
{
	while (c->unanswered > 0 && c->fd >= 0) {
		size_t before = c->unanswered;
		int64_t until = deadline(c);

		while (c->fd >= 0 && c->unanswered == before)
			if (!exchange(c, until))
				give_up(c, "runqueue does not answer; list the queue again");
	}
	if (c->fd >= 0)
		close(c->fd);
	buf_free(&c->in);
	buf_free(&c->out);
	free(c->open);
}
