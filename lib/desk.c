#include "lib/desk.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <sysexits.h>
#include <unistd.h>

#include "lib/alloc.h"
#include "lib/child.h"
#include "lib/clock.h"
#include "lib/file.h"

#define PIECE 65536

/* Question and answer go behind their length, four bytes of this machine. */

struct question {
	struct question *next;
	char *bytes;
	size_t n;
	void **owners;
	size_t count, capacity;
};

struct worker {
	pid_t pid;                    /* 0: none runs */
	int fd;
	struct question *question;    /* it works on; NULL: none */
	int64_t deadline;
	struct buf in;
};

struct desk {
	struct desk_rules rules;
	struct worker *workers;
	struct question *first, **last;    /* that no child has */
	struct question *done;             /* owners are told one by one */
	struct buf answer;
	const char *fault;
	pid_t *left;                       /* told to end */
	size_t left_count, left_capacity;
};

/* ---- questions ------------------------------------------------------------------ */

static void question_free(struct question **q)
{
	free((*q)->bytes);
	free((*q)->owners);
	free(*q);
	*q = NULL;
}

static void add_owner(struct question *q, void *owner)
{
	q->owners = xgrow(q->owners, q->count, &q->capacity, sizeof *q->owners);
	q->owners[q->count++] = owner;
}

static void remove_owner(struct question *q, const void *owner)
{
	size_t kept = 0;

	for (size_t i = 0; q != NULL && i < q->count; i++)
		if (q->owners[i] != owner)
			q->owners[kept++] = q->owners[i];
	if (q != NULL)
		q->count = kept;
}

static bool is_same(const struct question *q, const char *bytes, size_t n)
{
	return q != NULL && q->n == n && memcmp(q->bytes, bytes, n) == 0;
}

static struct question *find_question(const struct desk *d, const char *bytes, size_t n)
{
	for (size_t i = 0; i < d->rules.children; i++)
		if (is_same(d->workers[i].question, bytes, n))
			return d->workers[i].question;
	for (struct question *q = d->first; q != NULL; q = q->next)
		if (is_same(q, bytes, n))
			return q;
	return NULL;
}

/* ---- children ------------------------------------------------------------------- */

static bool send_frame(int fd, const char *bytes, size_t n)
{
	const uint32_t length = (uint32_t)n;
	struct buf frame = { 0 };
	bool sent;

	buf_add(&frame, (const char *)&length, sizeof length);
	buf_add(&frame, bytes, n);
	sent = file_write(fd, frame.data, frame.len);
	buf_free(&frame);
	return sent;
}

/* True if a whole frame is in `in`; *n is its length. */
static bool has_frame(const struct buf *in, uint32_t *n)
{
	if (in->len < sizeof *n)
		return false;
	memcpy(n, in->data, sizeof *n);
	return in->len - sizeof *n >= *n;
}

/* In the child: it looks something up. */
static volatile sig_atomic_t is_looking;

/* Told to end, by its parent or by the end of that.  Between two questions it finds the end of the socket. */
static void end_lookup(int sig)
{
	(void)sig;
	if (is_looking)
		_exit(EX_TEMPFAIL);
}

static _Noreturn void serve(const struct desk_rules *rules, int fd)
{
	const struct sigaction end = { .sa_handler = end_lookup };
	struct buf in = { 0 }, out = { 0 };

	sigaction(SIGTERM, &end, NULL);
	prctl(PR_SET_PDEATHSIG, SIGTERM, 0, 0, 0);
	signal(SIGINT, SIG_IGN);
	signal(SIGPIPE, SIG_IGN);
	rules->open(rules->context);
	for (;;) {
		uint32_t length;

		if (!has_frame(&in, &length)) {
			ssize_t n = read(fd, buf_reserve(&in, PIECE), PIECE);

			if (n < 0 && errno == EINTR)
				continue;
			if (n <= 0)
				break;
			in.len += (size_t)n;
			continue;
		}
		buf_clear(&out);
		is_looking = 1;
		rules->answer(rules->context, in.data + sizeof length, length, &out);
		is_looking = 0;
		buf_consume(&in, sizeof length + length);
		if (!send_frame(fd, buf_str(&out), out.len))
			break;
	}
	rules->close(rules->context);
	_exit(0);
}

static bool start(struct desk *d, struct worker *w)
{
	/* what clients are connected by is not for it to keep open */
	struct child_rules rules = { .in = CHILD_SAME, .out = CHILD_SAME, .err = CHILD_SAME, .closes = true };
	size_t left = 0;
	int ends[2];

	/* those that were told to end may have done so by now */
	for (size_t i = 0; i < d->left_count; i++)
		if (waitpid(d->left[i], NULL, WNOHANG) == 0)
			d->left[left++] = d->left[i];
	d->left_count = left;
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) < 0)
		return false;
	rules.keep[0] = ends[1];
	w->pid = child_fork(&rules);
	if (w->pid == 0)
		serve(&d->rules, ends[1]);
	close(ends[1]);
	if (w->pid < 0 || fcntl(ends[0], F_SETFL, O_NONBLOCK) < 0) {
		w->pid = 0;
		close(ends[0]);
		return false;
	}
	w->fd = ends[0];
	buf_clear(&w->in);
	return true;
}

