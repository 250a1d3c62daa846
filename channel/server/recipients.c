#include "channel/server/recipients.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <sysexits.h>
#include <unistd.h>

#include "channel/server/policy.h"
#include "channel/server/verify.h"
#include "db/route/route.h"
#include "lib/alloc.h"
#include "lib/child.h"
#include "lib/clock.h"
#include "lib/file.h"
#include "lib/log.h"
#include "lib/parse.h"
#include "lib/text.h"

#define TEXT_MAX 300

/*
 * An answer as bytes, the same within a process and between two: NUL-ended strings
 *   code status text { channel host user privilege }
 */

/* ---- asking ---- */

static void add_string(struct buf *out, const char *s)
{
	buf_add(out, s, strlen(s) + 1);
}

/* Why nobody is there, for the client (RFC 3463). */
static const char *refusal_status(const struct route_result *result)
{
	if (strcmp(result->host, "unresolvable") == 0)
		return "5.1.2";
	if (strcmp(result->host, "badaddress") == 0)
		return "5.1.3";
	return strcmp(result->host, "acctexpired") == 0 ? "5.2.1" : "5.1.1";
}

static void add_text(struct buf *out, const struct route_result *result)
{
	text_add_clean_string(out, result->host, TEXT_MAX);
	if (*result->user != '\0') {
		buf_adds(out, ": ");
		text_add_clean_string(out, result->user, TEXT_MAX);
	}
	buf_addc(out, '\0');
}

static const struct route_result *first_with(const struct route_result *results, size_t count, enum map_answer answer)
{
	for (size_t i = 0; i < count; i++)
		if (results[i].answer == answer)
			return &results[i];
	return NULL;
}

static void add_destinations(struct buf *out, const struct route_result *results, size_t count)
{
	char number[24];

	for (size_t i = 0; i < count; i++) {
		if (results[i].answer != MAP_FOUND || strcmp(results[i].channel, "bitbucket") == 0)
			continue;
		add_string(out, results[i].channel);
		add_string(out, results[i].host);
		add_string(out, results[i].user);
		snprintf(number, sizeof number, "%lu", (unsigned long)results[i].privilege);
		add_string(out, number);
	}
}

/*
 * A list with a member that nobody can judge is asked about again; one with some members that are gone goes to the others.
 */
static void ask_router(struct router *router, const char *address, long privilege, struct buf *out)
{
	struct route_query query = { .address = address, .length = strlen(address), .privilege = (uid_t)privilege };
	const struct route_result *results, *unclear, *nobody;
	size_t count;

	(void)!route(router, &query, &results, &count);
	unclear = first_with(results, count, MAP_COULD_NOT_TELL);
	nobody = first_with(results, count, MAP_NOT_FOUND);
	if (unclear != NULL) {
		complain("%s: could not tell: %s: %s", address, unclear->host, unclear->user);
		add_string(out, "451");
		add_string(out, "4.3.0");
		add_string(out, "it cannot be told now whether this recipient exists; try again later");
	} else if (first_with(results, count, MAP_FOUND) == NULL) {
		add_string(out, "550");
		add_string(out, nobody != NULL ? refusal_status(nobody) : "5.1.1");
		if (nobody != NULL)
			add_text(out, nobody);
		else
			add_string(out, "no such recipient");
	} else {
		if (nobody != NULL)
			complain("%s: a member is left out: %s: %s", address, nobody->host, nobody->user);
		add_string(out, "250");
		add_string(out, "2.1.5");
		add_string(out, "ok");
		add_destinations(out, results, count);
	}
}

/* ---- answers ---- */

void recipient_answer_free(struct recipient_answer *a)
{
	buf_free(&a->bytes);
	free(a->to);
	*a = (struct recipient_answer){ 0 };
}

static const char *next_string(const char **at, const char *end)
{
	const char *s = *at;

	*at = s < end ? s + strlen(s) + 1 : end;
	return s < end ? s : "";
}

static size_t count_strings(const struct buf *bytes)
{
	size_t n = 0;

	for (size_t i = 0; i < bytes->len; i++)
		n += bytes->data[i] == '\0';
	return n;
}

