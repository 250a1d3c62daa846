#include "db/sync/item.h"

#include <stdlib.h>
#include <string.h>

#include "lib/alloc.h"
#include "lib/text.h"

#define PART_ALIGN 8

const char *part_value(const struct part *p)
{
	return p->kind == PART_RECORD ? p->text + p->key_length + 1 : NULL;
}

static size_t part_size(size_t key_length, const char *value)
{
	const size_t n = sizeof(struct part) + key_length + 1 + (value != NULL ? strlen(value) + 1 : 0);

	return (n + PART_ALIGN - 1) / PART_ALIGN * PART_ALIGN;
}

struct part *item_next(const struct item *e, struct part *p)
{
	char *at = p == NULL ? (char *)e->parts : (char *)p + p->size;

	return e->parts != NULL && at < (char *)e->parts + e->size ? (struct part *)(void *)at : NULL;
}

static char *add_part(struct item *e, char *at, enum part_kind kind, const char *key, const char *value)
{
	struct part *p = (struct part *)(void *)at;
	const size_t n = strlen(key);

	*p = (struct part){ .item = e, .size = (uint32_t)part_size(n, value), .key_length = (unsigned)n & 0x3fffffff,
	                    .kind = kind };
	memcpy(p->text, key, n + 1);
	if (value != NULL)
		memcpy(p->text + n + 1, value, strlen(value) + 1);
	return at + p->size;
}

void item_clear(struct item *e)
{
	free(e->parts);
	e->parts = NULL;
	e->size = 0;
}

void item_pack(struct item *e, const struct yield *yield)
{
	size_t size = 0;
	char *at;

	for (size_t i = 0; i < yield->count; i++)
		size += part_size(strlen(yield->records[i].key), yield->records[i].value);
	for (size_t i = 0; yield->domains != NULL && yield->domains[i] != NULL; i++)
		size += part_size(strlen(yield->domains[i]), NULL);
	e->version = yield->version;
	e->size = (uint32_t)size;
	e->parts = size > 0 ? xmalloc(size) : NULL;
	at = (char *)e->parts;
	for (size_t i = 0; i < yield->count; i++) {
		const struct wanted *w = &yield->records[i];

		at = add_part(e, at, w->value != NULL ? PART_RECORD : PART_UNCLEAR, w->key, w->value);
	}
	for (size_t i = 0; yield->domains != NULL && yield->domains[i] != NULL; i++)
		at = add_part(e, at, PART_DOMAIN, yield->domains[i], NULL);
}

struct yield item_unpack(const struct item *e)
{
	struct yield yield = { .version = e->version };
	size_t domains = 0, all = 0;

	for (struct part *p = item_next(e, NULL); p != NULL; p = item_next(e, p))
		all++;
	yield.records = xcalloc(all + 1, sizeof *yield.records);
	yield.domains = xcalloc(all + 1, sizeof *yield.domains);
	for (struct part *p = item_next(e, NULL); p != NULL; p = item_next(e, p)) {
		if (p->kind == PART_DOMAIN)
			yield.domains[domains++] = p->text;
		else
			yield.records[yield.count++] = (struct wanted){ p->text, p->kind == PART_RECORD ? p->text + p->key_length + 1 : NULL };
	}
	return yield;
}

bool item_wants_domains(const struct item *e, char *const *domains)
{
	size_t i = 0;

	for (struct part *p = item_next(e, NULL); p != NULL; p = item_next(e, p)) {
		if (p->kind != PART_DOMAIN)
			continue;
		if (domains == NULL || domains[i] == NULL || strcmp(domains[i], p->text) != 0)
			return false;
		i++;
	}
	return domains == NULL || domains[i] == NULL;
}

bool item_wants_records(const struct item *e, const struct yield *yield)
{
	size_t i = 0;

	for (struct part *p = item_next(e, NULL); p != NULL && p->kind != PART_DOMAIN; p = item_next(e, p), i++)
		if (i == yield->count || strcmp(p->text, yield->records[i].key) != 0 ||
		    !text_same(part_value(p), yield->records[i].value))
			return false;
	return i == yield->count;
}

bool item_has_domains(const struct item *e)
{
	for (struct part *p = item_next(e, NULL); p != NULL; p = item_next(e, p))
		if (p->kind == PART_DOMAIN)
			return true;
	return false;
}
