#include <stdlib.h>
#include <string.h>

#include "db/store/bdb.h"
#include "lib/alloc.h"

#define BULK (256 * 1024)

/* Records as libdb hands them over, many at a time. */
struct bdb_bulk {
	struct bdb_bulk *next;
	size_t size;
	char *bytes;
};

/* Calls `each` for the records of one bulk; *more becomes false if it wants no more. */
static void each_of(const struct bdb_bulk *bulk, record_each *each, void *context, bool *more)
{
	DBT data = { .data = bulk->bytes, .ulen = (uint32_t)bulk->size };
	void *place, *key, *value;
	uint32_t key_size, value_size;

	DB_MULTIPLE_INIT(place, &data);
	while (*more) {
		DB_MULTIPLE_KEY_NEXT(place, &data, key, key_size, value, value_size);
		if (place == NULL)
			break;
		if (!record_is_note(key, key_size))
			*more = each(context, key, record_length(key, key_size), value, strnlen(value, value_size));
	}
}

void bdb_free_bulks(struct bdb_bulk *bulk)
{
	while (bulk != NULL) {
		struct bdb_bulk *next = bulk->next;

		free(bulk->bytes);
		free(bulk);
		bulk = next;
	}
}

/* The next records behind the cursor; a bulk grows until it holds the largest of them. */
static int get_bulk(DBC *cursor, struct bdb_bulk *bulk)
{
	int code;

	do {
		DBT k = { 0 }, v = { .flags = DB_DBT_USERMEM, .ulen = (uint32_t)bulk->size, .data = bulk->bytes };

		code = cursor->get(cursor, &k, &v, DB_NEXT | DB_MULTIPLE_KEY);
		if (code == DB_BUFFER_SMALL) {
			bulk->size = bulk->size < v.size ? ((size_t)v.size + 1023) / 1024 * 1024 : bulk->size * 2;
			bulk->bytes = xrealloc(bulk->bytes, bulk->size);
		}
	} while (code == DB_BUFFER_SMALL);
	return code;
}

static struct bdb_bulk *new_bulk(void)
{
	struct bdb_bulk *bulk = xcalloc(1, sizeof *bulk);

	bulk->size = BULK;
	bulk->bytes = xmalloc(bulk->size);
	return bulk;
}

int bdb_walk(DBC *cursor, record_each *each, void *context)
{
	struct bdb_bulk *bulk = new_bulk();
	bool more = true;
	int code = 0;

	while (more && (code = get_bulk(cursor, bulk)) == 0)
		each_of(bulk, each, context, &more);
	bdb_free_bulks(bulk);
	return code;
}

int bdb_fetch_all(DBC *cursor, struct bdb_bulk **all)
{
	struct bdb_bulk **end = all;
	int code;

	do {
		*end = new_bulk();
		code = get_bulk(cursor, *end);
		if (code == 0)
			end = &(*end)->next;
	} while (code == 0);
	bdb_free_bulks(*end);
	*end = NULL;
	return code;
}

void bdb_each_of(const struct bdb_bulk *all, record_each *each, void *context)
{
	bool more = true;

	for (; all != NULL && more; all = all->next)
		each_of(all, each, context, &more);
}
