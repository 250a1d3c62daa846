#include "db/store/bdb.h"

#include <string.h>

#include "lib/text.h"

DBTYPE bdb_type(const char *type)
{
	return ascii_equal(type, "bhash") ? DB_HASH : DB_BTREE;
}

/* Both are followed by a NUL, which is part of the record. */
static DBT stored(const char *bytes, size_t length)
{
	return (DBT){ .data = (void *)(uintptr_t)bytes, .size = (uint32_t)length + 1 };
}

int bdb_change(DB *db, DB_TXN *txn, const struct change *change)
{
	DBT key = stored(change->key, change->key_length), value = stored(change->value, change->value_length);
	int code;

	if (change->value != NULL)
		return db->put(db, txn, &key, &value, 0);
	code = db->del(db, txn, &key, 0);
	return code == DB_NOTFOUND ? 0 : code;
}

enum map_answer bdb_find(DB *db, const char *key, size_t length, struct buf *value, int *code)
{
	DBT k = stored(key, length), v = { 0 };

	*code = db->get(db, NULL, &k, &v, 0);
	if (*code == 0)
		buf_add(value, v.data, record_length(v.data, v.size));
	else if (*code == DB_NOTFOUND)
		return MAP_NOT_FOUND;
	return *code == 0 ? MAP_FOUND : MAP_COULD_NOT_TELL;
}

/* Puts the cursor on the first record behind `after`. */
static int start(DBC *cursor, DBTYPE type, const struct buf *after, DBT *key, DBT *value)
{
	int code;

	if (after == NULL)
		return cursor->get(cursor, key, value, DB_FIRST);
	*key = stored(after->data, after->len);
	code = cursor->get(cursor, key, value, type == DB_HASH ? DB_SET : DB_SET_RANGE);
	/* in a hash it is unknown what followed a key that has gone */
	if (code == DB_NOTFOUND && type == DB_HASH)
		return DB_KEYEMPTY;
	if (code == 0 && record_length(key->data, key->size) == after->len && memcmp(key->data, after->data, after->len) == 0)
		code = cursor->get(cursor, key, value, DB_NEXT);
	return code;
}

int bdb_walk_from(DB *db, const struct buf *after, struct buf *out)
{
	DBT key = { 0 }, value = { 0 };
	size_t before = out->len;
	DBTYPE type;
	DBC *cursor;
	int code = db->get_type(db, &type), closed;

	if (code == 0)
		code = db->cursor(db, NULL, &cursor, 0);
	if (code != 0)
		return code;
	code = start(cursor, type, after, &key, &value);
	while (code == 0) {
		struct change record = { key.data, value.data, (uint32_t)record_length(key.data, key.size),
		                         (uint32_t)record_length(value.data, value.size) };

		change_encode(out, &record);
		if (out->len - before >= STORE_PIECE)
			break;
		code = cursor->get(cursor, &key, &value, DB_NEXT);
	}
	closed = cursor->close(cursor);
	if (code == DB_NOTFOUND)
		code = 0;
	return code != 0 ? code : closed;
}
