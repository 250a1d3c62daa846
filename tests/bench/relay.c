/*
 * relay FROM TO DELAY-MS: forwards connections from one UNIX socket to another,
 * each byte delayed by a fixed time in each direction, so that round trips can
 * be counted on any machine.
 */
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "lib/alloc.h"
#include "lib/clock.h"
#include "lib/log.h"

#define PAIRS 32

/* Bytes on their way, in order of arrival. */
struct chunk {
	struct chunk *next;
	int64_t due;
	size_t length, done;
	char bytes[];
};

struct direction {
	int from, to;
	struct chunk *first, *last;
	int ended;          /* end of file was read */
};

struct pair {
	struct direction way[2];
};

static struct pair pairs[PAIRS];
static size_t count;
static int64_t delay;

static int unix_socket(const char *path, int listening)
{
	struct sockaddr_un un = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM, 0);

	if (fd < 0 || strlen(path) >= sizeof un.sun_path)
		die(71, "%s: no socket", path);
	strcpy(un.sun_path, path);
	if (listening) {
		unlink(path);
		if (bind(fd, (struct sockaddr *)&un, sizeof un) < 0 || listen(fd, PAIRS) < 0)
			die(71, "%s: %s", path, strerror(errno));
	} else if (connect(fd, (struct sockaddr *)&un, sizeof un) < 0) {
		die(71, "%s: %s", path, strerror(errno));
	}
	return fd;
}

static void take(struct direction *d)
{
	struct chunk *c = xmalloc(sizeof *c + 65536);
	ssize_t n = read(d->from, c->bytes, 65536);

	if (n <= 0) {
		d->ended = 1;
		free(c);
		return;
	}
	*c = (struct chunk){ .due = clock_ms() + delay, .length = (size_t)n };
	if (d->last != NULL)
		d->last->next = c;
	else
		d->first = c;
	d->last = c;
}

static void give(struct direction *d)
{
	while (d->first != NULL && d->first->due <= clock_ms()) {
		struct chunk *c = d->first;
		ssize_t n = send(d->to, c->bytes + c->done, c->length - c->done, MSG_DONTWAIT | MSG_NOSIGNAL);

		if (n < 0 && errno == EAGAIN)
			return;
		if (n >= 0 && (c->done += (size_t)n) < c->length)
			return;
		d->first = c->next;
		if (d->first == NULL)
			d->last = NULL;
		free(c);
	}
	if (d->ended == 1 && d->first == NULL) {
		shutdown(d->to, SHUT_WR);
		d->ended = 2;
	}
}

int main(int argc, char **argv)
{
	int listener;

	log_program("relay");
	if (argc != 4)
		die(64, "usage: relay FROM TO DELAY-MS");
	delay = atoll(argv[3]);
	listener = unix_socket(argv[1], 1);
	for (;;) {
		struct pollfd fds[1 + 2 * PAIRS];
		int64_t next = CLOCK_NEVER;

		fds[0] = (struct pollfd){ .fd = count < PAIRS ? listener : -1, .events = POLLIN };
		for (size_t i = 0; i < 2 * count; i++) {
			struct direction *d = &pairs[i / 2].way[i % 2];

			fds[1 + i] = (struct pollfd){ .fd = d->ended ? -1 : d->from, .events = POLLIN };
			if (d->first != NULL && d->first->due < next)
				next = d->first->due;
		}
		if (poll(fds, 1 + 2 * count, clock_poll_timeout(next)) < 0)
			continue;
		for (size_t i = 0; i < 2 * count; i++) {
			struct direction *d = &pairs[i / 2].way[i % 2];

			if (fds[1 + i].revents != 0)
				take(d);
			give(d);
		}
		if (fds[0].revents != 0) {
			int client = accept(listener, NULL, NULL), server = unix_socket(argv[2], 0);

			pairs[count++] = (struct pair){ { { .from = client, .to = server }, { .from = server, .to = client } } };
		}
	}
}