/* Takes a->bytes apart. */
static void read_answer(struct recipient_answer *a)
{
	const char *at = buf_str(&a->bytes), *end = at + a->bytes.len;
	size_t strings = count_strings(&a->bytes);

	a->code = atoi(next_string(&at, end));
	a->status = next_string(&at, end);
	a->text = next_string(&at, end);
	a->to = xcalloc(strings / 4 + 1, sizeof *a->to);
	while (at < end) {
		struct spool_recipient *to = &a->to[a->count++];

		to->channel = next_string(&at, end);
		to->host = next_string(&at, end);
		to->user = next_string(&at, end);
		to->privilege = atol(next_string(&at, end));
		a->elsewhere |= strcmp(to->channel, "smtp") == 0;
	}
}

static void could_not_tell(struct recipient_answer *a)
{
	add_string(&a->bytes, "451");
	add_string(&a->bytes, "4.3.0");
	add_string(&a->bytes, "it cannot be told now whether this recipient exists; try again later");
	read_answer(a);
}

/*
 * The store is asked about each destination.  One that takes the mail is enough, as for lists with members that are gone;
 * else one that cannot tell decides.
 */
static void verify_answer(const struct policy *policy, struct buf *out)
{
	struct recipient_answer answer = { 0 };
	struct verdict verdict = { .code = 250 }, worst = { 0 };
	bool taken = false;

	buf_add(&answer.bytes, out->data, out->len);
	read_answer(&answer);
	for (size_t i = 0; answer.code == 250 && i < answer.count && !taken; i++) {
		verify_destination(policy, &answer.to[i], &verdict);
		taken = verdict.code == 250;
		if (!taken && (worst.code == 0 || verdict.code < worst.code))
			worst = verdict;
	}
	if (answer.code == 250 && answer.count > 0 && !taken) {
		char code[12];

		snprintf(code, sizeof code, "%d", worst.code);
		buf_clear(out);
		add_string(out, code);
		add_string(out, worst.status);
		add_string(out, worst.text);
	}
	recipient_answer_free(&answer);
}

/* ---- children ---- */

struct waiting {
	struct waiting *next;
	void *owner;
	char *address;
};

struct child {
	pid_t pid;             /* 0: none runs */
	int fd;
	void *owner;           /* of the question it works on; NULL if that is forgotten */
	bool busy;
	int64_t deadline;
	struct buf in;
};

struct recipients {
	struct routing routing;
	const struct policy *policy;
	struct router *router;         /* NULL where children ask */
	struct child *children;
	size_t count;
	int64_t patience;
	struct waiting *first, **last;
	pid_t *left;                   /* told to end */
	size_t left_count, left_capacity;
};

/* In the child: it looks something up. */
static volatile sig_atomic_t is_looking;

/*
 * Told to end, by its parent or by the end of that.  Never within an environment, where its locks would stay for good: there the
 * signal waits (env_enter()).  Between two lookups it finds the end of the socket.
 */
static void end_lookup(int sig)
{
	(void)sig;
	if (is_looking)
		_exit(EX_TEMPFAIL);
}

/* In the child: addresses in, each ended by NUL; answers out, each behind its length. */
static _Noreturn void serve(struct router *router, const struct policy *policy, long privilege, int fd)
{
	struct buf in = { 0 }, out = { 0 };
	ssize_t n;

	for (;;) {
		char *end = in.len > 0 ? memchr(in.data, '\0', in.len) : NULL;
		uint32_t length;

		if (end == NULL) {
			n = read(fd, buf_reserve(&in, 4096), 4096);
			if (n < 0 && errno == EINTR)
				continue;
			if (n <= 0)
				break;
			in.len += (size_t)n;
			continue;
		}
		buf_clear(&out);
		is_looking = 1;
		ask_router(router, in.data, privilege, &out);
		if (policy->verify != NULL)
			verify_answer(policy, &out);
		is_looking = 0;
		buf_consume(&in, (size_t)(end - in.data) + 1);
		length = (uint32_t)out.len;
		if (!file_write(fd, &length, sizeof length) || !file_write(fd, out.data, out.len))
			break;
	}
	/* an environment wants to be left properly */
	router_destroy(&router);
	_exit(0);
}

