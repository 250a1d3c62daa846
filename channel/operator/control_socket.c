#include "channel/operator/control_socket.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "channel/operator/overview.h"
#include "channel/operator/status.h"
#include "channel/queue/control_line.h"
#include "lib/account.h"
#include "lib/alloc.h"
#include "lib/file.h"
#include "lib/log.h"

/* A client that does not read its answers is not read any more beyond so many bytes of them. */
#define ANSWERS_MAX ((size_t)64 * 1024)
/* Requests that wait for agents. */
#define WAITING_MAX 1000
#define RETRY_PAUSE 50
/* Before the next look at clients for whom there was no descriptor: they are there all the time. */
#define ACCEPT_PAUSE 1000
/* One that is silent for so long makes room for another one, and is closed after so long, in milliseconds. */
#define SILENT_MAX 2000
#define IDLE_MAX (10 * 60 * 1000)
/* Operations wait for the disk: mail has its turn after so many milliseconds. */
#define SLICE 20

struct client {
	int fd;                   /* -1: this place is free */
	struct buf in, out;
	char *by;
	bool ended;               /* it sends nothing more */
	size_t waiting;           /* requests of it that wait */
	int64_t active;           /* clock_ms(): when it was accepted, or the last of its bytes went either way */
};

/* A request whose message is with an agent. */
struct waiting {
	struct waiting *next;
	struct client *client;
	char *line;               /* what the request points into */
	struct control_request request;
	int64_t until;
};

struct control_server {
	struct scheduler *scheduler;
	bool json;
	int fd;
	struct client clients[CONTROL_CLIENTS];
	struct waiting *waiting;
	size_t waiting_count;
	int64_t again;            /* clock_ms(): the waiting ones are tried again; CLOCK_NEVER without */
	int64_t accept_at;        /* clock_ms(): no client is accepted before; 0 if there was no trouble */
	int64_t now;              /* clock_ms(), when something was done last */
	int64_t began;            /* clock_ms() */
	struct status_sums sums;
};

struct control_server *control_socket_listen(struct scheduler *s, bool json, struct buf *why)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX, .sun_path = CONTROL_SOCKET };
	struct control_server *c;
	mode_t mask;
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	bool ok;

	/* what a runqueue left that was killed; the lock says that none lives */
	unlink(CONTROL_SOCKET);
	mask = umask(0177);
	/* given away by name it could be another file by then */
	file_as_owner("../.");
	ok = fd >= 0 && bind(fd, (const struct sockaddr *)&address, sizeof address) == 0 && listen(fd, SOMAXCONN) == 0;
	file_as_oneself();
	umask(mask);
	if (!ok) {
		buf_addf(why, "%s: %s", &CONTROL_SOCKET[3], strerror(errno));
		if (fd >= 0)
			close(fd);
		return NULL;
	}
	c = xcalloc(1, sizeof *c);
	c->scheduler = s;
	c->json = json;
	c->fd = fd;
	c->again = CLOCK_NEVER;
	c->began = clock_ms();
	for (size_t i = 0; i < CONTROL_CLIENTS; i++)
		c->clients[i].fd = -1;
	return c;
}

/* ---- clients ---- */

static void free_waiting(struct control_server *c, struct waiting **at)
{
	struct waiting *w = *at;

	*at = w->next;
	w->client->waiting--;
	c->waiting_count--;
	free(w->request.operation.recipients);
	free(w->line);
	free(w);
}

/* What it asked for and waits for an agent is given up: it would have no reader. */
static void forget_client(struct control_server *c, struct client *k)
{
	for (struct waiting **at = &c->waiting; *at != NULL;) {
		if ((*at)->client == k) {
			scheduler_unpark(c->scheduler, (*at)->request.operation.job);
			free_waiting(c, at);
		} else {
			at = &(*at)->next;
		}
	}
	close(k->fd);
	buf_free(&k->in);
	buf_free(&k->out);
	free(k->by);
	*k = (struct client){ .fd = -1 };
}

static bool has_line(const struct client *k)
{
	return k->in.len > 0 && (memchr(k->in.data, '\n', k->in.len) != NULL || k->in.len > CONTROL_LINE_MAX);
}

/*
 * The place of the one that is silent for longest; CONTROL_CLIENTS if there is none.  One that waits for an answer is not
 * silent; one that does not read its answer is, but not `idle`: an operator may be looking at a page of it.
 */
static size_t find_silent(const struct control_server *c, bool idle)
{
	size_t longest = CONTROL_CLIENTS;

	for (size_t i = 0; i < CONTROL_CLIENTS; i++) {
		const struct client *k = &c->clients[i];

		if (k->fd >= 0 && k->waiting == 0 && (longest == CONTROL_CLIENTS || k->active < c->clients[longest].active) &&
		    !(idle && k->out.len > 0) && !has_line(k))
			longest = i;
	}
	return longest;
}