static void stop(struct desk *d, struct worker *w)
{
	if (w->pid == 0)
		return;
	close(w->fd);
	if (w->question != NULL)
		kill(w->pid, SIGTERM);
	d->left = xgrow(d->left, d->left_count, &d->left_capacity, sizeof *d->left);
	d->left[d->left_count++] = w->pid;
	w->pid = 0;
	buf_free(&w->in);
}

/* The oldest question goes to a child that has none. */
static void hand_on(struct desk *d)
{
	for (size_t i = 0; i < d->rules.children && d->first != NULL; i++) {
		struct worker *w = &d->workers[i];

		if (w->question != NULL || (w->pid == 0 && !start(d, w)))
			continue;
		w->question = d->first;
		d->first = d->first->next;
		if (d->first == NULL)
			d->last = &d->first;
		w->deadline = clock_ms() + d->rules.patience;
		/* a question fits into the buffer of the socket; if the child is gone its end is seen when it is read */
		if (!send_frame(w->fd, w->question->bytes, w->question->n))
			w->deadline = 0;
	}
}

/* True if the whole answer is there, or there will be none: d->fault says why. */
static bool finish(struct desk *d, struct worker *w)
{
	uint32_t length;
	ssize_t n;

	d->fault = NULL;
	buf_clear(&d->answer);
	do {
		n = recv(w->fd, buf_reserve(&w->in, PIECE), PIECE, 0);
		if (n > 0)
			w->in.len += (size_t)n;
		if (has_frame(&w->in, &length)) {
			buf_add(&d->answer, w->in.data + sizeof length, length);
			buf_clear(&w->in);
			return true;
		}
	} while (n > 0);
	if (n < 0 && (errno == EAGAIN || errno == EINTR) && clock_ms() < w->deadline)
		return false;
	d->fault = n < 0 && errno == EAGAIN ? "took too long" : "ended without an answer";
	stop(d, w);
	return true;
}

/* ---- all together --------------------------------------------------------------- */

struct desk *desk_create(const struct desk_rules *rules)
{
	struct desk *d = xcalloc(1, sizeof *d);

	d->rules = *rules;
	d->workers = xcalloc(rules->children, sizeof *d->workers);
	d->last = &d->first;
	return d;
}

void desk_free(struct desk **desk)
{
	struct desk *d = *desk;
	struct question *next;

	*desk = NULL;
	if (d == NULL)
		return;
	for (size_t i = 0; i < d->rules.children; i++) {
		stop(d, &d->workers[i]);
		buf_free(&d->workers[i].in);
		if (d->workers[i].question != NULL)
			question_free(&d->workers[i].question);
	}
	for (struct question *q = d->first; q != NULL; q = next) {
		next = q->next;
		question_free(&q);
	}
	if (d->done != NULL)
		question_free(&d->done);
	buf_free(&d->answer);
	free(d->workers);
	free(d->left);
	free(d);
}

void desk_ask(struct desk *d, const char *bytes, size_t n, void *owner)
{
	struct question *q = find_question(d, bytes, n);

	if (q != NULL) {
		add_owner(q, owner);
		return;
	}
	q = xcalloc(1, sizeof *q);
	q->bytes = xmalloc(n + 1);
	memcpy(q->bytes, bytes, n);
	q->n = n;
	add_owner(q, owner);
	*d->last = q;
	d->last = &q->next;
	hand_on(d);
}

void desk_forget(struct desk *d, const void *owner)
{
	struct question **at = &d->first;

	for (size_t i = 0; i < d->rules.children; i++)
		remove_owner(d->workers[i].question, owner);
	remove_owner(d->done, owner);
	while (*at != NULL) {
		struct question *q = *at;

		remove_owner(q, owner);
		if (q->count > 0) {
			at = &q->next;
			continue;
		}
		*at = q->next;
		question_free(&q);
	}
	d->last = at;
}

size_t desk_room(const struct desk *d)
{
	return d->rules.children;
}

size_t desk_fill(const struct desk *d, struct pollfd *fds)
{
	size_t n = 0;

	for (size_t i = 0; i < d->rules.children; i++)
		if (d->workers[i].question != NULL)
			fds[n++] = (struct pollfd){ .fd = d->workers[i].fd, .events = POLLIN };
	return n;
}

int64_t desk_deadline(const struct desk *d)
{
	int64_t deadline = CLOCK_NEVER;

	for (size_t i = 0; i < d->rules.children; i++)
		if (d->workers[i].question != NULL && d->workers[i].deadline < deadline)
			deadline = d->workers[i].deadline;
	return deadline;
}

void *desk_next(struct desk *d, struct buf *answer, const char **fault)
{
	for (size_t i = 0;;) {
		if (d->done != NULL && d->done->count > 0) {
			*fault = d->fault;
			buf_add(answer, buf_str(&d->answer), d->answer.len);
			return d->done->owners[--d->done->count];
		}
		if (d->done != NULL) {
			question_free(&d->done);
			hand_on(d);
		}
		while (i < d->rules.children && (d->workers[i].question == NULL || !finish(d, &d->workers[i])))
			i++;
		if (i == d->rules.children)
			return NULL;
		d->done = d->workers[i].question;
		d->workers[i].question = NULL;
	}
}
