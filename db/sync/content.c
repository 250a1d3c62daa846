#include "db/sync/content.h"

#include <stdlib.h>
#include <string.h>

#include "db/store/store.h"
#include "db/sync/item.h"
#include "db/sync/table.h"
#include "lib/alloc.h"
#include "lib/hash.h"
#include "lib/pool.h"
#include "lib/settings.h"
#include "lib/text.h"

#define ITEMS 1024

#define DOMAINS_AT_ONCE 10000

/* Items are never freed alone but kept for the next one. */
struct slab {
	struct slab *next;
	struct item items[ITEMS];
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

/* A key about which there is more to know. */
struct slot {
	char *key;
	struct claim *claims;
	struct item *holder;         /* whose value it has */
	char *stored;                /* what is in the map; NULL: nothing */
	char *next;                  /* what is to be there if `changes` */
	bool changes;
	enum trouble trouble;
	bool told;
	bool touched;
	struct slot *next_touched;
};

/*
 * What the cell of a key points to, in its lowest bits: nearly all keys are wanted by one item and have its value in the map, so
 * that a pointer to its part is all there is about them.
 */
enum cell_kind {
	CELL_SAME,                   /* the part of the only item that wants it, whose value is in the map */
	CELL_NEW,                    /* the same, and the map does not have the key */
	CELL_SLOT,
	CELL_KINDS,
};

/* Its name is cut in two, as that of what it stands below is mostly that of the one before it. */
struct touched {
	struct item *item;
	const char *rdn;             /* with the comma; NULL: the name was not said */
	const char *parent;
};

struct content {
	struct table items;
	struct table keys;
	struct slab *slabs;
	size_t used;                 /* of the first slab */
	struct item **spare;
	size_t spare_count;
	size_t spare_capacity;
	struct touched *touched;
	size_t touched_count;
	size_t touched_capacity;
	struct pool names;           /* of those */
	const char *last_parent;     /* among them */
	struct slot *touched_slots;
	size_t new_keys;             /* cells of this kind */
	size_t records;
	size_t troubles;
	bool new_domains;
	bool news;
	content_names *names_of;
	void *names_context;
};

/* ---- tables ---------------------------------------------------------------------- */

static uint64_t hash_of_item(uintptr_t cell)
{
	const struct item *e = (const struct item *)cell;

	return hash_bytes(hash_bytes(HASH_START, e->uuid.bytes, SYNC_UUID), &e->rule, sizeof e->rule);
}

static bool is_item(uintptr_t cell, const void *wanted)
{
	const struct item *e = (const struct item *)cell, *w = wanted;

	return e->rule == w->rule && memcmp(e->uuid.bytes, w->uuid.bytes, SYNC_UUID) == 0;
}

static struct item *find_item(const struct content *c, unsigned rule, const struct sync_uuid *uuid)
{
	const struct item wanted = { .rule = (uint16_t)rule, .uuid = *uuid };
	const uintptr_t *cell = table_find(&c->items, hash_of_item((uintptr_t)&wanted), &wanted);

	return cell != NULL ? (struct item *)*cell : NULL;
}

static struct item *new_item(struct content *c, unsigned rule, const struct sync_uuid *uuid)
{
	struct item *e;

