#include "tests/unit/unit.h"

#include "db/build/text.h"
#include "lib/buf.h"

static struct buf told;

static void note(void *context, const struct fault *fault)
{
	(void)context;
	buf_addf(&told, "%s:%zu:%zu: %s%s\n", fault->file, fault->line, fault->column, fault->is_warning ? "warning: " : "",
	         fault->text);
}

/* What a text becomes: records as <key|value>line, one after the other. */
static char *parse(const char *text, size_t n, bool aliases, char folding, size_t *errors)
{
	struct records records = { 0 };
	struct text_reader reader = { .file = "f", .syntax = { aliases, folding }, .report = note };
	struct buf out = { 0 };

	buf_clear(&told);
	buf_add(&records.text, text, n);
	*errors = text_read(&reader, &records);
	for (size_t i = 0; i < records.count; i++) {
		const struct record *r = &records.list[i];

		assert_int_equal(strlen(r->key), r->key_length);
		assert_int_equal(strlen(r->value), r->value_length);
		buf_addf(&out, "<%s|%s>%zu", r->key, r->value, r->line);
	}
	records_free(&records);
	buf_addc(&out, '\0');
	return out.data;
}

struct row {
	const char *text;
	const char *records;
	const char *faults;
};

static void try_rows(const struct row *rows, size_t count, bool aliases, char folding)
{
	for (size_t i = 0; i < count; i++) {
		size_t errors;
		char *got = parse(rows[i].text, strlen(rows[i].text), aliases, folding, &errors);

		assert_string_equal(got, rows[i].records);
		assert_string_equal(buf_str(&told), rows[i].faults);
		free(got);
	}
}

#define ROWS(rows) rows, sizeof rows / sizeof rows[0]

static void plain_lines_follow_makedb(void **state)
{
	static const struct row rows[] = {
		{ "", "", "" },
		{ "key value\n", "<key|value>1", "" },
		{ " \tkey \t value two  \n", "<key|value two  >1", "" },
		{ "key\n", "<key|>1", "" },
		{ "key \n", "<key|>1", "" },
		{ "# c\n  # c\n\n \t\nkey #x\n", "<key|#x>5", "" },
		{ "\"q q\" v\n", "<\"q|q\" v>1", "" },
		{ "Key V\n", "<Key|V>1", "" },
		{ "a:b c\n", "<a:b|c>1", "" },
		{ ".:ERROR x\n", "<.:ERROR|x>1", "" },
		{ "a 1\na 2\n", "<a|1>1<a|2>2", "" },
		{ "k\xff \xfe\n", "<k\xff|\xfe>1", "" },
	};

	(void)state;
	try_rows(ROWS(rows), false, '-');
}

static void the_colon_trap_is_understood_and_told(void **state)
{
	static const struct row rows[] = {
		{ "user@domain:  smtp-lmtp!x!y\n", "<user@domain|smtp-lmtp!x!y>1",
		  "f:1:12: warning: the key ends in a colon, which is taken away; use -a or leave it out\n" },
		{ "@d.test: x\n", "<@d.test|x>1",
		  "f:1:8: warning: the key ends in a colon, which is taken away; use -a or leave it out\n" },
		{ "known.test: x\n", "<known.test|x>1",
		  "f:1:11: warning: the key ends in a colon, which is taken away; use -a or leave it out\n" },
		{ "user:mailname x\nname: x\n.: y\n", "<user:mailname|x>1<name:|x>2<.:|y>3", "" },
	};

	(void)state;
	try_rows(ROWS(rows), false, '-');
}

static void keys_are_folded_as_asked(void **state)
{
	static const struct row lower[] = { { "KeY\xC4 VaL\n", "<key\xC4|VaL>1", "" } };
	static const struct row upper[] = { { "KeY\xE4 VaL\n", "<KEY\xE4|VaL>1", "" } };
	static const struct row alias[] = { { "KeY: VaL\n", "<key|VaL>1", "" } };
	static const struct row alias_upper[] = { { "KeY: VaL\n", "<KEY|VaL>1", "" } };

	(void)state;
	try_rows(ROWS(lower), false, 'l');
	try_rows(ROWS(upper), false, 'u');
	try_rows(ROWS(alias), true, '-');
	try_rows(ROWS(alias), true, 'l');
	try_rows(ROWS(alias_upper), true, 'u');
}

static void aliases_follow_makedb(void **state)
{
	static const struct row rows[] = {
		{ "Key1: Value One  \n", "<key1|Value One  >1", "" },
		{ "\"Quo Ted\": v3\n", "<\"quo ted\"|v3>1", "" },
		{ "user@[1.2.3.4]: v5\n", "<user@[1.2.3.4]|v5>1", "" },
		{ "empty:\n", "<empty|>1", "" },
		{ "x:y:z\n", "<x|y:z>1", "" },
		{ "k\\:ey: x\n", "<k\\:ey|x>1", "" },
		{ "key  : x\n", "<key|x>1", "" },
		{ "\"a\\\"b\": x\n", "<\"a\\\"b\"|x>1", "" },
		{ "cont: a@b, \n\t c@d,\n e@f\n", "<cont|a@b,c@d,e@f>1", "" },
		{ "cont: a@b,\n   \n c@d\nn: x\n", "<cont|a@b,c@d>1<n|x>4", "" },
		{ "a: b,\n  #c\n", "<a|b,#c>1", "" },
		{ "#x\n\na: b\n#\n", "<a|b>3", "" },
		{ "a: b,\n", "<a|b,>1", "" },
	};

	(void)state;
	try_rows(ROWS(rows), true, '-');
}

