#include "db/store/change.h"

#include <stdlib.h>
#include <string.h>

#include "lib/alloc.h"

void changes_refer(struct changes *changes, const struct change *change)
{
	changes->list = xgrow(changes->list, changes->count, &changes->capacity, sizeof *changes->list);
	changes->list[changes->count++] = *change;
	changes->bytes += (size_t)change->key_length + change->value_length;
}

static void add(struct changes *changes, const char *key, size_t key_length, const char *value, size_t value_length)
{
	const struct change c = {
		.key = pool_copy(&changes->pool, key, key_length),
		.key_length = (uint32_t)key_length,
		.value = value != NULL ? pool_copy(&changes->pool, value, value_length) : NULL,
		.value_length = (uint32_t)value_length,
	};

	changes_refer(changes, &c);
}

void changes_put(struct changes *changes, const char *key, size_t key_length, const char *value, size_t value_length)
{
	add(changes, key, key_length, value, value_length);
}

void changes_remove(struct changes *changes, const char *key, size_t key_length)
{
	add(changes, key, key_length, NULL, 0);
}

int change_compare(const char *a, size_t a_length, const char *b, size_t b_length)
{
	int order = memcmp(a, b, a_length < b_length ? a_length : b_length);

	if (order != 0)
		return order;
	return a_length < b_length ? -1 : a_length > b_length;
}

/* The same key: in the order in which they came, which is that of the addresses in the list before it is sorted. */
static int compare_changes(const void *a, const void *b)
{
	const struct change *const *x = a, *const *y = b;
	int order = change_compare((*x)->key, (*x)->key_length, (*y)->key, (*y)->key_length);

	if (order != 0)
		return order;
	return *x < *y ? -1 : *x > *y;
}

void changes_settle(struct changes *changes)
{
	const struct change **order = xreallocarray(NULL, changes->count, sizeof *order);
	struct change *settled = xreallocarray(NULL, changes->count, sizeof *settled);
	size_t kept = 0;

	for (size_t i = 0; i < changes->count; i++)
		order[i] = &changes->list[i];
	qsort(order, changes->count, sizeof *order, compare_changes);
	for (size_t i = 0; i < changes->count; i++) {
		if (kept > 0 && change_compare(settled[kept - 1].key, settled[kept - 1].key_length, order[i]->key,
		                               order[i]->key_length) == 0)
			kept--;
		settled[kept++] = *order[i];
	}
	free(order);
	free(changes->list);
	changes->list = settled;
	changes->capacity = changes->count;
	changes->count = kept;
}

/* Faster than printf, and a base has a million of them. */
static void add_number(struct buf *out, uint32_t n)
{
	char digits[10];
	size_t i = sizeof digits;

	do {
		digits[--i] = (char)('0' + n % 10);
		n /= 10;
	} while (n > 0);
	buf_add(out, digits + i, sizeof digits - i);
}

void change_encode(struct buf *out, const struct change *change)
{
	buf_addc(out, change->value != NULL ? '+' : '-');
	add_number(out, change->key_length);
	buf_addc(out, ' ');
	if (change->value != NULL) {
		add_number(out, change->value_length);
		buf_addc(out, ' ');
	}
	buf_add(out, change->key, change->key_length);
	if (change->value != NULL) {
		buf_addc(out, ' ');
		buf_add(out, change->value, change->value_length);
	}
	buf_addc(out, '\n');
}

void changes_encode(const struct changes *changes, struct buf *out)
{
	for (size_t i = 0; i < changes->count; i++)
		change_encode(out, &changes->list[i]);
}

/* A number and the blank behind it. */
static bool take_number(const char **p, const char *end, uint32_t *number)
{
	uint64_t n = 0;
	const char *start = *p;

	while (*p < end && **p >= '0' && **p <= '9' && *p - start < 10)
		n = n * 10 + (uint64_t)(*(*p)++ - '0');
	if (*p == start || *p == end || *(*p)++ != ' ' || n > UINT32_MAX)
		return false;
	*number = (uint32_t)n;
	return true;
}

/* `n` bytes and the byte that must stand behind them. */
static bool take_bytes(const char **p, const char *end, const char **bytes, uint32_t n, char behind)
{
	if ((size_t)(end - *p) <= n || (*p)[n] != behind)
		return false;
	*bytes = *p;
	*p += n + (size_t)1;
	return true;
}

bool change_decode(const char **bytes, const char *end, struct change *change)
{
	const char *p = *bytes;
	bool puts, ok;

	if (p == end || (*p != '+' && *p != '-'))
		return false;
	puts = *p++ == '+';
	*change = (struct change){ 0 };
	ok = take_number(&p, end, &change->key_length) && (!puts || take_number(&p, end, &change->value_length)) &&
	     take_bytes(&p, end, &change->key, change->key_length, puts ? ' ' : '\n') &&
	     (!puts || take_bytes(&p, end, &change->value, change->value_length, '\n'));
	if (ok)
		*bytes = p;
	return ok;
}

bool changes_decode(struct changes *changes, const char *bytes, size_t n)
{
	const char *end = bytes + n;
	struct change c;

	while (bytes < end) {
		if (!change_decode(&bytes, end, &c))
			return false;
		add(changes, c.key, c.key_length, c.value, c.value_length);
	}
	return true;
}

void changes_clear(struct changes *changes)
{
	changes->count = 0;
	changes->bytes = 0;
	pool_reset(&changes->pool);
}

void changes_free(struct changes *changes)
{
	free(changes->list);
	pool_free(&changes->pool);
	*changes = (struct changes){ 0 };
}
