#include "db/store/records.h"

#include <endian.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "lib/alloc.h"

/* Fewer records with one beginning are sorted by comparing; a counting pass would cost more. */
#define FEW 48

#define AHEAD 8

/* Behind so many common bytes comparing does it too, so that recursion has an end. */
#define DEEP 32768

void records_add(struct records *records, const struct record *record)
{
	records->list = xgrow(records->list, records->count, &records->capacity, sizeof *records->list);
	records->list[records->count++] = *record;
}

void records_copy(struct records *records, const char *key, size_t key_length, const char *value, size_t value_length,
                  size_t line)
{
	char *text = pool_bytes(&records->pool, key_length + value_length + 2);

	memcpy(text, key, key_length);
	memcpy(text + key_length + 1, value, value_length);
	records_add(records, &(struct record){ .key = text, .key_length = (uint32_t)key_length, .value = text + key_length + 1,
	                                       .value_length = (uint32_t)value_length, .line = line });
}

/* ---- sorting --------------------------------------------------------------- */

/* Eight bytes of the key as a number, so that most comparisons need not look at the key. */
struct item {
	uint64_t part;
	const struct record *record;
};

static uint64_t part_at(const struct record *r, size_t depth)
{
	const unsigned char *p = (const unsigned char *)r->key + depth;
	size_t left = r->key_length > depth ? r->key_length - depth : 0;
	uint64_t part = 0;

	if (left >= sizeof part) {
		memcpy(&part, p, sizeof part);
		return be64toh(part);
	}
	for (size_t i = 0; i < left; i++)
		part |= (uint64_t)p[i] << (56 - 8 * i);
	return part;
}

static int compare_from(const struct record *a, const struct record *b, size_t depth)
{
	size_t n = (a->key_length < b->key_length ? a->key_length : b->key_length) + 1;

	return n > depth ? memcmp(a->key + depth, b->key + depth, n - depth) : 0;
}

static void insert_sort(struct item *items, size_t n, size_t depth)
{
	for (size_t i = 1; i < n; i++) {
		struct item item = items[i];
		size_t k = i;

		while (k > 0 && (items[k - 1].part > item.part || (items[k - 1].part == item.part &&
		                 compare_from(items[k - 1].record, item.record, depth + 8) > 0))) {
			items[k] = items[k - 1];
			k--;
		}
		items[k] = item;
	}
}

/* One stable pass over byte `shift`/8 of the parts; `count` says how often each value of it occurs. */
static void pass(const struct item *from, struct item *to, size_t n, unsigned shift, size_t count[256])
{
	size_t start[256], sum = 0;

	for (int i = 0; i < 256; i++) {
		start[i] = sum;
		sum += count[i];
	}
	for (size_t i = 0; i < n; i++)
		to[start[from[i].part >> shift & 255]++] = from[i];
}

/* Sorts by the parts, least significant byte first; bytes that are the same everywhere need no pass. */
static void sort_parts(struct item *items, struct item *spare, size_t n)
{
	static size_t counts[8][256];
	struct item *from = items, *to = spare;

	memset(counts, 0, sizeof counts);
	for (size_t i = 0; i < n; i++)
		for (unsigned byte = 0; byte < 8; byte++)
			counts[byte][items[i].part >> 8 * byte & 255]++;
	for (unsigned byte = 0; byte < 8; byte++) {
		struct item *other = from;

		if (counts[byte][items[0].part >> 8 * byte & 255] == n)
			continue;
		pass(from, to, n, 8 * byte, counts[byte]);
		from = to;
		to = other;
	}
	if (from != items)
		memcpy(items, from, n * sizeof *items);
}

static int compare_items(const void *a, const void *b)
{
	const struct record *x = ((const struct item *)a)->record, *y = ((const struct item *)b)->record;
	int difference = compare_from(x, y, 0);

	return difference != 0 ? difference : (x > y) - (x < y);
}

