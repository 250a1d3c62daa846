#include "db/sync/rows.h"

#include <string.h>

#include "db/build/text.h"
#include "db/sql/query.h"
#include "db/sync/usable.h"
#include "lib/text.h"

/* So many lines about unusable rows are enough. */
#define COMPLAINTS 20

#define LONGEST_VALUE ((size_t)512 * 1024)

void rows_restart(struct rows *r)
{
	records_free(&r->records);
	buf_clear(&r->complaints);
	r->unusable = r->warned = 0;
	r->fault = NULL;
}

static void complain_of(struct rows *r, const char *key, size_t n, const char *what)
{
	if (++r->unusable > COMPLAINTS)
		return;
	text_add_clean(&r->complaints, key, n, 300);
	buf_addf(&r->complaints, ": %s\n", what);
}

/* Why the value cannot be used; NULL with the value in r->scratch. */
static const char *make_value(struct rows *r, const char *key, size_t n, const char *value, size_t length, const char **warning)
{
	if (value == NULL)
		return "the value is NULL";
	text_strip(&value, &length);
	if (length == 0)
		return "the value is empty";
	if (length > LONGEST_VALUE)
		return "the value is longer than 512 KiB";
	if (text_has_controls(value, length))
		return "a control byte in the value";
	buf_clear(&r->scratch);
	if (!sql_format_value(r->format, key, n, value, length, &r->scratch))
		return "the value, or the key, has no part before or after an @ as result_format asks for";
	return usable_value_fault(r->check,
	                          &(struct record){ .key = key, .key_length = (uint32_t)n, .value = buf_str(&r->scratch),
	                                                      .value_length = (uint32_t)r->scratch.len }, warning);
}

bool rows_add(void *context, unsigned columns, const char *const *values, const size_t *lengths)
{
	struct rows *r = context;
	char key[4096];
	const char *bytes = columns == 2 ? values[0] : NULL, *fault, *warning = NULL;
	size_t n = bytes != NULL ? lengths[0] : 0;

	if (columns != 2) {
		r->fault = columns < 2 ? "the query gives one column; expected key and value"
		                       : "the query gives more columns than key and value";
		return false;
	}
	if (bytes == NULL) {
		complain_of(r, "", 0, "the key is NULL");
		return true;
	}
	/* a column of type CHAR(n) fills up with blanks, which are in no key */
	text_strip(&bytes, &n);
	if (n >= sizeof key) {
		complain_of(r, bytes, n, "the key is too long");
		return true;
	}
	memcpy(key, bytes, n);
	key[n] = '\0';
	n = text_unquote(key, n);
	key[n] = '\0';
	text_fold(key, n, r->folding);
	fault = livemap_key_fault(r->livemap, key, n);
	if (fault != NULL) {
		complain_of(r, key, n, fault);
		return true;
	}
	fault = make_value(r, key, n, values[1], lengths[1], &warning);
	if (fault != NULL)
		complain_of(r, key, n, fault);
	records_copy(&r->records, key, n, fault == NULL ? buf_str(&r->scratch) : "", fault == NULL ? r->scratch.len : 0, 0);
	if (fault != NULL)
		r->records.list[r->records.count - 1].value = NULL;
	if (warning != NULL && ++r->warned <= COMPLAINTS) {
		text_add_clean(&r->complaints, key, n, 300);
		buf_addf(&r->complaints, ": warning: %s\n", warning);
	}
	return true;
}

static bool same_value(const struct record *a, const struct record *b)
{
	return a->value != NULL && b->value != NULL && a->value_length == b->value_length
		&& memcmp(a->value, b->value, a->value_length) == 0;
}

void rows_settle(struct rows *r)
{
	struct records *all = &r->records;
	size_t kept = 0;

	records_sort(all);
	for (size_t i = 0, k; i < all->count; i = k) {
		struct record record = all->list[i];
		bool is_conflict = false;

		for (k = i + 1; k < all->count && records_same_key(&record, &all->list[k]); k++)
			is_conflict = is_conflict || !same_value(&all->list[i], &all->list[k]);
		if (is_conflict) {
			complain_of(r, record.key, record.key_length,
			            "several rows with different values; as it was, or, if it is new, lookups cannot tell");
			record.value = NULL;
		}
		all->list[kept++] = record;
	}
	all->count = kept;
	if (r->unusable > COMPLAINTS)
		buf_addf(&r->complaints, "and %zu more\n", r->unusable - COMPLAINTS);
	if (r->warned > COMPLAINTS)
		buf_addf(&r->complaints, "and %zu more warnings\n", r->warned - COMPLAINTS);
}

void rows_free(struct rows *r)
{
	rows_restart(r);
	buf_free(&r->scratch);
	buf_free(&r->complaints);
}
