#include "db/sync/content.h"

#include <search.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>

#include "lib/alloc.h"
#include "lib/log.h"

/* An entry of the directory as one rule sees it. */
struct item {
	struct sync_uuid uuid;
	unsigned rule;
	char *dn;                    /* NULL: it is gone, which is not in the map yet */
	struct yield yield;
	unsigned mark;
	unsigned round;              /* the comparison in which it was seen last */
	bool touched;
	struct item *next_touched;
};

/* An entry wants a key. */
struct claim {
	struct claim *next;
	struct item *entry;
	const char *value;           /* NULL: unclear */
};

enum trouble {
	NO_TROUBLE,
	CONFLICT,                    /* of two, one has it */
	UNCLEAR,
};

struct slot {
	char *key;
	struct claim *claims;
	struct item *holder;        /* whose value it has */
	char *stored;                /* what is in the map; NULL: nothing */
	char *next;                  /* what is to be there if `changes` */
	bool changes;
	enum trouble trouble;
	bool told;
	bool touched;
	struct slot *next_touched;
};

struct content {
	void *entries;
	void *slots;
	struct item *touched_entries;
	struct slot *touched_slots;
	size_t records;
	size_t troubles;
	bool new_domains;
	bool news;
};

/* ---- trees ---------------------------------------------------------------- */

static int compare_items(const void *a, const void *b)
{
	const struct item *x = a, *y = b;

	if (x->rule != y->rule)
		return x->rule < y->rule ? -1 : 1;
	return memcmp(x->uuid.bytes, y->uuid.bytes, SYNC_UUID);
}

static int compare_slots(const void *a, const void *b)
{
	return strcmp(((const struct slot *)a)->key, ((const struct slot *)b)->key);
}

static struct item *find_item(const struct content *c, unsigned rule, const struct sync_uuid *uuid)
{
	const struct item wanted = { .rule = rule, .uuid = *uuid };
	struct item *const *node = tfind(&wanted, &c->entries, compare_items);

	return node != NULL ? *node : NULL;
}

static void *put_into(void **tree, void *thing, int (*compare)(const void *, const void *))
{
	if (tsearch(thing, tree, compare) == NULL)
		die(EX_OSERR, "out of memory");
	return thing;
}

static struct slot *slot_for(struct content *c, const char *key, size_t n)
{
	struct slot wanted = { .key = xstrndup(key, n) }, *slot;
	struct slot *const *node = tfind(&wanted, &c->slots, compare_slots);

	if (node != NULL) {
		free(wanted.key);
		return *node;
	}
	slot = xcalloc(1, sizeof *slot);
	slot->key = wanted.key;
	return put_into(&c->slots, slot, compare_slots);
}

static void free_item(void *thing)
{
	struct item *e = thing;

	yield_free(&e->yield);
	free(e->dn);
	free(e);
}

static void free_slot(void *thing)
{
	struct slot *s = thing;

	while (s->claims != NULL) {
		struct claim *claim = s->claims;

		s->claims = claim->next;
		free(claim);
	}
	free(s->key);
	free(s->stored);
	free(s->next);
	free(s);
}

struct content *content_create(void)
{
	return xcalloc(1, sizeof(struct content));
}

void content_free(struct content **content)
{
	struct content *c = *content;

	*content = NULL;
	if (c == NULL)
		return;
	tdestroy(c->slots, free_slot);
	tdestroy(c->entries, free_item);
	free(c);
}

/* ---- what was touched ------------------------------------------------------ */

static void touch_item(struct content *c, struct item *e)
{
	if (e->touched)
		return;
	e->touched = true;
	e->next_touched = c->touched_entries;
	c->touched_entries = e;
}

static void touch_slot(struct content *c, struct slot *s)
{
	s->told = false;
	if (s->touched)
		return;
	s->touched = true;
	s->next_touched = c->touched_slots;
	c->touched_slots = s;
}

bool content_is_touched(const struct content *content)
{
	return content->touched_entries != NULL || content->touched_slots != NULL;
}

bool content_has_news(const struct content *content)
{
	return content->news;
}

/* ---- what the directory says ----------------------------------------------- */

static void add_claims(struct content *c, struct item *e)
{
	for (size_t i = 0; i < e->yield.count; i++) {
		const struct wanted *w = &e->yield.records[i];
		struct slot *s = slot_for(c, w->key, strlen(w->key));
		struct claim *claim = xmalloc(sizeof *claim);

		*claim = (struct claim){ s->claims, e, w->value };
		s->claims = claim;
		touch_slot(c, s);
	}
}