/* When that client makes room, for another one or not; CLOCK_NEVER without one. */
static int64_t leaves_at(const struct control_server *c, bool idle)
{
	size_t i = find_silent(c, idle);

	return i < CONTROL_CLIENTS ? c->clients[i].active + (idle ? IDLE_MAX : SILENT_MAX) : CLOCK_NEVER;
}

static bool is_full(const struct control_server *c)
{
	for (size_t i = 0; i < CONTROL_CLIENTS; i++)
		if (c->clients[i].fd < 0)
			return false;
	return true;
}

/* May one more come, if only in the place of one that is silent? */
static bool may_accept(const struct control_server *c)
{
	return c->accept_at == 0 && (!is_full(c) || c->now >= leaves_at(c, false));
}

/* A place for the next client; NULL if there is none, or no client waits. */
static struct client *find_place(struct control_server *c)
{
	if (!may_accept(c) || poll(&(struct pollfd){ .fd = c->fd, .events = POLLIN }, 1, 0) <= 0)
		return NULL;
	if (is_full(c))
		forget_client(c, &c->clients[find_silent(c, false)]);
	for (size_t i = 0; i < CONTROL_CLIENTS; i++)
		if (c->clients[i].fd < 0)
			return &c->clients[i];
	return NULL;
}

static void take_clients(struct control_server *c, int64_t now)
{
	struct client *k;

	while (leaves_at(c, true) <= now)
		forget_client(c, &c->clients[find_silent(c, true)]);
	if (now >= c->accept_at)
		c->accept_at = 0;
	while ((k = find_place(c)) != NULL) {
		struct buf name = { 0 };
		struct ucred peer = { .uid = (uid_t)-1 };
		socklen_t size = sizeof peer;

		k->fd = accept4(c->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
		if (k->fd < 0) {
			if (errno != EAGAIN && errno != EINTR && errno != ECONNABORTED)
				c->accept_at = now + ACCEPT_PAUSE;
			return;
		}
		k->active = now;
		if (getsockopt(k->fd, SOL_SOCKET, SO_PEERCRED, &peer, &size) == 0)
			account_add_user(&name, peer.uid);
		k->by = xstrdup(buf_str(&name));
		buf_free(&name);
	}
}

static bool may_read(const struct control_server *c, const struct client *k)
{
	return k->fd >= 0 && !k->ended && k->out.len < ANSWERS_MAX && c->waiting_count < WAITING_MAX;
}

/* ---- requests ---- */

static void wait_for_agent(struct control_server *c, struct client *k, char *line, const struct control_request *r, int64_t now)
{
	struct waiting **last = &c->waiting, *w = xcalloc(1, sizeof *w);

	while (*last != NULL)
		last = &(*last)->next;
	w->client = k;
	w->line = line;
	w->request = *r;
	w->until = now + r->patience * 1000;
	*last = w;
	k->waiting++;
	c->waiting_count++;
	if (c->again == CLOCK_NEVER)
		c->again = now + RETRY_PAUSE;
}

/* Takes over the line. */
static void carry_out(struct control_server *c, struct client *k, char *line, struct moment now)
{
	struct control_request r;
	struct buf why = { 0 };
	size_t changed = 0, rows;
	const char *tag;
	enum operation_result result;

	if (status_is_request(line, &tag, &rows)) {
		status_add(&k->out, tag, rows, c->scheduler, &c->sums, c->began);
		free(line);
		return;
	}
	if (overview_is_request(line, &tag)) {
		overview_add(&k->out, tag, c->scheduler);
		free(line);
		return;
	}
	if (!control_line_parse_request(line, &r, &why)) {
		buf_addf(&k->out, "%s\tbad\t0\t%s\n", r.tag != NULL ? r.tag : "?", buf_str(&why));
	} else {
		r.operation.by = k->by;
		r.operation.json = c->json;
		result = scheduler_operate(c->scheduler, &r.operation, now, &changed, &why);
		if (result == OPERATION_BUSY && r.patience > 0) {
			wait_for_agent(c, k, line, &r, now.ms);
			buf_free(&why);
			return;
		}
		if (result == OPERATION_BUSY)
			scheduler_unpark(c->scheduler, r.operation.job);
		control_line_add_answer(&k->out, r.tag, result, changed, buf_str(&why));
	}
	free(r.operation.recipients);
	free(line);
	buf_free(&why);
}

/* The first line of what it sent, to be freed; NULL if there is none.  A line without end is the last of this client. */
static char *take_line(struct client *k)
{
	char *lf = k->in.len > 0 ? memchr(k->in.data, '\n', k->in.len) : NULL, *line;

	if (lf == NULL || (size_t)(lf - k->in.data) > CONTROL_LINE_MAX) {
		if (k->in.len <= CONTROL_LINE_MAX)
			return NULL;
		buf_adds(&k->out, "?\tbad\t0\texpected a line of at most 8388608 bytes\n");
		buf_clear(&k->in);
		k->ended = true;
		return NULL;
	}
	*lf = '\0';
	/* a NUL inside would hide the rest */
	for (char *s = k->in.data; s < lf; s++)
		if (*s == '\0')
			*s = '\1';
	line = xstrdup(k->in.data);
	buf_consume(&k->in, (size_t)(lf - k->in.data) + 1);
	return line;
}

static void serve(struct control_server *c, struct client *k, struct moment now, int64_t end)
{
	char *line;

	if (may_read(c, k)) {
		char bytes[16 * 1024];
		ssize_t n = recv(k->fd, bytes, sizeof bytes, MSG_DONTWAIT);

		if (n > 0) {
			buf_add(&k->in, bytes, (size_t)n);
			k->active = now.ms;
		} else if (n == 0 || (errno != EAGAIN && errno != EINTR)) {
			k->ended = true;
		}
	}
	while (k->fd >= 0 && k->out.len < ANSWERS_MAX && c->waiting_count < WAITING_MAX && clock_ms() < end &&
	       (line = take_line(k)) != NULL)
		carry_out(c, k, line, now);
	if (k->out.len > 0) {
		ssize_t n = send(k->fd, k->out.data, k->out.len, MSG_NOSIGNAL | MSG_DONTWAIT);

		if (n > 0) {
			buf_consume(&k->out, (size_t)n);
			k->active = now.ms;
		} else if (n < 0 && errno != EAGAIN && errno != EINTR) {
			k->ended = true;
			buf_clear(&k->out);
			buf_clear(&k->in);
		}
	}
	/* half a line at the end is no request */
	if (k->ended && !has_line(k) && k->waiting == 0 && k->out.len == 0)
		forget_client(c, k);
}

static void try_waiting(struct control_server *c, struct moment now)
{
	for (struct waiting **at = &c->waiting; *at != NULL;) {
		struct waiting *w = *at;
		struct buf why = { 0 };
		size_t changed = 0;
		enum operation_result result = scheduler_operate(c->scheduler, &w->request.operation, now, &changed, &why);

		if (result == OPERATION_BUSY && w->until > now.ms) {
			at = &w->next;
		} else {
			if (result == OPERATION_BUSY)
				scheduler_unpark(c->scheduler, w->request.operation.job);
			control_line_add_answer(&w->client->out, w->request.tag, result, changed, buf_str(&why));
			free_waiting(c, at);
		}
		buf_free(&why);
	}
	c->again = c->waiting != NULL ? now.ms + RETRY_PAUSE : CLOCK_NEVER;
}

void control_socket_work(struct control_server *c, struct moment now)
{
	int64_t end = clock_ms() + SLICE;

	c->now = now.ms;
	take_clients(c, now.ms);
	if (c->again <= now.ms)
		try_waiting(c, now);
	for (size_t i = 0; i < CONTROL_CLIENTS; i++)
		if (c->clients[i].fd >= 0)
			serve(c, &c->clients[i], now, end);
}

int64_t control_socket_deadline(const struct control_server *c)
{
	int64_t deadline = c->accept_at != 0 && c->accept_at < c->again ? c->accept_at : c->again;
	/* from then on control_socket_poll() sees new clients */
	int64_t leaves = leaves_at(c, !is_full(c) || may_accept(c));

	for (size_t i = 0; i < CONTROL_CLIENTS; i++) {
		const struct client *k = &c->clients[i];

		if (k->fd >= 0 && has_line(k) && k->out.len < ANSWERS_MAX && c->waiting_count < WAITING_MAX)
			return 0;
		if (k->fd >= 0 && k->ended && k->waiting == 0 && k->out.len == 0)
			return 0;
	}
	return leaves < deadline ? leaves : deadline;
}

size_t control_socket_poll(struct control_server *c, struct pollfd *fds)
{
	size_t n = 0;

	for (size_t i = 0; i < CONTROL_CLIENTS; i++) {
		const struct client *k = &c->clients[i];
		short events = (short)((may_read(c, k) ? POLLIN : 0) | (k->out.len > 0 ? POLLOUT : 0));

		if (k->fd >= 0 && events != 0)
			fds[n++] = (struct pollfd){ .fd = k->fd, .events = events };
	}
	if (may_accept(c))
		fds[n++] = (struct pollfd){ .fd = c->fd, .events = POLLIN };
	return n;
}

void control_socket_close(struct control_server **server)
{
	struct control_server *c = *server;

	if (c == NULL)
		return;
	for (size_t i = 0; i < CONTROL_CLIENTS; i++)
		if (c->clients[i].fd >= 0)
			forget_client(c, &c->clients[i]);
	close(c->fd);
	unlink(CONTROL_SOCKET);
	free(c);
	*server = NULL;
}