	if (c->spare_count > 0) {
		e = c->spare[--c->spare_count];
	} else {
		if (c->slabs == NULL || c->used == ITEMS) {
			struct slab *slab = xmalloc(sizeof *slab);

			slab->next = c->slabs;
			c->slabs = slab;
			c->used = 0;
		}
		e = &c->slabs->items[c->used++];
	}
	*e = (struct item){ .rule = (uint16_t)rule, .uuid = *uuid };
	table_add(&c->items, (uintptr_t)e);
	return e;
}

static enum cell_kind kind_of(uintptr_t cell)
{
	return (enum cell_kind)(cell & 3);
}

static struct part *part_of(uintptr_t cell)
{
	return (struct part *)(cell & ~(uintptr_t)3);
}

static struct slot *slot_of(uintptr_t cell)
{
	return (struct slot *)(cell & ~(uintptr_t)3);
}

static uintptr_t make_cell(void *what, enum cell_kind kind)
{
	return (uintptr_t)what | kind;
}

static const char *key_of(uintptr_t cell)
{
	return kind_of(cell) == CELL_SLOT ? slot_of(cell)->key : part_of(cell)->text;
}

static uint64_t hash_of_key(uintptr_t cell)
{
	return hash_bytes(HASH_START, key_of(cell), strlen(key_of(cell)));
}

static bool is_key(uintptr_t cell, const void *wanted)
{
	return strcmp(key_of(cell), wanted) == 0;
}

static uintptr_t *find_key(const struct content *c, const char *key)
{
	return table_find(&c->keys, hash_bytes(HASH_START, key, strlen(key)), key);
}

static void free_slot(struct slot *s)
{
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
	struct content *c = xcalloc(1, sizeof *c);

	c->items = (struct table){ .hash = hash_of_item, .matches = is_item };
	c->keys = (struct table){ .hash = hash_of_key, .matches = is_key };
	return c;
}

void content_know_names(struct content *c, content_names *names, void *context)
{
	c->names_of = names;
	c->names_context = context;
}

void content_free(struct content **content)
{
	struct content *c = *content;

	*content = NULL;
	if (c == NULL)
		return;
	for (size_t i = 0; i < c->keys.size; i++)
		if (c->keys.cells[i] != 0 && kind_of(c->keys.cells[i]) == CELL_SLOT)
			free_slot(slot_of(c->keys.cells[i]));
	for (size_t i = 0; i < c->items.size; i++)
		if (c->items.cells[i] != 0)
			free(((struct item *)c->items.cells[i])->parts);
	while (c->slabs != NULL) {
		struct slab *slab = c->slabs;

		c->slabs = slab->next;
		free(slab);
	}
	table_free(&c->keys);
	table_free(&c->items);
	pool_free(&c->names);
	free(c->spare);
	free(c->touched);
	free(c);
}

/* ---- what was touched ------------------------------------------------------ */

static bool add_kept_name(const struct touched *t, struct buf *name)
{
	return t->rdn != NULL && buf_adds(name, t->rdn) && buf_adds(name, t->parent);
}

static void touch_item(struct content *c, struct item *e, const char *dn)
{
	struct touched *t;
	const char *parent;

	if (e->touched == 0) {
		c->touched = xgrow(c->touched, c->touched_count, &c->touched_capacity, sizeof *c->touched);
		c->touched[c->touched_count++] = (struct touched){ .item = e };
		e->touched = (uint32_t)c->touched_count;
	}
	if (dn == NULL)
		return;
	t = &c->touched[e->touched - 1];
	parent = strchr(dn, ',');
	parent = parent != NULL ? parent + 1 : dn + strlen(dn);
	if (c->last_parent == NULL || strcmp(c->last_parent, parent) != 0)
		c->last_parent = pool_copy(&c->names, parent, strlen(parent));
	t->rdn = pool_copy(&c->names, dn, (size_t)(parent - dn));
	t->parent = c->last_parent;
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

bool content_is_touched(const struct content *c)
{
	return c->touched_count > 0 || c->touched_slots != NULL || c->new_keys > 0;
}

bool content_has_news(const struct content *content)
{
	return content->news;
}

/* ---- keys ------------------------------------------------------------------ */

static void set_stored(struct content *c, struct slot *s, char *value)
{
	c->records += (value != NULL) - (s->stored != NULL);
	free(s->stored);
	s->stored = value;
}

static void add_claim(struct slot *s, struct item *entry, const char *value)
{
	struct claim *claim = xmalloc(sizeof *claim);

	*claim = (struct claim){ s->claims, entry, value };
	s->claims = claim;
}

/* The slot of a key, which is made if so far there was no need for one. */
static struct slot *slot_for(struct content *c, const char *key)
{
	uintptr_t *cell = find_key(c, key);
	struct slot *s;

	if (cell != NULL && kind_of(*cell) == CELL_SLOT)
		return slot_of(*cell);
	s = xcalloc(1, sizeof *s);
	s->key = xstrdup(key);
	if (cell == NULL) {
		table_add(&c->keys, make_cell(s, CELL_SLOT));
		return s;
	}
	add_claim(s, part_of(*cell)->item, part_value(part_of(*cell)));
	if (kind_of(*cell) == CELL_SAME) {
		s->holder = part_of(*cell)->item;
		s->stored = xstrdup(part_value(part_of(*cell)));
	} else {
		c->new_keys--;
	}
	*cell = make_cell(s, CELL_SLOT);
	return s;
}

/* ---- what the directory says ----------------------------------------------- */

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
	for (struct part *p = item_next(e, NULL); p != NULL && p->kind != PART_DOMAIN; p = item_next(e, p)) {
		struct slot *s = slot_for(c, p->text);

		remove_claim(s, e);
		if (is_gone && s->holder == e)
			s->holder = NULL;
		touch_slot(c, s);
	}
	item_clear(e);
}

bool content_put(struct content *c, unsigned rule, const struct sync_uuid *uuid, const char *dn, struct yield *yield)
{
	struct item *e = find_item(c, rule, uuid);
	bool is_new = e == NULL || e->is_gone;

	if (e == NULL)
		e = new_item(c, rule, uuid);
	if (!item_wants_domains(e, yield->domains)) {
		c->new_domains = is_new = true;
	} else if (!is_new && item_wants_records(e, yield)) {
		if (e->version != yield->version)
			touch_item(c, e, dn);
		e->version = yield->version;
		yield_free(yield);
		return false;
	}
	c->news = true;
	remove_claims(c, e, false);
	e->is_gone = false;
	item_pack(e, yield);
	yield_free(yield);
	for (struct part *p = item_next(e, NULL); p != NULL && p->kind != PART_DOMAIN; p = item_next(e, p)) {
		struct slot *s;

		if (p->kind == PART_RECORD && find_key(c, p->text) == NULL) {
			table_add(&c->keys, make_cell(p, CELL_NEW));
			c->new_keys++;
			continue;
		}
		s = slot_for(c, p->text);
		add_claim(s, e, part_value(p));
		touch_slot(c, s);
	}
	touch_item(c, e, dn);
	return true;
}

void content_keep(const struct content *c, unsigned rule, const struct sync_uuid *uuid, struct yield *yield)
{
	const struct item *e = find_item(c, rule, uuid);

	for (struct part *p = e != NULL && !e->is_gone ? item_next(e, NULL) : NULL; p != NULL; p = item_next(e, p)) {
		if (p->kind == PART_DOMAIN) {
			if (yield->lacks_domains)
				words_add(&yield->domains, p->text);
		} else if (yield->lacks_keys) {
			yield_add_unclear(yield, p->text);
		}
	}
}

struct yield content_yield(const struct content *c, unsigned rule, const struct sync_uuid *uuid)
{
	const struct item *e = find_item(c, rule, uuid);
	struct yield yield = { 0 };
	size_t capacity = 0;