static void remove_claim(struct slot *s, const struct item *e)
{
	for (struct claim **link = &s->claims; *link != NULL; link = &(*link)->next) {
		struct claim *claim = *link;

		if (claim->entry == e) {
			*link = claim->next;
			free(claim);
			return;
		}
	}
}

static void remove_claims(struct content *c, struct item *e, bool is_gone)
{
	for (size_t i = 0; i < e->yield.count; i++) {
		struct slot *s = slot_for(c, e->yield.records[i].key, strlen(e->yield.records[i].key));

		remove_claim(s, e);
		if (is_gone && s->holder == e)
			s->holder = NULL;
		touch_slot(c, s);
	}
	yield_free(&e->yield);
}

static bool same_text(const char *a, const char *b)
{
	return a == b || (a != NULL && b != NULL && strcmp(a, b) == 0);
}

static bool same_domains(char *const *a, char *const *b)
{
	size_t i = 0;

	if (a == NULL || b == NULL)
		return a == b;
	while (a[i] != NULL && b[i] != NULL && strcmp(a[i], b[i]) == 0)
		i++;
	return a[i] == b[i];
}

static bool same_records(const struct yield *a, const struct yield *b)
{
	if (a->count != b->count)
		return false;
	for (size_t i = 0; i < a->count; i++)
		if (strcmp(a->records[i].key, b->records[i].key) != 0 || !same_text(a->records[i].value, b->records[i].value))
			return false;
	return true;
}

bool content_put(struct content *c, unsigned rule, const struct sync_uuid *uuid, const char *dn, struct yield *yield)
{
	struct item *e = find_item(c, rule, uuid);

	if (e == NULL) {
		e = xcalloc(1, sizeof *e);
		e->rule = rule;
		e->uuid = *uuid;
		put_into(&c->entries, e, compare_items);
	}
	if (!same_domains(e->yield.domains, yield->domains)) {
		c->new_domains = true;
	} else if (e->dn != NULL && strcmp(e->dn, dn) == 0 && same_records(&e->yield, yield)) {
		if (e->yield.version != yield->version) {
			e->yield.version = yield->version;
			touch_item(c, e);
		}
		yield_free(yield);
		return false;
	}
	c->news = true;
	remove_claims(c, e, false);
	free(e->dn);
	e->dn = xstrdup(dn);
	e->yield = *yield;
	*yield = (struct yield){ 0 };
	add_claims(c, e);
	touch_item(c, e);
	return true;
}

static void drop(struct content *c, struct item *e)
{
	if (e->dn == NULL)
		return;
	c->new_domains = c->new_domains || e->yield.domains != NULL;
	c->news = true;
	remove_claims(c, e, true);
	free(e->dn);
	e->dn = NULL;
	touch_item(c, e);
}

void content_drop(struct content *c, unsigned rule, const struct sync_uuid *uuid)
{
	struct item *e = find_item(c, rule, uuid);

	if (e != NULL)
		drop(c, e);
}

bool content_has(const struct content *c, unsigned rule, const struct sync_uuid *uuid)
{
	const struct item *e = find_item(c, rule, uuid);

	return e != NULL && e->dn != NULL;
}

void content_mark(struct content *c, unsigned rule, const struct sync_uuid *uuid, unsigned mark)
{
	struct item *e = find_item(c, rule, uuid);

	if (e != NULL)
		e->mark = mark;
}

bool content_version(const struct content *c, unsigned rule, const struct sync_uuid *uuid, uint64_t *version)
{
	const struct item *e = find_item(c, rule, uuid);

	if (e == NULL || e->dn == NULL)
		return false;
	*version = e->yield.version;
	return true;
}

bool content_see(struct content *c, unsigned rule, const struct sync_uuid *uuid, unsigned round, uint64_t *version)
{
	struct item *e = find_item(c, rule, uuid);

	if (e == NULL || e->dn == NULL)
		return false;
	e->round = round;
	*version = e->yield.version;
	return true;
}

const char *content_name(const struct content *c, unsigned rule, const struct sync_uuid *uuid)
{
	const struct item *e = find_item(c, rule, uuid);

	return e != NULL ? e->dn : NULL;
}

struct search_for_unseen {
	unsigned rule;
	unsigned round;
	content_unseen *each;
	void *context;
};