/* Those that were told to end, as far as they have. */
static void reap_left(struct recipients *r)
{
	size_t n = 0;

	for (size_t i = 0; i < r->left_count; i++)
		if (waitpid(r->left[i], NULL, WNOHANG) == 0)
			r->left[n++] = r->left[i];
	r->left_count = n;
}

static bool start(struct recipients *r, struct child *c)
{
	/* what clients are connected by is not for it to keep open */
	struct child_rules rules = { .in = CHILD_SAME, .out = CHILD_SAME, .err = CHILD_SAME, .closes = true };
	const struct sigaction end = { .sa_handler = end_lookup };
	int ends[2];

	reap_left(r);
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) < 0)
		return false;
	rules.keep[0] = ends[1];
	c->pid = child_fork(&rules);
	if (c->pid == 0) {
		struct router *router = NULL;

		sigaction(SIGTERM, &end, NULL);
		prctl(PR_SET_PDEATHSIG, SIGTERM, 0, 0, 0);
		signal(SIGINT, SIG_IGN);
		signal(SIGPIPE, SIG_IGN);
		if (routing_open(&r->routing, &router) != EX_OK)
			_exit(EX_CONFIG);
		serve(router, r->policy, r->routing.privilege, ends[1]);
	}
	close(ends[1]);
	if (c->pid < 0 || fcntl(ends[0], F_SETFL, O_NONBLOCK) < 0) {
		c->pid = 0;
		close(ends[0]);
		return false;
	}
	c->fd = ends[0];
	buf_clear(&c->in);
	return true;
}

static void stop(struct recipients *r, struct child *c)
{
	if (c->pid == 0)
		return;
	close(c->fd);
	if (c->busy)
		kill(c->pid, SIGTERM);
	r->left = xgrow(r->left, r->left_count, &r->left_capacity, sizeof *r->left);
	r->left[r->left_count++] = c->pid;
	c->pid = 0;
	c->busy = false;
	buf_free(&c->in);
}

/* The oldest question goes to a child that has none. */
static void hand_on(struct recipients *r)
{
	for (size_t i = 0; i < r->count && r->first != NULL; i++) {
		struct child *c = &r->children[i];
		struct waiting *q = r->first;

		if (c->busy || (c->pid == 0 && !start(r, c)))
			continue;
		r->first = q->next;
		if (r->first == NULL)
			r->last = &r->first;
		c->busy = true;
		c->owner = q->owner;
		c->deadline = clock_ms() + r->patience;
		/* one address fits into any socket buffer; if the child is gone its end is seen when it is read */
		if (send(c->fd, q->address, strlen(q->address) + 1, MSG_NOSIGNAL) < 0)
			c->deadline = 0;
		free(q->address);
		free(q);
	}
}

/* True if the whole answer is there, or there will be none: then it could not tell. */
static bool finish(struct recipients *r, struct child *c, struct recipient_answer *answer)
{
	uint32_t length;
	ssize_t n;

	do {
		n = recv(c->fd, buf_reserve(&c->in, 65536), 65536, 0);
		if (n > 0)
			c->in.len += (size_t)n;
		if (c->in.len >= sizeof length) {
			memcpy(&length, c->in.data, sizeof length);
			if (c->in.len >= sizeof length + length) {
				buf_add(&answer->bytes, c->in.data + sizeof length, length);
				read_answer(answer);
				buf_clear(&c->in);
				c->busy = false;
				return true;
			}
		}
	} while (n > 0);
	if (n < 0 && (errno == EAGAIN || errno == EINTR) && clock_ms() < c->deadline)
		return false;
	complain("a lookup of a recipient %s", n < 0 && errno == EAGAIN ? "took too long" : "ended without an answer");
	stop(r, c);
	could_not_tell(answer);
	return true;
}

/* ---- both ---- */

