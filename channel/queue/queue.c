#include "channel/queue/queue.h"

#include <stdlib.h>
#include <string.h>

#include "channel/spool/diagnostic.h"
#include "channel/spool/report_due.h"
#include "channel/spool/spoolid.h"
#include "lib/alloc.h"
#include "lib/clock.h"
#include "lib/hash.h"
#include "lib/text.h"

/* Tables grow when there are as many entries as buckets. */
#define FIRST_BUCKETS 64

/* Bytes of an answer that are kept: every recipient in the queue may have one. */
#define ANSWER_MAX 400

void queue_init(struct queue *q)
{
	*q = (struct queue){ .message_buckets = FIRST_BUCKETS, .destination_buckets = FIRST_BUCKETS };
	q->messages = xcalloc(FIRST_BUCKETS, sizeof(struct message *));
	q->destinations = xcalloc(FIRST_BUCKETS, sizeof(struct destination *));
}

/* ---- hash tables ---- */

/* Inode numbers of neighbours differ in the last bits, so these are the hash. */
static size_t id_bucket(uint64_t id, size_t buckets)
{
	return hash_cell(id, buckets);
}

static size_t destination_bucket(const char *channel, const char *host, size_t buckets)
{
	return hash_cell(hash_string(hash_string(HASH_START, channel), host), buckets);
}

static void grow_messages(struct queue *q)
{
	size_t buckets = q->message_buckets * 2;
	struct message **table = xcalloc(buckets, sizeof(struct message *));

	for (size_t i = 0; i < q->message_buckets; i++) {
		struct message *next;

		for (struct message *m = q->messages[i]; m != NULL; m = next) {
			struct message **slot = &table[id_bucket(m->id, buckets)];

			next = m->same_bucket;
			m->same_bucket = *slot;
			*slot = m;
		}
	}
	free(q->messages);
	q->messages = table;
	q->message_buckets = buckets;
}

static void grow_destinations(struct queue *q)
{
	size_t buckets = q->destination_buckets * 2;
	struct destination **table = xcalloc(buckets, sizeof(struct destination *));

	for (struct destination *d = q->all_destinations; d != NULL; d = d->next) {
		struct destination **slot = &table[destination_bucket(d->channel, d->host, buckets)];

		d->same_bucket = *slot;
		*slot = d;
	}
	free(q->destinations);
	q->destinations = table;
	q->destination_buckets = buckets;
}

struct message *queue_find(const struct queue *q, uint64_t id)
{
	struct message *m = q->messages[id_bucket(id, q->message_buckets)];

	while (m != NULL && m->id != id)
		m = m->same_bucket;
	return m;
}

/* With `room` bytes behind it. */
static struct message *insert_message(struct queue *q, uint64_t id, size_t room)
{
	struct message *m = xcalloc(1, sizeof *m + room);
	struct message **slot;

	q->changes++;
	if (q->message_count++ >= q->message_buckets)
		grow_messages(q);
	m->id = id;
	slot = &q->messages[id_bucket(id, q->message_buckets)];
	m->same_bucket = *slot;
	*slot = m;
	return m;
}

/* `host` in lower case. */
static struct destination *find_destination(struct queue *q, const char *channel, const char *host)
{
	struct destination *d = q->destinations[destination_bucket(channel, host, q->destination_buckets)];
	struct destination **slot;

	while (d != NULL && (strcmp(d->channel, channel) != 0 || strcmp(d->host, host) != 0))
		d = d->same_bucket;
	if (d != NULL)
		return d;
	if (q->destination_count++ >= q->destination_buckets)
		grow_destinations(q);
	d = xcalloc(1, sizeof *d);
	d->channel = xstrdup(channel);
	d->host = xstrdup(host);
	d->next = q->all_destinations;
	q->all_destinations = d;
	slot = &q->destinations[destination_bucket(channel, host, q->destination_buckets)];
	d->same_bucket = *slot;
	*slot = d;
	return d;
}

/* ---- lists ---- */

static void list_append(struct group_list *list, struct group *g)
{
	g->prev = list->last;
	g->after = NULL;
	if (list->last != NULL)
		list->last->after = g;
	else
		list->first = g;
	list->last = g;
	list->count++;
}

static void list_remove(struct group_list *list, struct group *g)
{
	if (g->prev != NULL)
		g->prev->after = g->after;
	else
		list->first = g->after;
	if (g->after != NULL)
		g->after->prev = g->prev;
	else
		list->last = g->prev;
	g->prev = g->after = NULL;
	list->count--;
}

static void become_busy(struct queue *q, struct destination *d)
{
	d->busy_prev = q->last_busy;
	d->busy_next = NULL;
	if (q->last_busy != NULL)
		q->last_busy->busy_next = d;
	else
		q->first_busy = d;
	q->last_busy = d;
}