static void what_is_wrong_is_told_with_its_place(void **state)
{
	static const struct row rows[] = {
		{ "nocolon\n", "", "f:1:8: expected ':' after the key\n" },
		{ "two words: x\n", "", "f:1:5: expected ':' after the key\n" },
		{ "\"open: x\n", "", "f:1:9: expected ':' after the key\n" },
		{ ": x\n", "", "f:1:1: expected a key in front of ':'\n" },
		{ "a: b\n c\n", "<a|b>1", "f:2:1: expected a key in column 1: the line before does not end in a comma\n" },
		{ "a:\n c\n", "<a|>1", "f:2:1: expected a key in column 1: the line before does not end in a comma\n" },
		{ "a: b,\n\n c\n", "<a|b,>1",
		  "f:3:1: expected a key in column 1: there is no record that this line could continue\n" },
		{ "a: b,\n# x\n c\n", "<a|b,>1",
		  "f:3:1: expected a key in column 1: there is no record that this line could continue\n" },
		{ "a: b\r\n", "", "f:1:5: CR at the end of the line would become part of the record\n" },
		{ "a: b", "<a|b>1", "f:1:5: warning: no newline at the end of the file; is it complete?\n" },
	};

	(void)state;
	try_rows(ROWS(rows), true, '-');
}

static void what_cannot_be_seen_gives_a_warning(void **state)
{
#define MEANT ", which looks like a blank or like nothing; is it meant?\n"
	static const struct row rows[] = {
		{ "a\xc2\xa0" "b c\n", "<a\xc2\xa0" "b|c>1", "f:1:0: warning: the key holds U+00A0" MEANT },
		{ "a  b\xe2\x80\x8b\n", "<a|b\xe2\x80\x8b>1", "f:1:5: warning: the value holds U+200B" MEANT },
		{ "a b\na\xe3\x80\x80 \xef\xbb\xbf" "b\n", "<a|b>1<a\xe3\x80\x80|\xef\xbb\xbf" "b>2",
		  "f:2:0: warning: the key holds U+3000" MEANT "f:2:6: warning: the value holds U+FEFF" MEANT },
		{ "\xc3\xa4 \xe2\x80\x8c\xe2\x82\xac\n", "<\xc3\xa4|\xe2\x80\x8c\xe2\x82\xac>1", "" },
		/* what is no UTF-8 has no name */
		{ "a \xa0\n", "<a|\xa0>1", "" },
	};

	(void)state;
	try_rows(ROWS(rows), false, '-');
}

static void nul_bytes_are_errors(void **state)
{
	size_t errors;
	char *got = parse("a b\0c\nd e\n", 10, false, '-', &errors);

	(void)state;
	assert_string_equal(got, "<d|e>2");
	assert_string_equal(buf_str(&told), "f:1:4: NUL byte; the rest of the line would be lost\n");
	assert_int_equal(errors, 1);
	free(got);
}

static bool no_x(void *context, const struct record *record, size_t *offset, const char **why, bool *is_warning)
{
	const char *x = strchr(record->value, 'x');

	(void)context;
	(void)is_warning;
	*why = "an x";
	*offset = x != NULL ? (size_t)(x - record->value) : 0;
	return x == NULL;
}

static void faults_in_values_point_into_the_text(void **state)
{
	static const struct { const char *text; bool aliases; const char *fault; } rows[] = {
		{ "k  ax\n", false, "f:1:5: an x\n" },
		{ "k: a,\n   b,\n\tcx\n", true, "f:3:3: an x\n" },
		{ "k: ax,\n   b,\n\tc\n", true, "f:1:5: an x\n" },
		{ "k: a, \n   bx,\n\tc\n", true, "f:2:5: an x\n" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		struct records records = { 0 };
		struct text_reader reader = { .file = "f", .syntax = { rows[i].aliases, '-' }, .report = note, .check = no_x };

		buf_clear(&told);
		buf_adds(&records.text, rows[i].text);
		assert_int_equal(text_read(&reader, &records), 1);
		assert_string_equal(buf_str(&told), rows[i].fault);
		records_free(&records);
	}
}

static int forget(void **state)
{
	(void)state;
	buf_free(&told);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(plain_lines_follow_makedb),
		cmocka_unit_test(the_colon_trap_is_understood_and_told),
		cmocka_unit_test(keys_are_folded_as_asked),
		cmocka_unit_test(aliases_follow_makedb),
		cmocka_unit_test(what_is_wrong_is_told_with_its_place),
		cmocka_unit_test(what_cannot_be_seen_gives_a_warning),
		cmocka_unit_test(nul_bytes_are_errors),
		cmocka_unit_test(faults_in_values_point_into_the_text),
	};

	return cmocka_run_group_tests(tests, NULL, forget);
}
