#include "db/serve/stores.h"

#include <stdlib.h>
#include <string.h>

#include "lib/alloc.h"
#include "lib/buf.h"
#include "lib/desk.h"

struct asking {
	struct asking *next;
	void *owner;
	int64_t deadline;
	struct buf bytes;            /* of each destination channel, host and user, each with a NUL */
	size_t at;                   /* where those begin that were not asked yet */
	struct verdict worst;
};

struct stores {
	struct verifier *verifier;   /* its agents are the children's */
	struct desk *desk;
	struct asking *all;
};

/* ---- children ---- */

static void close_in_child(void *context)
{
	struct stores *s = context;

	verifier_destroy(&s->verifier);
}

/* A question is a destination as above, the answer a verdict: parent and child are one program. */
static void answer_in_child(void *context, const char *question, size_t n, struct buf *answer)
{
	struct stores *s = context;
	const char *host = question + strlen(question) + 1, *user = host + strlen(host) + 1;
	struct verdict verdict;

	(void)n;
	verifier_ask(s->verifier, host, user, &verdict);
	buf_add(answer, (const char *)&verdict, sizeof verdict);
}

/* ---- the parent ---- */

struct stores *stores_create(const struct verify_options *options, size_t children, int64_t patience, int *status,
                             struct buf *why)
{
	struct stores *s = xcalloc(1, sizeof *s);

	s->verifier = verifier_create(options);
	*status = verifier_check(s->verifier, why);
	if (*status == 0)
		s->desk = desk_create(&(struct desk_rules){ .children = children, .patience = patience, .context = s,
		                                            .answer = answer_in_child, .close = close_in_child });
	else
		stores_free(&s);
	return s;
}

/* Takes one out of the list, and frees it. */
static void drop(struct stores *s, struct asking **at)
{
	struct asking *a = *at;

	if (s->desk != NULL)
		desk_forget(s->desk, a);
	*at = a->next;
	buf_free(&a->bytes);
	free(a);
}

void stores_free(struct stores **at)
{
	struct stores *s = *at;

	*at = NULL;
	if (s == NULL)
		return;
	while (s->all != NULL)
		drop(s, &s->all);
	desk_free(&s->desk);
	verifier_destroy(&s->verifier);
	free(s);
}

/* The next destination goes to the desk. */
static void ask_next(struct stores *s, struct asking *a)
{
	const char *channel = a->bytes.data + a->at, *host = channel + strlen(channel) + 1, *user = host + strlen(host) + 1;
	const size_t n = (size_t)(user - channel) + strlen(user) + 1;

	a->at += n;
	desk_ask(s->desk, &(struct desk_question){ .group = verifier_store(s->verifier, host), .bytes = channel, .n = n,
	                                           .deadline = a->deadline }, a);
}

bool stores_ask(struct stores *s, const struct destination *to, size_t count, int64_t deadline, void *owner)
{
	struct asking *a;

	for (size_t i = 0; i < count; i++)
		if (!verifier_concerns(s->verifier, to[i].channel))
			return true;
	if (count == 0)
		return true;
	a = xcalloc(1, sizeof *a);
	a->owner = owner;
	a->deadline = deadline;
	for (size_t i = 0; i < count; i++) {
		buf_add(&a->bytes, to[i].channel, strlen(to[i].channel) + 1);
		buf_add(&a->bytes, to[i].host, strlen(to[i].host) + 1);
		buf_add(&a->bytes, to[i].user, strlen(to[i].user) + 1);
	}
	a->next = s->all;
	s->all = a;
	ask_next(s, a);
	return false;
}

static struct asking **find(struct stores *s, const struct asking *asking, const void *owner)
{
	struct asking **at = &s->all;

	while (*at != NULL && *at != asking && (*at)->owner != owner)
		at = &(*at)->next;
	return at;
}

void stores_forget(struct stores *s, const void *owner)
{
	struct asking **at = find(s, NULL, owner);

	if (*at != NULL)
		drop(s, at);
}

void *stores_next(struct stores *s, struct verdict *verdict)
{
	struct buf answer = { 0 };
	const char *fault;
	struct asking *a;
	void *owner = NULL;

	while (owner == NULL && (a = desk_next(s->desk, &answer, &fault)) != NULL) {
		if (fault == NULL && answer.len == sizeof *verdict)
			memcpy(verdict, answer.data, sizeof *verdict);
		else
			verdict_unasked(verdict, fault);
		buf_clear(&answer);
		if (a->worst.code == 0 || verdict->code < a->worst.code)
			a->worst = *verdict;
		if (verdict->code != 250 && a->at < a->bytes.len) {
			ask_next(s, a);
			continue;
		}
		*verdict = a->worst;
		owner = a->owner;
		drop(s, find(s, a, NULL));
	}
	buf_free(&answer);
	return owner;
}

size_t stores_room(const struct stores *s)
{
	return desk_room(s->desk);
}

size_t stores_fill(const struct stores *s, struct pollfd *fds)
{
	return desk_fill(s->desk, fds);
}

int64_t stores_deadline(const struct stores *s)
{
	return desk_deadline(s->desk);
}
