#include "channel/net/connect.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "lib/clock.h"

/* RFC 8305 section 5: "Connection Attempt Delay" */
#define ATTEMPT_DELAY 250
/*
 * A socket whose backlog is full says so at once (EAGAIN); the server will take
 * the next one in a moment, or is in trouble and mail is deferred.
 */
#define BACKLOG_DELAY 20
#define BACKLOG_LIMIT 3000

static void note_failure(struct connecting *c, const char *step, int error)
{
	if (c->why.len > 0)
		buf_adds(&c->why, "; ");
	if (c->target->kind == TARGET_UNIX) {
		buf_addf(&c->why, "%s %s: %s", step, c->target->name, strerror(error));
		return;
	}
	buf_addf(&c->why, "%s %s [", step, c->target->text);
	target_format_address((const struct sockaddr *)&c->addresses->list[c->next],
	                      c->addresses->lengths[c->next], &c->why);
	buf_addf(&c->why, "]: %s", strerror(error));
}

static bool prepare(const struct connecting *c, int fd, int family)
{
	const struct sockaddr_storage *source = c->options->source;
	int on = 1, size = c->options->send_buffer;

	if (size > 0)
		setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &size, sizeof size);
	if (family == AF_UNIX)
		return true;
	setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof on);
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
	if (c->options->reserved_port) {
		/* rresvport(3) is for IPv4 only; this tries the ports that it would. */
		for (unsigned port = 1023; port >= 512; port--) {
			struct sockaddr_in6 v6 = { .sin6_family = AF_INET6, .sin6_port = htons((uint16_t)port) };
			struct sockaddr_in v4 = { .sin_family = AF_INET, .sin_port = htons((uint16_t)port) };
			int done = family == AF_INET6 ? bind(fd, (struct sockaddr *)&v6, sizeof v6)
			                              : bind(fd, (struct sockaddr *)&v4, sizeof v4);

			if (done == 0)
				return true;
			if (errno != EADDRINUSE)
				return false;
		}
		return false;
	}
	return source == NULL || source->ss_family != family ||
	       bind(fd, (const struct sockaddr *)source, c->options->source_length) == 0;
}

/*
 * Tries address number c->next.  Returns the descriptor if it is connected at
 * once; -1 if it is on its way, has failed, or is to be tried again.
 */
static int attempt(struct connecting *c)
{
	const struct sockaddr *address = (const struct sockaddr *)&c->addresses->list[c->next];
	int fd = socket(address->sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	if (fd < 0) {
		note_failure(c, "socket for", errno);
		c->next++;
		return -1;
	}
	if (!prepare(c, fd, address->sa_family)) {
		note_failure(c, "bind for", errno);
	} else if (connect(fd, address, c->addresses->lengths[c->next]) == 0) {
		return fd;
	} else if (errno == EINPROGRESS) {
		c->fds[c->count] = fd;
		c->which[c->count++] = c->next++;
		return -1;
	} else if (errno == EAGAIN && c->deadline - c->options->timeout + BACKLOG_LIMIT > clock_ms()) {
		close(fd);
		return -1;
	} else {
		note_failure(c, "connect to", errno);
	}
	close(fd);
	c->next++;
	return -1;
}

/* Starts those whose time has come.  A full backlog leaves c->next where it is, to be tried again. */
static enum connect_state start_due(struct connecting *c, int *fd)
{
	while (c->next < c->addresses->count && c->count < CONNECT_ATTEMPTS) {
		size_t was = c->next, open = c->count;

		*fd = attempt(c);
		if (*fd >= 0) {
			connect_stop(c);
			return CONNECT_DONE;
		}
		if (c->next == was) {
			c->next_at = clock_ms() + BACKLOG_DELAY;
			return CONNECT_GOING_ON;
		}
		if (c->count > open) {
			c->next_at = clock_ms() + ATTEMPT_DELAY;
			return CONNECT_GOING_ON;
		}
	}
	if (c->count > 0 || c->next < c->addresses->count)
		return CONNECT_GOING_ON;
	return CONNECT_FAILED;
}

enum connect_state connect_start(struct connecting *c, const struct target *target, const struct addresses *addresses,
                                 const struct connect_options *options, int *fd)
{
	buf_clear(&c->why);
	c->target = target;
	c->addresses = addresses;
	c->options = options;
	c->count = 0;
	c->next = 0;
	c->deadline = clock_ms() + options->timeout;
	return start_due(c, fd);
}

size_t connect_poll(const struct connecting *c, struct pollfd *fds)
{
	for (size_t i = 0; i < c->count; i++)
		fds[i] = (struct pollfd){ .fd = c->fds[i], .events = POLLOUT };
	return c->count;
}

int64_t connect_deadline(const struct connecting *c)
{
	if (c->next < c->addresses->count && c->count < CONNECT_ATTEMPTS && c->next_at < c->deadline)
		return c->next_at;
	return c->deadline;
}

static void drop(struct connecting *c, size_t i)
{
	c->count--;
	c->fds[i] = c->fds[c->count];
	c->which[i] = c->which[c->count];
}

/* 1 connected, 0 still on its way, -1 failed (noted). */
static int look_at(struct connecting *c, size_t i)
{
	struct pollfd p = { .fd = c->fds[i], .events = POLLOUT };
	socklen_t length = sizeof(int);
	int error = 0;
	size_t next = c->next;

	if (poll(&p, 1, 0) <= 0)
		return 0;
	if (getsockopt(c->fds[i], SOL_SOCKET, SO_ERROR, &error, &length) < 0)
		error = errno;
	if (error == 0)
		return 1;
	c->next = c->which[i];
	note_failure(c, "connect to", error);
	c->next = next;
	return -1;
}

enum connect_state connect_continue(struct connecting *c, int *fd)
{
	for (size_t i = 0; i < c->count;) {
		int state = look_at(c, i);

		if (state > 0) {
			*fd = c->fds[i];
			drop(c, i);
			connect_stop(c);
			return CONNECT_DONE;
		}
		if (state == 0) {
			i++;
			continue;
		}
		close(c->fds[i]);
		drop(c, i);
		c->next_at = 0;
	}
	if (clock_ms() >= c->deadline) {
		buf_addf(&c->why, "%sconnect to %s: no answer within %lld s", c->why.len > 0 ? "; " : "", c->target->text,
		         (long long)(c->options->timeout / 1000));
		connect_stop(c);
		return CONNECT_FAILED;
	}
	if (c->next < c->addresses->count && clock_ms() < c->next_at)
		return CONNECT_GOING_ON;
	return start_due(c, fd);
}

void connect_stop(struct connecting *c)
{
	while (c->count > 0)
		close(c->fds[--c->count]);
}
