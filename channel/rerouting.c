#include "channel/rerouting.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sysexits.h>

#include "channel/spool/control.h"
#include "channel/spool/dsn.h"
#include "lib/alloc.h"
#include "lib/log.h"
#include "lib/text.h"

/* All recipients of a message, settled or not: "channel TAB host TAB user", and whom the client named for them; sorted. */
struct company {
	char **keys, **originals;
	size_t key_count, original_count;
};

/* A recipient of which the maps are asked. */
struct question {
	size_t message;
	off_t offset;
	char *address;
	char *channel, *host, *user;
	bool alone;               /* no other recipient of the message came of that address */
	size_t company;           /* index */
	struct operation_recipient *answers;
	size_t count, capacity;
	bool left;                /* stays: the log says why */
};

static char *key_of(const char *channel, const char *host, const char *user)
{
	return xasprintf("%s\t%s\t%s", channel, host, user);
}

static struct company company_of(const struct control *c)
{
	struct company all = {
		.keys = xcalloc(c->recipient_count + 1, sizeof(char *)),
		.originals = xcalloc(c->recipient_count + 1, sizeof(char *)),
	};

	for (size_t i = 0; i < c->recipient_count; i++) {
		const struct control_recipient *r = &c->recipients[i];

		all.keys[all.key_count++] = key_of(r->channel, r->host, r->user);
		if (r->given != NULL)
			all.originals[all.original_count++] = xstrdup(r->given);
	}
	qsort(all.keys, all.key_count, sizeof(char *), text_compare);
	qsort(all.originals, all.original_count, sizeof(char *), text_compare);
	return all;
}

/* Is it the only recipient of its message that came of its address? */
static bool is_alone(const struct company *all, const char *given)
{
	char **found = given != NULL ? bsearch(&given, all->originals, all->original_count, sizeof(char *),
	                                       text_compare) : NULL;
	size_t at = found != NULL ? (size_t)(found - all->originals) : 0;

	return found == NULL || ((at == 0 || strcmp(found[-1], given) != 0) &&
	                         (at + 1 == all->original_count || strcmp(found[1], given) != 0));
}

static void add_question(struct rerouting *r, size_t message, const struct control_recipient *line)
{
	struct buf address = { 0 };
	struct question q = {
		.message = message, .offset = line->offset, .company = r->company_count - 1,
		.alone = is_alone(&r->companies[r->company_count - 1], line->given),
		.channel = xstrdup(line->channel), .host = xstrdup(line->host), .user = xstrdup(line->user),
	};

	if (line->given == NULL || !dsn_original(&address, line->given) || address.len == 0) {
		q.left = r->unasked;
		buf_clear(&address);
		buf_adds(&address, line->user);
	}
	q.address = xstrdup(buf_str(&address));
	r->questions = xgrow(r->questions, r->question_count, &r->question_capacity, sizeof *r->questions);
	r->questions[r->question_count++] = q;
	buf_free(&address);
}

static void add_questions(struct rerouting *r, size_t message)
{
	const struct chosen_message *m = &r->selection->messages[message];
	char *path = xasprintf("%s%s", m->held ? "../hold/" : "", m->job);
	struct buf why = { 0 };
	struct control *c;

	/* whatever is not as it was is noticed by the operation */
	if (control_look(path, &c, &why) == CONTROL_OK && c->inode == m->inode) {
		size_t next = 0;

		r->companies = xgrow(r->companies, r->company_count, &r->company_capacity, sizeof *r->companies);
		r->companies[r->company_count++] = company_of(c);
		for (size_t i = 0; i < c->recipient_count && next < m->count; i++) {
			if (c->recipients[i].offset != m->recipients[next])
				continue;
			add_question(r, message, &c->recipients[i]);
			next++;
		}
	}
	control_close(&c);
	buf_free(&why);
	free(path);
}

static void leave(const struct rerouting *r, struct question *q, const char *why)
{
	struct buf shown = { 0 };

	text_add_clean_string(&shown, q->address, 300);
	if (!r->unasked)
		complain("%s: %s; left as it is", buf_str(&shown), why);
	q->left = true;
	buf_free(&shown);
}

static void hear(void *context, size_t number, enum routing_answer answer, const struct routed *to, const char *why)
{
	struct rerouting *r = context;
	struct question *q = &r->questions[number];

	if (answer != ROUTING_THERE) {
		r->unclear += answer == ROUTING_UNCLEAR && !q->left;
		r->unknown += answer == ROUTING_NOBODY && !q->left;
		if (!q->left)
			leave(r, q, why);
		return;
	}
	q->answers = xgrow(q->answers, q->count, &q->capacity, sizeof *q->answers);
	q->answers[q->count++] = (struct operation_recipient){
		.offset = q->offset, .channel = xstrdup(to->channel), .host = xstrdup(to->host), .user = xstrdup(to->user),
		.privilege = to->privilege,
	};
}