/* A map that may keep a process waiting, or hang it (dbases.conf(5)). */
static bool is_slow(const struct map *map)
{
	static const char *const fast[] = { "btree", "bhash", "lmdb", "unordered", "ordered" };

	for (size_t i = 0; i < sizeof fast / sizeof fast[0]; i++)
		if (strcmp(map->operations->type, fast[i]) == 0)
			return map->config != NULL && strcmp(map->operations->type, "lmdb") != 0;
	return true;
}

static bool has_slow_maps(const struct router *router)
{
	for (size_t i = 0; i < ROUTE_RELATIONS; i++)
		for (size_t j = 0; router->relations[i] != NULL && j < router->relations[i]->count; j++)
			if (is_slow(router->relations[i]->maps[j].map))
				return true;
	return false;
}

struct recipients *recipients_open(const struct routing *routing, const struct policy *policy, int *status)
{
	struct recipients *r = xcalloc(1, sizeof *r);

	r->routing = *routing;
	r->policy = policy;
	r->patience = (int64_t)policy->limits[LIMIT_LOOKUP_TIME] * 1000;
	r->last = &r->first;
	*status = routing_open(&r->routing, &r->router);
	if (*status != EX_OK) {
		free(r);
		return NULL;
	}
	if (policy->verify != NULL || has_slow_maps(r->router)) {
		router_destroy(&r->router);
		r->count = policy->limits[LIMIT_LOOKUPS];
		r->children = xcalloc(r->count, sizeof *r->children);
	}
	return r;
}

void recipients_close(struct recipients **at)
{
	struct recipients *r = *at;
	struct waiting *next;

	for (size_t i = 0; i < r->count; i++) {
		stop(r, &r->children[i]);
		buf_free(&r->children[i].in);
	}
	for (struct waiting *q = r->first; q != NULL; q = next) {
		next = q->next;
		free(q->address);
		free(q);
	}
	router_destroy(&r->router);
	free(r->children);
	free(r->left);
	free(r);
	*at = NULL;
}

bool recipients_ask(struct recipients *r, const char *address, void *owner, struct recipient_answer *answer)
{
	struct waiting *q;

	*answer = (struct recipient_answer){ 0 };
	if (r->router != NULL) {
		ask_router(r->router, address, r->routing.privilege, &answer->bytes);
		read_answer(answer);
		return true;
	}
	q = xcalloc(1, sizeof *q);
	q->owner = owner;
	q->address = xstrdup(address);
	*r->last = q;
	r->last = &q->next;
	hand_on(r);
	return false;
}

void recipients_forget(struct recipients *r, const void *owner)
{
	for (size_t i = 0; i < r->count; i++)
		if (r->children[i].owner == owner)
			r->children[i].owner = NULL;
	for (struct waiting **at = &r->first, *q; (q = *at) != NULL;) {
		if (q->owner != owner) {
			at = &q->next;
			continue;
		}
		*at = q->next;
		if (q->next == NULL)
			r->last = at;
		free(q->address);
		free(q);
	}
}

size_t recipients_room(const struct recipients *r)
{
	return r->count;
}

size_t recipients_fill(const struct recipients *r, struct pollfd *fds)
{
	size_t n = 0;

	for (size_t i = 0; i < r->count; i++)
		if (r->children[i].busy)
			fds[n++] = (struct pollfd){ .fd = r->children[i].fd, .events = POLLIN };
	return n;
}

int64_t recipients_deadline(const struct recipients *r)
{
	int64_t deadline = CLOCK_NEVER;

	for (size_t i = 0; i < r->count; i++)
		if (r->children[i].busy && r->children[i].deadline < deadline)
			deadline = r->children[i].deadline;
	return deadline;
}

void *recipients_next(struct recipients *r, struct recipient_answer *answer)
{
	for (size_t i = 0; i < r->count; i++) {
		struct child *c = &r->children[i];
		void *owner;

		*answer = (struct recipient_answer){ 0 };
		if (!c->busy || !finish(r, c, answer))
			continue;
		owner = c->owner;
		c->owner = NULL;
		hand_on(r);
		if (owner != NULL)
			return owner;
		recipient_answer_free(answer);
	}
	return NULL;
}