static void look_at_round(const void *node, VISIT visit, void *closure)
{
	const struct search_for_unseen *s = closure;
	const struct item *e;

	if (visit != postorder && visit != leaf)
		return;
	e = *(struct item *const *)node;
	if (e->rule == s->rule && e->round != s->round && e->dn != NULL)
		s->each(s->context, &e->uuid);
}

void content_each_unseen(struct content *c, unsigned rule, unsigned round, content_unseen *each, void *context)
{
	struct search_for_unseen search = { rule, round, each, context };

	twalk_r(c->entries, look_at_round, &search);
}

struct sweep {
	struct content *content;
	unsigned rule;
	unsigned mark;
};

static void sweep_item(const void *node, VISIT visit, void *closure)
{
	const struct sweep *sweep = closure;
	struct item *e;

	if (visit != postorder && visit != leaf)
		return;
	e = *(struct item *const *)node;
	/* what is dropped stays in the tree until it is settled */
	if (e->rule == sweep->rule && e->mark != sweep->mark)
		drop(sweep->content, e);
}

void content_drop_unmarked(struct content *c, unsigned rule, unsigned mark)
{
	struct sweep sweep = { c, rule, mark };

	twalk_r(c->entries, sweep_item, &sweep);
}

/* ---- what is in the map ----------------------------------------------------- */

static void set_stored(struct content *c, struct slot *s, char *value)
{
	c->records += (value != NULL) - (s->stored != NULL);
	free(s->stored);
	s->stored = value;
}

void content_found(struct content *c, const char *key, size_t key_length, const char *value, size_t value_length)
{
	set_stored(c, slot_for(c, key, key_length), xstrndup(value, value_length));
}

/* Most keys are wanted once and have what is wanted; only the others need a decision. */
static void compare_slot(const void *node, VISIT visit, void *closure)
{
	struct slot *s;

	if (visit != postorder && visit != leaf)
		return;
	s = *(struct slot *const *)node;
	/* of several that want it, the one whose value is there has it */
	for (const struct claim *claim = s->claims; claim != NULL && s->holder == NULL; claim = claim->next)
		if (claim->value != NULL && same_text(claim->value, s->stored))
			s->holder = claim->entry;
	if (s->holder == NULL || s->claims->next != NULL)
		touch_slot(closure, s);
}

void content_compare(struct content *c)
{
	for (struct item *e = c->touched_entries; e != NULL; e = e->next_touched)
		e->touched = false;
	for (struct slot *s = c->touched_slots; s != NULL; s = s->next_touched)
		s->touched = false;
	c->touched_entries = NULL;
	c->touched_slots = NULL;
	c->new_domains = false;
	twalk_r(c->slots, compare_slot, c);
	c->news = c->touched_slots != NULL;
}

static void settle_slot(struct content *c, struct slot *s)
{
	s->touched = false;
	if (s->changes)
		set_stored(c, s, s->next);
	s->changes = false;
	s->next = NULL;
	if (s->claims != NULL || s->stored != NULL)
		return;
	tdelete(s, &c->slots, compare_slots);
	free_slot(s);
}

static void settle_item(struct content *c, struct item *e)
{
	e->touched = false;
	if (e->dn != NULL)
		return;
	tdelete(e, &c->entries, compare_items);
	free_item(e);
}

void content_settled(struct content *c)
{
	c->news = false;
	while (c->touched_slots != NULL) {
		struct slot *s = c->touched_slots;

		c->touched_slots = s->next_touched;
		settle_slot(c, s);
	}
	while (c->touched_entries != NULL) {
		struct item *e = c->touched_entries;

		c->touched_entries = e->next_touched;
		settle_item(c, e);
	}
}

/* ---- what differs ------------------------------------------------------------ */

static const struct claim *claim_of(const struct slot *s, const struct item *e)
{
	const struct claim *claim = s->claims;

	while (claim != NULL && claim->entry != e)
		claim = claim->next;
	return claim;
}

static bool all_agree(const struct slot *s)
{
	for (const struct claim *claim = s->claims; claim != NULL; claim = claim->next)
		if (claim->value == NULL || strcmp(claim->value, s->claims->value) != 0)
			return false;
	return true;
}

/* The claim whose value the key has or shall have; NULL if that is unclear. */
static const struct claim *choose(const struct slot *s)
{
	const struct claim *claim = s->holder != NULL ? claim_of(s, s->holder) : NULL;

	if (claim != NULL)
		return claim->value != NULL ? claim : NULL;
	if (s->claims != NULL && all_agree(s))
		return s->claims;
	for (claim = s->claims; claim != NULL; claim = claim->next)
		if (claim->value != NULL && same_text(claim->value, s->stored))
			return claim;
	return NULL;
}

