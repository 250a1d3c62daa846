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
#include "lib/log.h"

#define PIECE 65536

/* Question and answer go behind their length, four bytes of this machine. */

/* A group whose answer took longer, in milliseconds, is slow. */
#define SLOW 5000
/* Between two lines about the same trouble. */
#define TELL_PAUSE 60000

struct group {
	struct group *next;
	char *name;
	size_t questions, running;    /* one without a question is forgotten, but for a slow one */
	bool slow;
};

struct waiting {
	void *owner;
	int64_t deadline;
};

struct question {
	struct question *next;
	struct group *group;
	char *bytes;
	size_t n;
	struct waiting *owners;
	size_t count, capacity;
};

struct worker {
	pid_t pid;                    /* 0: none runs */
	int fd;
	struct question *question;    /* it works on; NULL: none */
	bool is_old;                  /* it is to be replaced behind that */
	int64_t began, deadline;
	struct buf in;
};

struct desk {
	struct desk_rules rules;
	struct worker *workers;
	struct question *first, **last;    /* that no child has */
	struct question *done;             /* owners are told one by one */
	struct group *groups;
	int64_t soonest;                   /* no owner's deadline is before */
	struct buf answer;
	const char *fault;
	pid_t *left;                       /* told to end */
	size_t left_count, left_capacity;
	int64_t tell_again;                /* that no child can be started */
};

/* ---- questions ------------------------------------------------------------------ */

static void forget_group(struct desk *d, struct group *group)
{
	struct group **at = &d->groups;

	while (*at != group)
		at = &(*at)->next;
	*at = group->next;
	free(group->name);
	free(group);
}

static void question_free(struct desk *d, struct question **q)
{
	struct group *group = (*q)->group;

	if (--group->questions == 0 && !group->slow)
		forget_group(d, group);
	free((*q)->bytes);
	free((*q)->owners);
	free(*q);
	*q = NULL;
}

static void add_owner(struct desk *d, struct question *q, void *owner, int64_t deadline)
{
	q->owners = xgrow(q->owners, q->count, &q->capacity, sizeof *q->owners);
	q->owners[q->count++] = (struct waiting){ owner, deadline };
	if (deadline < d->soonest)
		d->soonest = deadline;
}

static void remove_owner(struct question *q, const void *owner)
{
	size_t kept = 0;

	for (size_t i = 0; q != NULL && i < q->count; i++)
		if (q->owners[i].owner != owner)
			q->owners[kept++] = q->owners[i];
	if (q != NULL)
		q->count = kept;
}

static bool is_same(const struct question *q, const char *bytes, size_t n)
{
	return q != NULL && q->n == n && memcmp(q->bytes, bytes, n) == 0;
}

/* One of its owners that waits no longer; NULL: there is none.  Brings d->soonest up to date. */
static void *take_late(struct desk *d, struct question *q, int64_t now)
{
	for (size_t i = 0; q != NULL && i < q->count; i++) {
		void *owner = q->owners[i].owner;

		if (q->owners[i].deadline <= now) {
			remove_owner(q, owner);
			d->soonest = now;
			return owner;
		}
		if (q->owners[i].deadline < d->soonest)
			d->soonest = q->owners[i].deadline;
	}
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
	if (rules->open != NULL)
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

/* Questions wait for children that run, or for the end of their time. */
static bool tell(struct desk *d, int code)
{
	if (d->tell_again <= clock_ms()) {
		complain("a process for lookups cannot be started: %s", strerror(code));
		d->tell_again = clock_ms() + TELL_PAUSE;
	}
	return false;
}

static bool start(struct desk *d, struct worker *w)
{
	/* what clients are connected by is not for it to keep open */
	struct child_rules rules = { .in = CHILD_SAME, .out = CHILD_SAME, .err = CHILD_SAME, .closes = true };
	size_t left = 0;
	int ends[2], code;

	/* those that were told to end may have done so by now */
	for (size_t i = 0; i < d->left_count; i++)
		if (waitpid(d->left[i], NULL, WNOHANG) == 0)
			d->left[left++] = d->left[i];
	d->left_count = left;
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) < 0)
		return tell(d, errno);
	rules.keep[0] = ends[1];
	w->pid = child_fork(&rules);
	code = errno;
	if (w->pid == 0)
		serve(&d->rules, ends[1]);
	close(ends[1]);
	if (w->pid < 0 || fcntl(ends[0], F_SETFL, O_NONBLOCK) < 0) {
		w->pid = 0;
		close(ends[0]);
		return tell(d, code);
	}
	w->fd = ends[0];
	w->is_old = false;
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

static size_t free_children(const struct desk *d)
{
	size_t n = 0;

	for (size_t i = 0; i < d->rules.children; i++)
		n += d->workers[i].question == NULL;
	return n;
}

static bool may_begin(const struct desk *d, const struct question *q, size_t left)
{
	const struct group *g = q->group;

	if (*g->name != '\0' && g->running > 0 && (g->slow || g->running >= left))
		return false;
	for (size_t i = 0; i < d->rules.children; i++)
		if (is_same(d->workers[i].question, q->bytes, q->n))
			return false;
	return true;
}

