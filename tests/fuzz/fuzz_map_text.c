/*
 * Texts of maps: every record that comes out is whole, and faults are within the text.  The first byte chooses the
 * syntax, the rest is the text.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "db/build/text.h"
#include "db/grammar/value.h"

static const char *const relations[] = { "aliases", "fqdnaliases", "fqdnroutes", "routesdb", "thishost", "mboxmap", "", "" };

struct bounds {
	size_t lines;
	size_t length;
};

static void check_fault(void *context, const struct fault *fault)
{
	const struct bounds *bounds = context;

	if (fault->line > bounds->lines || fault->column > bounds->length + 1 || fault->text == NULL || fault->text[0] == '\0')
		abort();
}

static void check_records(const struct records *records, const struct bounds *bounds)
{
	for (size_t i = 0; i < records->count; i++) {
		const struct record *r = &records->list[i];

		if (strlen(r->key) != r->key_length || strlen(r->value) != r->value_length || r->key_length == 0 ||
		    r->line == 0 || r->line > bounds->lines || memchr(r->value, '\n', r->value_length) != NULL)
			abort();
	}
}

static void check_order(const struct records *records)
{
	for (size_t i = 1; i < records->count; i++) {
		const struct record *a = &records->list[i - 1], *b = &records->list[i];
		int order = strcmp(a->key, b->key);

		if (order > 0 || (order == 0 && a->line > b->line))
			abort();
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct records records = { 0 };
	struct bounds bounds = { 1, size };
	struct value_check check;
	struct text_reader reader = { .file = "f", .check = value_is_good, .check_context = &check, .report = check_fault,
	                              .report_context = &bounds };

	if (size == 0)
		return 0;
	reader.syntax.aliases = data[0] & 1;
	reader.syntax.folding = "lu--"[data[0] >> 1 & 3];
	value_check_for(&check, relations[data[0] >> 4 & 7], (data[0] & 8) != 0, true);
	for (size_t i = 1; i < size; i++)
		bounds.lines += data[i] == '\n';
	buf_add(&records.text, data + 1, size - 1);
	text_read(&reader, &records);
	check_records(&records, &bounds);
	records_sort(&records);
	check_order(&records);
	if (data[0] & 128)
		records_join(&records);
	else
		records_keep_first(&records);
	if (records_duplicate(&records, 0) < records.count)
		abort();
	records_free(&records);
	value_check_free(&check);
	return 0;
}