static void become_quiet(struct queue *q, struct destination *d)
{
	if (d->busy_prev != NULL)
		d->busy_prev->busy_next = d->busy_next;
	else
		q->first_busy = d->busy_next;
	if (d->busy_next != NULL)
		d->busy_next->busy_prev = d->busy_prev;
	else
		q->last_busy = d->busy_prev;
}

/* ---- sleepers: a binary heap, the first to wake at 0 ---- */

static bool wakes_before(const struct group *a, const struct group *b)
{
	const struct timespec *x = &a->message->arrived, *y = &b->message->arrived;

	if (a->due != b->due)
		return a->due < b->due;
	return x->tv_sec != y->tv_sec ? x->tv_sec < y->tv_sec : x->tv_nsec < y->tv_nsec;
}

static void heap_place(struct queue *q, size_t at, struct group *g)
{
	q->asleep[at] = g;
	g->heap = at;
}

static void heap_up(struct queue *q, size_t at, struct group *g)
{
	for (; at > 0 && wakes_before(g, q->asleep[(at - 1) / 2]); at = (at - 1) / 2)
		heap_place(q, at, q->asleep[(at - 1) / 2]);
	heap_place(q, at, g);
}

static void heap_down(struct queue *q, size_t at, struct group *g)
{
	for (;;) {
		size_t child = 2 * at + 1;

		if (child + 1 < q->asleep_count && wakes_before(q->asleep[child + 1], q->asleep[child]))
			child++;
		if (child >= q->asleep_count || !wakes_before(q->asleep[child], g))
			break;
		heap_place(q, at, q->asleep[child]);
		at = child;
	}
	heap_place(q, at, g);
}

static void heap_remove(struct queue *q, struct group *g)
{
	size_t at = g->heap;
	struct group *last = q->asleep[--q->asleep_count];

	if (last == g)
		return;
	if (wakes_before(last, g))
		heap_up(q, at, last);
	else
		heap_down(q, at, last);
}

struct group *queue_first_asleep(const struct queue *q)
{
	return q->asleep_count > 0 ? q->asleep[0] : NULL;
}

/* ---- moves ---- */

static void leave(struct queue *q, struct group *g)
{
	struct destination *d = g->destination;

	q->changes++;
	if (g->state == GROUP_READY) {
		list_remove(&d->ready, g);
		if (d->ready.count == 0)
			become_quiet(q, d);
	} else if (g->state == GROUP_ASLEEP) {
		heap_remove(q, g);
	}
	g->state = GROUP_CLOSED;
}

void queue_ready(struct queue *q, struct group *g)
{
	leave(q, g);
	g->due = 0;
	if (g->message->parked)
		return;
	if (g->destination->ready.count == 0)
		become_busy(q, g->destination);
	list_append(&g->destination->ready, g);
	g->state = GROUP_READY;
}

void queue_sleep(struct queue *q, struct group *g, int64_t due)
{
	leave(q, g);
	g->due = due;
	if (g->message->parked)
		return;
	q->asleep = xgrow(q->asleep, q->asleep_count, &q->asleep_room, sizeof *q->asleep);
	heap_up(q, q->asleep_count++, g);
	g->state = GROUP_ASLEEP;
}

void queue_close(struct queue *q, struct group *g)
{
	leave(q, g);
}

void queue_feed(struct queue *q, struct group *g, struct group_list *fed, void *agent)
{
	struct recipient *r = g->message->recipients;

	leave(q, g);
	list_append(fed, g);
	g->state = GROUP_FED;
	g->agent = agent;
	g->awaited = 0;
	for (uint32_t i = g->first; i != NO_RECIPIENT; i = r[i].next) {
		r[i].awaited = r[i].state == RECIPIENT_OPEN;
		g->awaited += r[i].awaited;
	}
}

void queue_take_back(struct group *g, struct group_list *fed)
{
	list_remove(fed, g);
	g->state = GROUP_CLOSED;
	g->agent = NULL;
}

void queue_settle(struct message *m, struct recipient *r, enum recipient_state state)
{
	struct group *g = &m->groups[r->group];

	r->state = state;
	m->untold |= state == RECIPIENT_FAILED || r->wants_success;
	g->open--;
	m->open--;
	if (r->awaited) {
		r->awaited = false;
		g->awaited--;
	}
}

void group_deferred(struct group *g, const char *notary, const char *text)
{
	free(g->notary);
	free(g->text);
	g->notary = xstrdup(notary);
	g->text = xstrdup(text);
}

/* The answer in a transcript, as clean text. */
static char *answer_of(const char *text)
{
	struct buf clean = { 0 };

	text_add_clean_string(&clean, diagnostic_answer(text), ANSWER_MAX);
	return clean.data != NULL ? clean.data : xstrdup("");
}