/* Sorts items whose keys are the same before `depth`. */
static void sort_items(struct item *items, struct item *spare, size_t n, size_t depth)
{
	if (depth > DEEP) {
		qsort(items, n, sizeof *items, compare_items);
		return;
	}
	for (size_t i = 0; i < n; i++) {
		/* deeper down the records of a group lie all over the memory */
		if (depth > 0 && i + AHEAD < n)
			__builtin_prefetch(items[i + AHEAD].record->key + depth);
		items[i].part = part_at(items[i].record, depth);
	}
	if (n < FEW) {
		insert_sort(items, n, depth);
		return;
	}
	sort_parts(items, spare, n);
	for (size_t i = 0, k; i < n; i = k) {
		for (k = i + 1; k < n && items[k].part == items[i].part; k++)
			;
		/* a part that ends in NUL is the end of the key: these are all equal */
		if (k - i > 1 && (items[i].part & 255) != 0)
			sort_items(items + i, spare, k - i, depth + 8);
	}
}

/*
 * Gives each record the bytes from `at` on of the one that belongs in its place, as many as the second array of the sort can
 * hold of each: a second list would be the largest thing in the memory, and to go from place to place waits for each of them.
 */
static void move_parts(struct records *records, const struct item *items, struct item *spare, size_t at)
{
	const size_t left = sizeof *records->list - at, length = left < sizeof *spare ? left : sizeof *spare;

	for (size_t i = 0; i < records->count; i++)
		memcpy(&spare[i], (const char *)items[i].record + at, length);
	for (size_t i = 0; i < records->count; i++)
		memcpy((char *)&records->list[i] + at, &spare[i], length);
}

void records_sort(struct records *records)
{
	struct item *items, *spare;
	size_t sorted = 1;

	while (sorted < records->count && compare_from(&records->list[sorted - 1], &records->list[sorted], 0) <= 0)
		sorted++;
	if (sorted >= records->count)
		return;
	items = xreallocarray(NULL, records->count, sizeof *items);
	spare = xreallocarray(NULL, records->count, sizeof *spare);
	for (size_t i = 0; i < records->count; i++)
		items[i].record = &records->list[i];
	sort_items(items, spare, records->count, 0);
	for (size_t at = 0; at < sizeof *records->list; at += sizeof *spare)
		move_parts(records, items, spare, at);
	free(spare);
	free(items);
}

/* ---- duplicates --------------------------------------------------------------- */

bool records_same_key(const struct record *a, const struct record *b)
{
	return a->key_length == b->key_length && memcmp(a->key, b->key, a->key_length) == 0;
}

size_t records_duplicate(const struct records *records, size_t from)
{
	for (size_t i = from > 0 ? from : 1; i < records->count; i++)
		if (records_same_key(&records->list[i - 1], &records->list[i]))
			return i;
	return records->count;
}

void records_keep_first(struct records *records)
{
	size_t kept = 0;

	for (size_t i = 0; i < records->count; i++)
		if (kept == 0 || !records_same_key(&records->list[kept - 1], &records->list[i]))
			records->list[kept++] = records->list[i];
	records->count = kept;
}

void records_join(struct records *records)
{
	struct buf value = { 0 };
	size_t kept = 0;

	for (size_t i = 0, k; i < records->count; i = k) {
		struct record *r = &records->list[kept];

		*r = records->list[i];
		kept++;
		buf_clear(&value);
		buf_add(&value, r->value, r->value_length);
		for (k = i + 1; k < records->count && records_same_key(r, &records->list[k]); k++) {
			/*
			 * not by makedb's comma, newline and tab: ZMailer's router reads nothing of a line that ends in a comma
			 */
			if (value.len > 0 && records->list[k].value_length > 0)
				buf_adds(&value, ", ");
			buf_add(&value, records->list[k].value, records->list[k].value_length);
		}
		if (k - i > 1) {
			r->value = pool_copy(&records->pool, value.data, value.len);
			r->value_length = (uint32_t)value.len;
		}
	}
	records->count = kept;
	buf_free(&value);
}

void records_free(struct records *records)
{
	free(records->list);
	buf_free(&records->text);
	pool_free(&records->pool);
	*records = (struct records){ 0 };
}