/* The value of an unclear key. */
static char *unclear_value(const struct slot *s, const struct template *unclear)
{
	const struct ldap_entry nothing = { 0 };
	struct results results = { 0 };
	const char *culprit;
	char *value = s->stored;

	if (unclear != NULL && template_expand(unclear, &nothing, s->key, false, &results, &culprit) == TEMPLATE_DONE)
		value = results.list[0];
	value = value != NULL ? xstrdup(value) : NULL;
	results_free(&results);
	return value;
}

static void decide(struct content *c, struct slot *s, const struct template *unclear)
{
	const struct claim *claim = choose(s);
	const enum trouble before = s->trouble;

	free(s->next);
	s->next = NULL;
	s->trouble = s->claims == NULL || (claim != NULL && all_agree(s)) ? NO_TROUBLE : claim != NULL ? CONFLICT : UNCLEAR;
	if (claim != NULL) {
		s->holder = claim->entry;
		s->next = xstrdup(claim->value);
	} else if (s->claims != NULL) {
		s->next = unclear_value(s, unclear);
	}
	/* an entry whose own value is unclear for a while does not lose the key */
	if (s->holder != NULL && claim_of(s, s->holder) == NULL)
		s->holder = NULL;
	s->changes = !same_text(s->next, s->stored);
	if (!s->changes) {
		free(s->next);
		s->next = NULL;
	}
	c->troubles += (s->trouble != NO_TROUBLE) - (before != NO_TROUBLE);
}

void content_changes(struct content *c, const struct template *unclear, content_change *each, void *context,
                     struct content_counts *counts)
{
	*counts = (struct content_counts){ .records = c->records };
	for (struct slot *s = c->touched_slots; s != NULL; s = s->next_touched) {
		decide(c, s, unclear);
		if (!s->changes)
			continue;
		counts->added += s->stored == NULL;
		counts->removed += s->next == NULL;
		counts->changed += s->stored != NULL && s->next != NULL;
		each(context, s->key, s->next);
	}
	counts->unclear = c->troubles;
}

void content_entries(struct content *c, content_entry *each, void *context)
{
	for (const struct item *e = c->touched_entries; e != NULL; e = e->next_touched)
		each(context, e->rule, &e->uuid, e->dn, &e->yield);
}

static void describe(const struct slot *s, struct buf *text)
{
	buf_addf(text, "%s: wanted by", s->key);
	for (const struct claim *claim = s->claims; claim != NULL; claim = claim->next)
		buf_addf(text, "%s \"%s\" (%s)", claim == s->claims ? "" : " and", claim->entry->dn,
		         claim->value != NULL ? claim->value : "no usable value");
	if (s->trouble == CONFLICT)
		buf_addf(text, "; conflict, it stays with \"%s\"", s->holder->dn);
	else
		buf_addf(text, "%s", s->claims->next != NULL ? "; conflict" : "");
	if (s->trouble == UNCLEAR)
		buf_addf(text, "; %s", s->changes ? "it gets the value for unclear keys" : s->stored != NULL ? "left as it was" : "left out");
}

void content_conflicts(struct content *c, content_report *each, void *context)
{
	for (struct slot *s = c->touched_slots; s != NULL; s = s->next_touched) {
		struct buf text = { 0 };

		if (s->trouble == NO_TROUBLE || s->told)
			continue;
		s->told = true;
		describe(s, &text);
		each(context, buf_str(&text));
		buf_free(&text);
	}
}

/* ---- domains ------------------------------------------------------------------ */

static void gather_domains(const void *node, VISIT visit, void *closure)
{
	const struct item *e;

	if (visit != postorder && visit != leaf)
		return;
	e = *(struct item *const *)node;
	for (size_t i = 0; e->yield.domains != NULL && e->yield.domains[i] != NULL; i++)
		results_add(closure, e->yield.domains[i]);
}

bool content_has_new_domains(const struct content *c)
{
	return c->new_domains;
}

char **content_domains(struct content *c)
{
	struct results all = { 0 };
	char **list;

	twalk_r(c->entries, gather_domains, &all);
	results_settle(&all);
	list = xcalloc(all.count + 1, sizeof *list);
	for (size_t i = 0; i < all.count; i++)
		list[i] = xstrdup(all.list[i]);
	results_free(&all);
	c->new_domains = false;
	return list;
}