bool destination_reason(struct destination *d, const char *text, int64_t now)
{
	char *reason = text != NULL ? answer_of(text) : NULL;
	bool same = d->reason == NULL || reason == NULL ? d->reason == reason : strcmp(d->reason, reason) == 0;

	free(d->reason);
	d->reason = reason;
	d->reason_since = now;
	return !same;
}

void message_untold(struct queue *q, struct message *m, const char *why, int64_t now)
{
	struct buf clean = { 0 };

	text_add_clean_string(&clean, why, ANSWER_MAX);
	free(m->untold_why);
	m->untold_why = clean.data != NULL ? clean.data : xstrdup("");
	m->untold_at = now;
	q->changes++;
}

void recipient_deferred(struct recipient *r, const char *text, int64_t now)
{
	free(r->answer);
	r->answer = answer_of(text);
	r->answered = (time_t)now;
}

/* ---- messages ---- */

/* Puts a string at *room, and *room behind it. */
static const char *put(char **room, const char *string)
{
	size_t size = strlen(string) + 1;
	char *at = memcpy(*room, string, size);

	*room += size;
	return at;
}

/* What a message is made of, counted before there is one. */
struct arrival {
	struct destination **destinations;  /* of its recipients, NULL for those that are settled; by their place in the control file */
	size_t recipients, groups;
	size_t strings;           /* bytes */
};

/* Numbers the groups: that of a recipient is message_group of its destination, until the next message is added. */
static struct arrival count_arrival(struct queue *q, const struct control *c)
{
	struct arrival a = { .destinations = xcalloc(c->recipient_count, sizeof(struct destination *)) };

	q->serial++;
	for (size_t i = 0; i < c->recipient_count; i++) {
		struct destination *d;
		char *host;

		/* without a sender no agent can deliver it: as ZMailer, we do not see it */
		if (control_is_settled(&c->recipients[i]) || c->recipients[i].sender == CONTROL_NONE)
			continue;
		host = xstrdup(c->recipients[i].host);
		ascii_lower_string(host);
		d = a.destinations[i] = find_destination(q, c->recipients[i].channel, host);
		free(host);
		a.recipients++;
		a.strings += strlen(c->recipients[i].user) + 1;
		if (d->message_serial != q->serial) {
			d->message_serial = q->serial;
			d->message_group = (uint32_t)a.groups++;
			d->groups++;
		}
	}
	return a;
}

static void add_recipient(struct message *m, const struct control *c, const struct control_recipient *line,
                          struct destination *d, char **strings)
{
	uint32_t index = m->open++;
	struct recipient *r = &m->recipients[index];
	struct group *g = &m->groups[d->message_group];

	if (g->destination == NULL)
		*g = (struct group){
			.message = m, .destination = d, .state = GROUP_CLOSED, .first = NO_RECIPIENT, .last = NO_RECIPIENT,
		};
	r->offset = line->offset;
	r->user = put(strings, line->user);
	r->wants_success = line->notify_given && (line->notify & NOTIFY_SUCCESS);
	r->wants_delay = !line->notify_given || (line->notify & NOTIFY_DELAY);
	m->null_sender = control_return_path(&c->senders[line->sender])[0] == '\0';
	r->group = d->message_group;
	r->next = NO_RECIPIENT;
	if (g->last == NO_RECIPIENT)
		g->first = index;
	else
		m->recipients[g->last].next = index;
	g->last = index;
	g->open++;
}

struct message *queue_add(struct queue *q, const struct control *c, const char *file, const struct timespec *arrived)
{
	struct arrival a = count_arrival(q, c);
	size_t recipients = a.recipients * sizeof(struct recipient), groups = a.groups * sizeof(struct group);
	size_t file_length = strlen(file), name_length = strlen(c->name);
	bool ends_so = file_length >= name_length && strcmp(file + file_length - name_length, c->name) == 0;
	struct message *m = insert_message(q, c->id,
	                                   recipients + groups + a.strings + file_length + 1 + (ends_so ? 0 : name_length + 1));
	char *strings = (char *)&m->recipients[a.recipients] + groups;

