/*
 * asking socketmap|policy echo SOCKET            a server that answers each question with a fixed reply, and does nothing else
 * asking socketmap|policy ask SOCKET CLIENTS SECONDS DOMAIN USERS
 *
 * The second one asks for user0@DOMAIN to userN@DOMAIN by so many connections at once, each with one question on its way, and
 * prints questions per second and the times of the median and of the 99th of a hundred, in microseconds.
 */
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "db/serve/netstring.h"
#include "lib/alloc.h"
#include "lib/buf.h"
#include "lib/log.h"

#define CONNECTIONS_MAX 1200
#define TIMES_MAX 4000000

static bool policy;
static struct pollfd fds[CONNECTIONS_MAX + 1];
static struct buf in[CONNECTIONS_MAX + 1];
static int64_t asked_at[CONNECTIONS_MAX];
static uint32_t *times;
static size_t time_count;

static int64_t now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

static int open_socket(const char *path, bool listening)
{
	struct sockaddr_un un = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM, 0);

	if (fd < 0 || strlen(path) >= sizeof un.sun_path)
		die(71, "%s: no socket", path);
	strcpy(un.sun_path, path);
	if (listening ? bind(fd, (struct sockaddr *)&un, sizeof un) < 0 || listen(fd, 1024) < 0
	              : connect(fd, (struct sockaddr *)&un, sizeof un) < 0)
		die(71, "%s: %s", path, strerror(errno));
	return fd;
}

/* Takes one whole message of the protocol off the input; false if it is not there yet. */
static bool take_message(struct buf *b)
{
	const char *content;
	size_t length, used;
	char *end;

	if (policy) {
		end = b->len > 0 ? memmem(b->data, b->len, "\n\n", 2) : NULL;
		if (end == NULL)
			return false;
		used = (size_t)(end - b->data) + 2;
	} else if (netstring_read(buf_str(b), b->len, &content, &length, &used) != NETSTRING_WHOLE) {
		return false;
	}
	buf_consume(b, used);
	return true;
}

static bool receive(size_t i)
{
	ssize_t n = read(fds[i].fd, buf_reserve(&in[i], 65536), 65536);

	if (n > 0)
		in[i].len += (size_t)n;
	return n > 0;
}

/* A client that has gone is no fault of a server's. */
static void send_all(int fd, const struct buf *b)
{
	if (send(fd, b->data, b->len, MSG_NOSIGNAL) != (ssize_t)b->len && errno != EPIPE)
		die(74, "cannot send: %s", strerror(errno));
}

/* ---- the bare server ---- */

static _Noreturn void echo(const char *path)
{
	struct buf reply = { 0 };
	size_t count = 1;

	if (policy)
		buf_adds(&reply, "action=DUNNO\n\n");
	else
		netstring_add(&reply, "OK OK", 5);
	fds[0] = (struct pollfd){ .fd = open_socket(path, true), .events = POLLIN };
	for (;;) {
		if (poll(fds, count, -1) < 0)
			die(71, "poll: %s", strerror(errno));
		for (size_t i = 1; i < count; i++) {
			if (fds[i].revents == 0)
				continue;
			if (!receive(i)) {
				struct buf empty = in[i];

				close(fds[i].fd);
				empty.len = 0;
				fds[i] = fds[--count];
				in[i] = in[count];
				in[count] = empty;
				continue;
			}
			while (take_message(&in[i]))
				send_all(fds[i].fd, &reply);
		}
		if (fds[0].revents != 0 && count <= CONNECTIONS_MAX)
			fds[count++] = (struct pollfd){ .fd = accept(fds[0].fd, NULL, NULL), .events = POLLIN };
	}
}

/* ---- who asks ---- */

static void ask(size_t i, const char *domain, unsigned long users)
{
	static unsigned long number;
	struct buf question = { 0 }, key = { 0 };

	/* steps through all of them, and not in their order */
	number = (number + 7919) % users;
	if (policy) {
		buf_addf(&question, "request=smtpd_access_policy\nprotocol_state=RCPT\nprotocol_name=ESMTP\nsender=a@client.example\n"
		                    "recipient=user%lu@%s\nclient_address=192.0.2.1\n\n", number, domain);
	} else {
		buf_addf(&key, "recipient user%lu@%s", number, domain);
		netstring_add(&question, key.data, key.len);
	}
	asked_at[i] = now_ns();
	send_all(fds[i].fd, &question);
	buf_free(&question);
	buf_free(&key);
}

static int compare(const void *a, const void *b)
{
	const uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

	return x < y ? -1 : x > y;
}

static void run(const char *path, size_t clients, double seconds, const char *domain, unsigned long users)
{
	const int64_t begin = now_ns(), end = begin + (int64_t)(seconds * 1e9);
	int64_t now = begin;

	times = xcalloc(TIMES_MAX, sizeof *times);
	for (size_t i = 0; i < clients; i++) {
		fds[i] = (struct pollfd){ .fd = open_socket(path, false), .events = POLLIN };
		ask(i, domain, users);
	}
	while (now < end) {
		if (poll(fds, clients, 10000) <= 0)
			die(75, "no answer within 10 s");
		for (size_t i = 0; i < clients; i++) {
			if (fds[i].revents == 0)
				continue;
			if (!receive(i))
				die(76, "the server has closed a connection");
			if (!take_message(&in[i]))
				continue;
			now = now_ns();
			if (time_count < TIMES_MAX)
				times[time_count++] = (uint32_t)((now - asked_at[i]) / 1000);
			ask(i, domain, users);
		}
	}
	qsort(times, time_count, sizeof *times, compare);
	printf("%.0f %u %u\n", (double)time_count * 1e9 / (double)(now - begin), times[time_count / 2], times[time_count * 99 / 100]);
}

int main(int argc, char **argv)
{
	if (argc < 4 || (strcmp(argv[1], "socketmap") != 0 && strcmp(argv[1], "policy") != 0))
		die(64, "asking socketmap|policy echo SOCKET, or ask SOCKET CLIENTS SECONDS DOMAIN USERS");
	policy = strcmp(argv[1], "policy") == 0;
	if (strcmp(argv[2], "echo") == 0)
		echo(argv[3]);
	if (argc != 8 || strtoul(argv[4], NULL, 10) > CONNECTIONS_MAX)
		die(64, "ask SOCKET CLIENTS SECONDS DOMAIN USERS; at most %d clients", CONNECTIONS_MAX);
	run(argv[3], strtoul(argv[4], NULL, 10), strtod(argv[5], NULL), argv[6], strtoul(argv[7], NULL, 10));
	return 0;
}
