#include "channel/operator/selection.h"

#include <stdlib.h>
#include <string.h>

#include "lib/alloc.h"
#include "lib/text.h"

static void forget(struct chosen_message *m)
{
	free(m->job);
	free(m->spool);
	free(m->sender);
	free(m->why);
	free(m->recipients);
}

/* The entries of a message come one after the other. */
static struct chosen_message *message_of(struct selection *s, const struct listed *e)
{
	struct chosen_message *m = s->count > 0 ? &s->messages[s->count - 1] : NULL;

	if (m != NULL && m->inode == e->inode && m->held == e->held && strcmp(m->job, e->name) == 0)
		return m;
	s->messages = xgrow(s->messages, s->count, &s->capacity, sizeof *s->messages);
	m = &s->messages[s->count++];
	*m = (struct chosen_message){
		.job = xstrdup(e->name), .spool = xstrdup(e->spool != NULL ? e->spool : "-"),
		.sender = e->sender == NULL ? NULL : xstrdup(e->sender[0] == '\0' ? "<>" : e->sender),
		.why = e->why != NULL ? xstrdup(e->why) : NULL, .inode = e->inode, .held = e->held,
		.exact = mailfilter_is_exact(s->filter, e),
	};
	s->exact |= m->exact;
	return m;
}

static bool choose(void *context, const struct listed *e)
{
	struct selection *s = context;
	struct chosen_message *m;

	if (s->unclear == NULL && mailfilter_may_match(s->filter, e))
		s->unclear = xstrdup(e->why);
	/* what cannot even be looked at is no message */
	if (e->inode == 0 || !mailfilter_matches(s->filter, e, s->now))
		return true;
	if (s->fits != NULL && !s->fits(e)) {
		s->unfit = true;
		return true;
	}
	m = message_of(s, e);
	if (e->channel == NULL)
		return true;
	m->recipients = xgrow(m->recipients, m->count, &m->capacity, sizeof *m->recipients);
	m->recipients[m->count++] = e->offset;
	s->recipients++;
	return true;
}

void selection_read(struct selection *s)
{
	struct listing sums;
	size_t kept = 0;

	listing_each(&sums, choose, s);
	listing_free(&sums);
	if (!s->exact)
		return;
	/* the filter names one message wholly: those whose ids only begin so are not meant */
	for (size_t i = 0; i < s->count; i++) {
		if (s->messages[i].exact) {
			s->messages[kept++] = s->messages[i];
		} else {
			s->recipients -= s->messages[i].count;
			forget(&s->messages[i]);
		}
	}
	s->count = kept;
}

bool selection_is_clear(const struct selection *s, struct buf *why)
{
	const char *id = s->filter->id;
	bool is_spool;

	if (id == NULL || s->exact || s->count <= 1)
		return true;
	is_spool = strncmp(id, s->messages[0].spool, strlen(id)) == 0;
	text_add_clean_string(why, id, 200);
	buf_addf(why, ": the %s of %zu messages begin with this, %s and %s among them; give more of it",
	         is_spool ? "ids" : "names",
	         s->count, is_spool ? s->messages[0].spool : s->messages[0].job,
	         is_spool ? s->messages[1].spool : s->messages[1].job);
	return false;
}

void selection_free(struct selection *s)
{
	for (size_t i = 0; i < s->count; i++)
		forget(&s->messages[i]);
	free(s->messages);
	free(s->unclear);
	s->unclear = NULL;
	s->messages = NULL;
	s->count = s->capacity = 0;
}