/* Takes the oldest question out that may begin; those without an owner go. */
static struct question *take_next(struct desk *d, size_t left)
{
	struct question **at = &d->first, *found = NULL;

	while (*at != NULL && found == NULL) {
		struct question *q = *at;

		if (q->count > 0 && !may_begin(d, q, left)) {
			at = &q->next;
			continue;
		}
		*at = q->next;
		if (q->count > 0)
			found = q;
		else
			question_free(d, &q);
	}
	if (*at == NULL)
		d->last = at;
	return found;
}

/* Questions go to children that have none. */
static void hand_on(struct desk *d)
{
	for (size_t i = 0, left = free_children(d); i < d->rules.children && left > 0 && d->first != NULL; i++) {
		struct worker *w = &d->workers[i];
		struct question *q;
		char byte;

		/*
		 * one that has ended since its last answer, as the system ends processes that take much memory, is no reason
		 * not to answer
		 */
		if (w->question == NULL && w->pid != 0 && (recv(w->fd, &byte, 1, MSG_PEEK) >= 0 || errno != EAGAIN))
			stop(d, w);
		if (w->question != NULL || (w->pid == 0 && !start(d, w)))
			continue;
		q = take_next(d, left--);
		if (q == NULL)
			return;
		w->question = q;
		w->began = clock_ms();
		w->deadline = w->began + d->rules.patience;
		q->group->running++;
		/* a question fits into the buffer of the socket; if the child is gone its end is seen when it is read */
		if (!send_frame(w->fd, q->bytes, q->n))
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
	d->soonest = CLOCK_NEVER;
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
			question_free(d, &d->workers[i].question);
	}
	for (struct question *q = d->first; q != NULL; q = next) {
		next = q->next;
		question_free(d, &q);
	}
	if (d->done != NULL)
		question_free(d, &d->done);
	while (d->groups != NULL)
		forget_group(d, d->groups);
	buf_free(&d->answer);
	free(d->workers);
	free(d->left);
	free(d);
}

void desk_ask(struct desk *d, const struct desk_question *question, void *owner)
{
	struct question *q = d->first;
	struct group *g;

	while (q != NULL && !is_same(q, question->bytes, question->n))
		q = q->next;
	if (q != NULL) {
		add_owner(d, q, owner, question->deadline);
		return;
	}
	q = xcalloc(1, sizeof *q);
	q->bytes = xmalloc(question->n + 1);
	memcpy(q->bytes, question->bytes, question->n);
	q->n = question->n;
	/* the group of this name, made for its first question */
	g = d->groups;
	while (g != NULL && strcmp(g->name, question->group) != 0)
		g = g->next;
	if (g == NULL) {
		g = xcalloc(1, sizeof *g);
		g->name = xstrdup(question->group);
		g->next = d->groups;
		d->groups = g;
	}
	q->group = g;
	q->group->questions++;
	add_owner(d, q, owner, question->deadline);
	*d->last = q;
	d->last = &q->next;
	hand_on(d);
}

void desk_renew(struct desk *d)
{
	for (size_t i = 0; i < d->rules.children; i++) {
		struct worker *w = &d->workers[i];

		w->is_old = true;
		if (w->question == NULL)
			stop(d, w);
	}
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
		question_free(d, &q);
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
	int64_t deadline = d->soonest;

	for (size_t i = 0; i < d->rules.children; i++)
		if (d->workers[i].question != NULL && d->workers[i].deadline < deadline)
			deadline = d->workers[i].deadline;
	return deadline;
}

void *desk_next(struct desk *d, struct buf *answer, const char **fault)
{
	void *late, *owner = NULL;
	int64_t now;

	for (size_t i = 0;;) {
		if (d->done != NULL && d->done->count > 0) {
			*fault = d->fault;
			buf_add(answer, buf_str(&d->answer), d->answer.len);
			return d->done->owners[--d->done->count].owner;
		}
		if (d->done != NULL) {
			question_free(d, &d->done);
			hand_on(d);
		}
		while (i < d->rules.children && (d->workers[i].question == NULL || !finish(d, &d->workers[i])))
			i++;
		if (i == d->rules.children)
			break;
		d->done = d->workers[i].question;
		d->workers[i].question = NULL;
		if (d->workers[i].is_old)
			stop(d, &d->workers[i]);
		d->done->group->running--;
		d->done->group->slow = d->fault != NULL || clock_ms() - d->workers[i].began > SLOW;
	}
	/* the first question that waits too long, looked for only when one does */
	now = clock_ms();
	if (now < d->soonest)
		late = NULL;
	else {
		d->soonest = CLOCK_NEVER;
		for (size_t i = 0; i < d->rules.children && owner == NULL; i++)
			owner = take_late(d, d->workers[i].question, now);
		for (struct question *q = d->first; q != NULL && owner == NULL; q = q->next)
			owner = take_late(d, q, now);
		late = owner;
	}
	if (d->first == NULL && free_children(d) == d->rules.children)
		d->soonest = CLOCK_NEVER;
	*fault = late != NULL ? "took too long" : NULL;
	return late;
}
