/*
 * Any records of a map as dblookup --dump prints them: the text makes the same map again, by newdb with the options that
 * its first line names, or by dbupdate apply; or nothing is printed and one line says which record no text can hold.
 *
 * Input: records, each the length of its key (a byte), that of its value (a byte), key, value.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>

#include "db/build/dump.h"
#include "db/build/text.h"
#include "tests/fuzz/same_records.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static enum map_answer walk(struct map *map, record_each *each, void *context)
{
	const struct records *records = map->state;

	for (size_t i = 0; i < records->count; i++) {
		const struct record *r = &records->list[i];

		if (!each(context, r->key, r->key_length, r->value, r->value_length))
			break;
	}
	return MAP_FOUND;
}

static const struct map_operations operations = { .type = "memory", .suffix = "", .walk = walk };

static void take_records(struct records *records, const uint8_t *data, size_t size)
{
	while (size >= 2 && size - 2 >= (size_t)data[0] + data[1]) {
		const char *key = (const char *)data + 2;
		size_t n = data[0], value_length = data[1];

		/* a walk gives no notes, and no value beyond a NUL */
		if (!record_is_note(key, n))
			records_copy(records, key, n, key + n, strnlen(key + n, value_length), 0);
		data += 2 + n + value_length;
		size -= 2 + n + value_length;
	}
	records_sort(records);
	records_keep_first(records);
}

static void fail_at_fault(void *context, const struct fault *fault)
{
	(void)context;
	if (!fault->is_warning)
		abort();
}

/* Values that makedb joined, by a comma, a newline and a tab, are joined in one line now, without the empty ones. */
static void join_anew(struct record *r)
{
	char *value = (char *)(uintptr_t)r->value, *end = value + r->value_length, *out = value, *joint;

	for (char *part = value; part != NULL; part = joint != NULL ? joint + 3 : NULL) {
		joint = memmem(part, (size_t)(end - part), ",\n\t", 3);
		size_t n = (size_t)((joint != NULL ? joint : end) - part);

		if (out > value && n > 0) {
			memcpy(out, ", ", 2);
			out += 2;
		}
		memmove(out, part, n);
		out += n;
	}
	r->value_length = (uint32_t)(out - value);
}

/* A key whose quotes are not needed comes back without them; the caller frees both. */
static void expect(struct records *records, struct records *expected)
{
	for (size_t i = 0; i < records->count; i++) {
		const struct record *r = &records->list[i];

		records_copy(expected, r->key, r->key_length, r->value, r->value_length, 0);
	}
	for (size_t i = 0; i < expected->count; i++) {
		struct record *r = &expected->list[i];

		r->key_length = (uint32_t)text_unquote((char *)(uintptr_t)r->key, r->key_length);
		join_anew(r);
	}
	records_sort(expected);
}

static void read_as_newdb(struct records *records, const char *text, size_t size)
{
	struct text_reader reader = { .file = "f", .syntax.folding = '-', .report = fail_at_fault };
	const char *lf = memchr(text, '\n', size), *options = lf != NULL ? strstr(text, "; newdb") : NULL;
	struct records again = { 0 }, expected = { 0 };

	if (text[0] != '#' || options == NULL || options > lf)
		abort();
	reader.syntax.aliases = strncmp(options + 7, " -a", 3) == 0;
	if (strncmp(options + 7, " -au", 4) == 0)
		reader.syntax.folding = 'u';
	expect(records, &expected);
	if (records_duplicate(&expected, 0) == expected.count) {
		buf_add(&again.text, text, size);
		if (text_read(&reader, &again) != 0)
			abort();
		records_sort(&again);
		if (memmem(options, (size_t)(lf - options), " -A", 3) != NULL)
			records_join(&again);
		must_be_same(&expected, &again);
	}
	records_free(&again);
	records_free(&expected);
}

static void read_as_apply(const struct records *records, const char *text, size_t size)
{
	const char *end = text + size;

	for (size_t i = 0; i < records->count; i++) {
		const struct record *r = &records->list[i];
		const char *lf = memchr(text, '\n', (size_t)(end - text));
		const char *tab = lf != NULL ? memchr(text, '\t', (size_t)(lf - text)) : NULL;

		if (tab == NULL || text[0] != '+' || lf[-1] == '\r' || memchr(text, '\0', (size_t)(lf - text)) != NULL)
			abort();
		if ((size_t)(tab - text) != r->key_length + (size_t)1 || memcmp(text + 1, r->key, r->key_length) != 0 ||
		    (size_t)(lf - tab) != r->value_length + (size_t)1 || memcmp(tab + 1, r->value, r->value_length) != 0)
			abort();
		text = lf + 1;
	}
	if (text != end)
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct records records = { 0 };
	struct map map = { .operations = &operations, .path = (char *)(uintptr_t)"m.db", .is_open = true, .state = &records };
	struct buf why = { 0 };
	char *text = NULL;
	size_t length = 0;
	FILE *out = open_memstream(&text, &length);
	int status;

	take_records(&records, data, size);
	status = dump_map(&map, false, out, &why);
	fclose(out);
	if (status != EX_OK && (status != EX_DATAERR || length > 0 || why.len == 0 || strchr(why.data, '\n') != NULL))
		abort();
	if (status == EX_OK && text[0] == '+')
		read_as_apply(&records, text, length);
	else if (status == EX_OK)
		read_as_newdb(&records, text, length);
	records_free(&records);
	buf_free(&map.error);
	buf_free(&why);
	free(text);
	return 0;
}