	m->groups = (struct group *)&m->recipients[a.recipients];
	m->group_count = (uint32_t)a.groups;
	m->count = (uint32_t)a.recipients;
	m->file = put(&strings, file);
	/* both files have one name as a rule: ZMailer's and ours */
	m->name = ends_so ? m->file + file_length - name_length : put(&strings, c->name);
	m->arrived = *arrived;
	m->inode = c->inode;
	m->all_open = a.recipients == c->recipient_count;
	for (size_t i = 0; i < c->recipient_count; i++)
		if (a.destinations[i] != NULL)
			add_recipient(m, c, &c->recipients[i], a.destinations[i], &strings);
	m->delay_at = CLOCK_NEVER;
	m->untold = !m->all_open && report_due_any(c);
	/* what the sender heard of delays before */
	for (size_t i = 0; i < c->diagnostic_count; i++) {
		const struct recipient *r = message_recipient(m, c->diagnostics[i].recipient);
		int64_t age = report_due_delay_reported(&c->diagnostics[i]);

		if (r != NULL && age > m->groups[r->group].delay_told)
			m->groups[r->group].delay_told = (int32_t)age;
	}
	free(a.destinations);
	return m;
}

struct message *queue_put_aside(struct queue *q, uint64_t id, const char *name, int64_t look_again)
{
	struct message *m = insert_message(q, id, strlen(name) + 1);

	m->name = strcpy((char *)m->recipients, name);
	m->look_again = look_again;
	return m;
}

void message_free(struct message *m)
{
	for (size_t i = 0; i < m->group_count; i++) {
		free(m->groups[i].notary);
		free(m->groups[i].text);
	}
	for (size_t i = 0; i < m->count; i++)
		free(m->recipients[i].answer);
	free(m->untold_why);
	free(m);
}

void queue_detach(struct queue *q, struct message *m)
{
	struct message **at = &q->messages[id_bucket(m->id, q->message_buckets)];

	for (size_t i = 0; i < m->group_count; i++) {
		enum group_state state = m->groups[i].state;

		leave(q, &m->groups[i]);
		m->groups[i].state = state;
		m->groups[i].destination->groups--;
	}
	while (*at != m)
		at = &(*at)->same_bucket;
	*at = m->same_bucket;
	q->message_count--;
	q->changes++;
}

void queue_remove(struct queue *q, struct message *m)
{
	queue_detach(q, m);
	message_free(m);
}

void queue_park(struct queue *q, struct message *m)
{
	m->parked = true;
	for (size_t i = 0; i < m->group_count; i++) {
		struct group *g = &m->groups[i];

		if (g->state == GROUP_READY)
			g->due = 0;
		if (g->state == GROUP_READY || g->state == GROUP_ASLEEP)
			leave(q, g);
	}
}

void queue_unpark(struct queue *q, struct message *m, int64_t now)
{
	m->parked = false;
	for (size_t i = 0; i < m->group_count; i++) {
		struct group *g = &m->groups[i];

		if (g->state != GROUP_CLOSED || g->open == 0)
			continue;
		if (g->due > now)
			queue_sleep(q, g, g->due);
		else
			queue_ready(q, g);
	}
}

static void free_destination(struct destination *d)
{
	free(d->channel);
	free(d->host);
	free(d->reason);
	free(d->answer);
	free(d);
}

void queue_sweep(struct queue *q)
{
	for (struct destination **at = &q->all_destinations, *t; (t = *at) != NULL;) {
		struct destination **slot = &q->destinations[destination_bucket(t->channel, t->host, q->destination_buckets)];

		if (t->groups > 0 || t->agents > 0) {
			at = &t->next;
			continue;
		}
		while (*slot != t)
			slot = &(*slot)->same_bucket;
		*slot = t->same_bucket;
		*at = t->next;
		q->destination_count--;
		free_destination(t);
	}
}

void message_add_id(struct buf *out, const struct message *m)
{
	spoolid_add(out, &(struct stat){ .st_ino = m->file_inode != 0 ? m->file_inode : m->id, .st_mtim = m->arrived });
}

int64_t message_age(const struct message *m, int64_t now)
{
	return m->seen_age + (now - m->seen_at) / 1000;
}

bool message_is_fed(const struct message *m)
{
	for (size_t i = 0; i < m->group_count; i++)
		if (m->groups[i].state == GROUP_FED)
			return true;
	return false;
}

struct recipient *message_recipient(struct message *m, off_t offset)
{
	size_t low = 0, high = m->count;

	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (m->recipients[middle].offset == offset)
			return &m->recipients[middle];
		if (m->recipients[middle].offset < offset)
			low = middle + 1;
		else
			high = middle;
	}
	return NULL;
}

void queue_free(struct queue *q)
{
	struct destination *next_destination;

	for (size_t i = 0; i < q->message_buckets; i++) {
		struct message *next;

		for (struct message *m = q->messages[i]; m != NULL; m = next) {
			next = m->same_bucket;
			message_free(m);
		}
	}
	for (struct destination *d = q->all_destinations; d != NULL; d = next_destination) {
		next_destination = d->next;
		free_destination(d);
	}
	free(q->messages);
	free(q->destinations);
	free(q->asleep);
}