/* Has the message that recipient already?  Its own place was looked at before. */
static bool is_other(const struct rerouting *r, const struct question *q, const struct operation_recipient *to)
{
	const struct company *all = &r->companies[q->company];
	char *key = key_of(to->channel, to->host, to->user);
	bool found = bsearch(&key, all->keys, all->key_count, sizeof(char *), text_compare) != NULL;

	free(key);
	return found;
}

static void take(struct rerouting *r, const struct question *q, const struct operation_recipient *to)
{
	r->list = xgrow(r->list, r->count, &r->capacity, sizeof *r->list);
	r->list[r->count++] = (struct rerouted){
		.message = q->message, .channel = q->channel, .host = q->host, .user = q->user, .to = *to,
	};
}

/*
 * Did we deliver it, and does it leave now for no other reason than that its domain is a stranger's?  A map that was
 * lost must not send the mail of our users through the relay, which would send it back to us, or refuse it.
 */
static bool has_lost_domain(const struct question *q, const struct operation_recipient *to)
{
	const char *at = strrchr(q->address, '@');

	return strcmp(q->channel, "smtp") != 0 && strcmp(to->channel, "smtp") == 0 && at != NULL &&
	       strcasecmp(to->host, at + 1) == 0 && strcasecmp(to->user, q->address) == 0;
}

/* Which of the answers are for this recipient: a second copy for others must not come of it. */
static void judge(struct rerouting *r, struct question *q)
{
	const struct operation_recipient *own = NULL;
	size_t before = r->count;

	if (q->left)
		return;
	for (size_t i = 0; i < q->count; i++) {
		if (strcmp(q->answers[i].channel, q->channel) == 0 && strcasecmp(q->answers[i].host, q->host) == 0 &&
		    strcmp(q->answers[i].user, q->user) == 0)
			return;
		if (r->unasked && strcmp(q->answers[i].channel, "smtp") == 0 && strcmp(q->channel, "smtp") != 0)
			return;
		if (strcmp(q->answers[i].channel, "bitbucket") == 0) {
			leave(r, q, "the maps say to discard it (zlmtp-queue remove does)");
			return;
		}
		if (!r->leaves && has_lost_domain(q, &q->answers[i])) {
			leave(r, q, "the maps do not know its domain any more, and it would leave by the relay (--yes lets it)");
			r->unknown++;
			return;
		}
		if (own == NULL && strcmp(q->answers[i].user, q->user) == 0)
			own = &q->answers[i];
	}
	if (!q->alone) {
		if (own != NULL && !is_other(r, q, own))
			take(r, q, own);
		else
			leave(r, q, "it led to several recipients, and the maps do not say which of them this one is");
		return;
	}
	for (size_t i = 0; i < q->count; i++)
		if (!is_other(r, q, &q->answers[i]))
			take(r, q, &q->answers[i]);
	if (r->count == before)
		leave(r, q, "it leads to other recipients of the message now (zlmtp-queue remove or fail)");
}

int rerouting_ask(struct rerouting *r, const struct routing *routing)
{
	char **addresses;
	int status;

	for (size_t i = 0; i < r->selection->count; i++)
		add_questions(r, i);
	addresses = xcalloc(r->question_count + 1, sizeof(char *));
	for (size_t i = 0; i < r->question_count; i++)
		addresses[i] = r->questions[i].address;
	status = routing_each(routing, addresses, r->question_count, hear, r);
	free(addresses);
	for (size_t i = 0; status == EX_OK && i < r->question_count; i++)
		judge(r, &r->questions[i]);
	return status;
}

size_t rerouting_first(const struct rerouting *r, size_t message)
{
	size_t low = 0, high = r->count;

	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (r->list[middle].message < message)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

static void free_strings(char **list, size_t count)
{
	for (size_t i = 0; i < count; i++)
		free(list[i]);
	free(list);
}

void rerouting_free(struct rerouting *r)
{
	for (size_t i = 0; i < r->question_count; i++) {
		struct question *q = &r->questions[i];

		for (size_t k = 0; k < q->count; k++) {
			free((char *)q->answers[k].channel);
			free((char *)q->answers[k].host);
			free((char *)q->answers[k].user);
		}
		free(q->answers);
		free(q->address);
		free(q->channel);
		free(q->host);
		free(q->user);
	}
	for (size_t i = 0; i < r->company_count; i++) {
		free_strings(r->companies[i].keys, r->companies[i].key_count);
		free_strings(r->companies[i].originals, r->companies[i].original_count);
	}
	free(r->companies);
	free(r->questions);
	free(r->list);
}