	for (struct part *p = e != NULL && !e->is_gone ? item_next(e, NULL) : NULL; p != NULL; p = item_next(e, p)) {
		if (p->kind == PART_DOMAIN) {
			words_add(&yield.domains, p->text);
			continue;
		}
		yield.records = xgrow(yield.records, yield.count, &capacity, sizeof *yield.records);
		yield.records[yield.count++] = (struct wanted){ xstrdup(p->text),
		                                                part_value(p) != NULL ? xstrdup(part_value(p)) : NULL };
	}
	return yield;
}

bool content_is_same(const struct content *c, unsigned rule, const struct sync_uuid *uuid, const struct yield *yield)
{
	const struct item *e = find_item(c, rule, uuid);

	return e != NULL && !e->is_gone && item_wants_domains(e, yield->domains) && item_wants_records(e, yield);
}

static void drop(struct content *c, struct item *e)
{
	if (e->is_gone)
		return;
	c->new_domains = c->new_domains || item_has_domains(e);
	c->news = true;
	remove_claims(c, e, true);
	e->is_gone = true;
	touch_item(c, e, NULL);
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

	return e != NULL && !e->is_gone;
}

bool content_has_entries(const struct content *c)
{
	return c->items.count > 0;
}

void content_mark(struct content *c, unsigned rule, const struct sync_uuid *uuid, unsigned mark)
{
	struct item *e = find_item(c, rule, uuid);

	if (e != NULL)
		e->mark = mark;
}

bool content_is_marked(const struct content *c, unsigned rule, const struct sync_uuid *uuid, unsigned mark)
{
	const struct item *e = find_item(c, rule, uuid);

	return e != NULL && !e->is_gone && e->mark == mark;
}

bool content_version(const struct content *c, unsigned rule, const struct sync_uuid *uuid, uint64_t *version)
{
	const struct item *e = find_item(c, rule, uuid);

	if (e == NULL || e->is_gone)
		return false;
	*version = e->version;
	return true;
}

bool content_see(struct content *c, unsigned rule, const struct sync_uuid *uuid, unsigned round, uint64_t *version)
{
	struct item *e = find_item(c, rule, uuid);

	if (e == NULL || e->is_gone)
		return false;
	e->round = round;
	*version = e->version;
	return true;
}

static bool name_of(const struct content *c, const struct item *e, struct buf *name)
{
	if (e->touched != 0 && add_kept_name(&c->touched[e->touched - 1], name))
		return true;
	return c->names_of != NULL && c->names_of(c->names_context, e->rule, &e->uuid, name);
}

bool content_name(const struct content *c, unsigned rule, const struct sync_uuid *uuid, struct buf *name)
{
	const struct item *e = find_item(c, rule, uuid);

	return e != NULL && !e->is_gone && name_of(c, e, name);
}

void content_each_unseen(struct content *c, unsigned rule, unsigned round, content_unseen *each, void *context)
{
	for (size_t i = 0; i < c->items.size; i++) {
		const struct item *e = (const struct item *)c->items.cells[i];

		if (e != NULL && e->rule == rule && e->round != round && !e->is_gone)
			each(context, &e->uuid);
	}
}

void content_drop_unmarked(struct content *c, unsigned rule, unsigned mark)
{
	/* what is dropped stays in the table until it is settled */
	for (size_t i = 0; i < c->items.size; i++) {
		struct item *e = (struct item *)c->items.cells[i];

		if (e != NULL && e->rule == rule && e->mark != mark)
			drop(c, e);
	}
}

/* ---- what is in the map ----------------------------------------------------- */

void content_found(struct content *c, const char *key, size_t key_length, const char *value, size_t value_length)
{
	char *k = xstrndup(key, key_length), *v = xstrndup(value, value_length);
	uintptr_t *cell = find_key(c, k);

	if (cell != NULL && kind_of(*cell) == CELL_NEW && text_same(part_value(part_of(*cell)), v)) {
		*cell = make_cell(part_of(*cell), CELL_SAME);
		c->new_keys--;
		c->records++;
		free(v);
	} else {
		set_stored(c, slot_for(c, k), v);
	}
	free(k);
}

/* Most keys are wanted once and have what is wanted; only the others need a decision. */
static void compare_slot(struct content *c, struct slot *s)
{
	/* of several that want it, the one whose value is there has it */
	for (const struct claim *claim = s->claims; claim != NULL && s->holder == NULL; claim = claim->next)
		if (claim->value != NULL && text_same(claim->value, s->stored))
			s->holder = claim->entry;
	if (s->holder == NULL || s->claims->next != NULL)
		touch_slot(c, s);
}

static void forget_touched_items(struct content *c)
{
	for (size_t i = 0; i < c->touched_count; i++)
		c->touched[i].item->touched = 0;
	free(c->touched);
	c->touched = NULL;
	c->touched_count = c->touched_capacity = 0;
	pool_free(&c->names);
	c->last_parent = NULL;
}

void content_compare(struct content *c)
{
	forget_touched_items(c);
	for (struct slot *s = c->touched_slots; s != NULL; s = s->next_touched)
		s->touched = false;
	c->touched_slots = NULL;
	c->new_domains = false;
	for (size_t i = 0; i < c->keys.size; i++)
		if (c->keys.cells[i] != 0 && kind_of(c->keys.cells[i]) == CELL_SLOT)
			compare_slot(c, slot_of(c->keys.cells[i]));
	c->news = c->touched_slots != NULL || c->new_keys > 0;
}

void content_written(struct content *c)
{
	for (size_t i = 0; c->new_keys > 0 && i < c->keys.size; i++) {
		if (c->keys.cells[i] == 0 || kind_of(c->keys.cells[i]) != CELL_NEW)
			continue;
		c->keys.cells[i] = make_cell(part_of(c->keys.cells[i]), CELL_SAME);
		c->new_keys--;
		c->records++;
	}
	for (struct slot *s = c->touched_slots; s != NULL; s = s->next_touched)
		if (s->changes)
			set_stored(c, s, s->next != NULL ? xstrdup(s->next) : NULL);
}

void content_settled(struct content *c)
{
	content_written(c);
	c->news = c->new_domains = false;
	while (c->touched_slots != NULL) {
		struct slot *s = c->touched_slots;
		uintptr_t *cell;
		struct part *p = NULL;

		c->touched_slots = s->next_touched;
		s->touched = s->changes = false;
		free(s->next);
		s->next = NULL;
		/* a slot of which there is nothing to know any more than of most keys */
		cell = find_key(c, s->key);
		if (s->claims == NULL && s->stored == NULL) {
			table_remove(&c->keys, cell);
			free_slot(s);
		} else if (s->claims != NULL && s->claims->next == NULL && s->trouble == NO_TROUBLE &&
		           s->claims->value != NULL && text_same(s->claims->value, s->stored)) {
			do
				p = item_next(s->claims->entry, p);
			while (p != NULL && part_value(p) != s->claims->value);
			if (p != NULL) {
				*cell = make_cell(p, CELL_SAME);
				free_slot(s);
			}
		}
	}
	for (size_t i = 0; i < c->touched_count; i++) {
		struct item *e = c->touched[i].item;

		if (!e->is_gone)
			continue;
		table_remove(&c->items, table_find(&c->items, hash_of_item((uintptr_t)e), e));
		c->spare = xgrow(c->spare, c->spare_count, &c->spare_capacity, sizeof *c->spare);
		c->spare[c->spare_count++] = e;
	}
	forget_touched_items(c);
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
		if (claim->value != NULL && text_same(claim->value, s->stored))
			return claim;
	return NULL;
}

void content_changes(struct content *c, const struct template *unclear, content_change *each, void *context,
                     struct content_counts *counts)
{
	*counts = (struct content_counts){ .records = c->records, .added = c->new_keys };
	for (size_t i = 0; c->new_keys > 0 && i < c->keys.size; i++)
		if (c->keys.cells[i] != 0 && kind_of(c->keys.cells[i]) == CELL_NEW)
			each(context, key_of(c->keys.cells[i]), part_value(part_of(c->keys.cells[i])));
	for (struct slot *s = c->touched_slots; s != NULL; s = s->next_touched) {
		const struct claim *claim = choose(s);
		const enum trouble before = s->trouble;

		free(s->next);
		s->next = NULL;
		s->trouble = s->claims == NULL || (claim != NULL && all_agree(s)) ? NO_TROUBLE : claim != NULL ? CONFLICT
		             : UNCLEAR;
		if (claim != NULL) {
			s->holder = claim->entry;
			s->next = xstrdup(claim->value);
		} else if (s->claims != NULL) {
			const struct ldap_entry nothing = { 0 };
			struct results results = { 0 };
			const char *culprit;
			char *value = s->stored;

			/* the value of an unclear key */
			if (unclear != NULL &&
			    template_expand(unclear, &nothing, s->key, false, &results, &culprit) == TEMPLATE_DONE)
				value = results.list[0];
			value = xstrdup(value != NULL ? value : UNCLEAR_VALUE);
			results_free(&results);
			s->next = value;
		}
		/* an entry whose own value is unclear for a while does not lose the key */
		if (s->holder != NULL && claim_of(s, s->holder) == NULL)
			s->holder = NULL;
		s->changes = !text_same(s->next, s->stored);
		if (!s->changes) {
			free(s->next);
			s->next = NULL;
		}
		c->troubles += (s->trouble != NO_TROUBLE) - (before != NO_TROUBLE);
		if (!s->changes)
			continue;
		counts->added += s->stored == NULL;
		counts->hollow += s->stored == NULL && text_same(s->next, UNCLEAR_VALUE);
		counts->removed += s->next == NULL;
		counts->changed += s->stored != NULL && s->next != NULL;
		each(context, s->key, s->next);
	}
	counts->unclear = c->troubles;
}

void content_entries(struct content *c, content_entry *each, void *context)
{
	struct buf name = { 0 };

	for (size_t i = c->touched_count; i-- > 0;) {
		const struct item *e = c->touched[i].item;
		struct yield yield = item_unpack(e);

		buf_clear(&name);
		add_kept_name(&c->touched[i], &name);
		each(context, e->rule, &e->uuid, e->is_gone ? NULL : buf_str(&name), &yield);
		free(yield.records);
		free(yield.domains);
	}
	buf_free(&name);
}

void content_conflicts(struct content *c, content_report *each, void *context)
{
	for (struct slot *s = c->touched_slots; s != NULL; s = s->next_touched) {
		struct buf text = { 0 };

		/* one entry alone whose value cannot be used has been named when it came */
		if (s->trouble == NO_TROUBLE || s->told || s->claims->next == NULL)
			continue;
		s->told = true;
		buf_addf(&text, "%s: wanted by", s->key);
		for (const struct claim *claim = s->claims; claim != NULL; claim = claim->next) {
			buf_adds(&text, claim == s->claims ? " \"" : " and \"");
			name_of(c, claim->entry, &text);
			buf_addf(&text, "\" (%s)", claim->value != NULL ? claim->value : "no usable value");
		}
		if (s->trouble == CONFLICT) {
			buf_adds(&text, "; conflict, it stays with \"");
			name_of(c, s->holder, &text);
			buf_adds(&text, "\"");
		} else {
			buf_adds(&text, "; conflict");
		}
		if (s->trouble == UNCLEAR)
			buf_addf(&text, "; %s", text_same(s->next, UNCLEAR_VALUE) ||
			         (!s->changes && text_same(s->stored, UNCLEAR_VALUE)) ?
			         "lookups cannot tell" : s->changes ? "it gets the value for unclear keys" : "left as it was");
		each(context, buf_str(&text));
		buf_free(&text);
	}
}

/* ---- domains ------------------------------------------------------------------ */

bool content_has_new_domains(const struct content *c)
{
	return c->new_domains;
}

char **content_domains(struct content *c)
{
	struct results all = { 0 };
	size_t limit = DOMAINS_AT_ONCE;
	char **list;

	for (size_t i = 0; i < c->items.size; i++) {
		const struct item *e = (const struct item *)c->items.cells[i];

		for (struct part *p = e != NULL ? item_next(e, NULL) : NULL; p != NULL; p = item_next(e, p))
			if (p->kind == PART_DOMAIN)
				results_add(&all, p->text);
		/* most of them are the same: they are thrown together before they take much room */
		if (all.count >= limit) {
			results_settle(&all);
			limit = all.count + DOMAINS_AT_ONCE;
		}
	}
	results_settle(&all);
	list = xcalloc(all.count + 1, sizeof *list);
	for (size_t i = 0; i < all.count; i++)
		list[i] = xstrdup(all.list[i]);
	results_free(&all);
	return list;
}
