#include "tests/unit/unit.h"

#include <sysexits.h>

#include "lib/buf.h"
#include "lib/settings.h"

/* "a" and "alpha" are one setting. */
static const char *name_of(const char *word)
{
	static const char *const names[][2] = { { "a", "a" }, { "alpha", "a" }, { "b", "b" }, { "c-2", "c" } };

	for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
		if (strcmp(names[i][0], word) == 0)
			return names[i][1];
	return NULL;
}

static int parse(struct settings *s, const char *text, struct buf *why)
{
	*s = (struct settings){ 0 };
	return settings_parse(s, "F", text, strlen(text), name_of, why);
}

static void lines_of_both_manners_are_read(void **state)
{
	static const struct { const char *text, *name, *value; size_t line; } rows[] = {
		{ "a x", "a", "x", 1 }, { "a = x\n", "a", "x", 1 }, { "a=x", "a", "x", 1 }, { "a\t=\tx y \t\n", "a", "x y", 1 },
		{ "alpha x", "a", "x", 1 }, { "ALPHA x", "a", "x", 1 }, { "  a x", "a", "x", 1 }, { "\ta x", "a", "x", 1 },
		{ "# a y\n\n  # z\na x", "a", "x", 4 }, { "a", "a", "", 1 }, { "a =", "a", "", 1 }, { "a == x", "a", "= x", 1 },
		{ "a #x", "a", "#x", 1 }, { "a x\r\n", "a", "x", 1 }, { "c-2 x", "c", "x", 1 },
	};

	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		struct settings s;
		struct buf why = { 0 };

		assert_int_equal(parse(&s, rows[i].text, &why), EX_OK);
		assert_int_equal(s.count, 1);
		assert_string_equal(s.list[0].name, rows[i].name);
		assert_string_equal(s.list[0].value, rows[i].value);
		assert_int_equal(s.list[0].line, rows[i].line);
		settings_free(&s);
		buf_free(&why);
	}
}

static void indented_lines_go_on_or_begin_anew(void **state)
{
	static const struct { const char *text; size_t count; const char *first; } rows[] = {
		{ "a ldap://x\n  ldap://y\n", 1, "ldap://x ldap://y" }, { "a (&(x)\n\t(y))", 1, "(&(x) (y))" },
		{ "a x,\n  b\n", 1, "x, b" }, { "a x,\n  b y\n", 1, "x, b y" }, { "a x\n  b y\n", 2, "x" }, { "a x\n  b=y\n", 2, "x" },
		{ "a\n  (y)\n", 1, "(y)" }, { "a x\n# between\n  (y)\n", 1, "x (y)" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		struct settings s;
		struct buf why = { 0 };

		assert_int_equal(parse(&s, rows[i].text, &why), EX_OK);
		assert_int_equal(s.count, rows[i].count);
		assert_string_equal(s.list[0].value, rows[i].first);
		settings_free(&s);
		buf_free(&why);
	}
}

static void damage_is_named_with_its_line(void **state)
{
	static const struct { const char *text, *why; } rows[] = {
		{ "a x\nfoo y\n", "F:2: unknown keyword \"foo\"" },
		{ "a x\n  foo y\n", "F:2: unknown keyword \"foo\"" },
		/* no more of the line than that: a password may follow */
		{ "\n  (y)\n", "F:2: expected a keyword, found \"(\"" },
		{ "a:x\n", "F:1: expected a keyword, found \"a:\"" },
		{ "a: x y\n", "F:1: expected a keyword, found \"a:\"" },
		{ "a\xc2\xa0x\n", "F:1: expected a keyword, found \"a\xc2\xa0\" with U+00A0, which looks like a blank or like nothing" },
		{ "a x\n\xff\x01 y\n", "F:2: expected a keyword, found \"?\"" },
		{ "include relative\n", "F:1: include: expected an absolute path, found \"relative\"" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		struct settings s;
		struct buf why = { 0 };

		assert_int_equal(parse(&s, rows[i].text, &why), EX_CONFIG);
		assert_string_equal(buf_str(&why), rows[i].why);
		settings_free(&s);
		buf_free(&why);
	}
}

static void a_nul_byte_is_an_error(void **state)
{
	struct settings s = { 0 };
	struct buf why = { 0 };

	(void)state;
	assert_int_equal(settings_parse(&s, "F", "a x\0y", 5, name_of, &why), EX_CONFIG);
	assert_non_null(strstr(buf_str(&why), "F:1: NUL byte"));
	settings_free(&s);
	buf_free(&why);
}

static void one_file_says_a_thing_once(void **state)
{
	struct settings s;
	struct buf why = { 0 };

	(void)state;
	assert_int_equal(parse(&s, "a x\nb y\nalpha z\n", &why), EX_OK);
	assert_int_equal(settings_repeated(&s, 0, 2, &why), EX_OK);
	assert_int_equal(settings_repeated(&s, 1, 3, &why), EX_OK);
	assert_int_equal(settings_repeated(&s, 0, 3, &why), EX_CONFIG);
	assert_string_equal(buf_str(&why), "F:3: alpha: line 1 says it already by a");
	settings_free(&s);
	buf_free(&why);
}

static void put(const char *path, const char *text)
{
	FILE *f = fopen(path, "w");

	assert_non_null(f);
	fputs(text, f);
	assert_int_equal(fclose(f), 0);
}

static void included_files_can_be_contradicted(void **state)
{
	char inner[] = "/tmp/zl-settings-XXXXXX", text[100];
	struct settings s;
	struct buf why = { 0 };

	(void)state;
	assert_true(mkstemp(inner) >= 0);
	put(inner, "a from-inner\nb inner\n");
	snprintf(text, sizeof text, "include %s\na outer\n", inner);
	assert_int_equal(parse(&s, text, &why), EX_OK);
	assert_int_equal(s.count, 3);
	assert_string_equal(s.list[0].file, inner);
	assert_string_equal(s.list[2].value, "outer");
	assert_int_equal(settings_repeated(&s, 0, 3, &why), EX_OK);
	settings_free(&s);

	snprintf(text, sizeof text, "include %s\n", inner);
	put(inner, text);
	assert_int_equal(parse(&s, text, &why), EX_CONFIG);
	assert_non_null(strstr(buf_str(&why), "too deep"));
	settings_free(&s);
	buf_clear(&why);
	assert_int_equal(remove(inner), 0);
	assert_int_equal(parse(&s, text, &why), EX_NOINPUT);
	assert_non_null(strstr(buf_str(&why), "F:1: include: /tmp/zl-settings-"));
	settings_free(&s);
	buf_free(&why);
}

static void values_are_checked(void **state)
{
	static const char *const words[] = { "one", "two", NULL };
	struct setting s = { .name = "a", .keyword = (char[]){ "a" }, .file = "F", .line = 3 };
	struct buf why = { 0 };
	bool yes = false;
	unsigned long number = 0;
	long seconds = 0;
	int choice = -1;
	char *text = NULL, **list = NULL;

	(void)state;
	s.value = (char[]){ "Yes" };
	assert_int_equal(setting_bool(&s, &yes, &why), EX_OK);
	assert_true(yes);
	s.value = (char[]){ "maybe" };
	assert_int_equal(setting_bool(&s, &yes, &why), EX_CONFIG);
	assert_string_equal(buf_str(&why), "F:3: a: expected yes or no, found \"maybe\"");
	s.value = (char[]){ "1m30s" };
	assert_int_equal(setting_seconds(&s, 100, &seconds, &why), EX_OK);
	assert_int_equal(seconds, 90);
	assert_int_equal(setting_seconds(&s, 89, &seconds, &why), EX_CONFIG);
	assert_int_equal(setting_number(&s, 100, &number, &why), EX_CONFIG);
	s.value = (char[]){ "TWO" };
	assert_int_equal(setting_choice(&s, words, &choice, &why), EX_OK);
	assert_int_equal(choice, 1);
	buf_clear(&why);
	s.value = (char[]){ "three" };
	assert_int_equal(setting_choice(&s, words, &choice, &why), EX_CONFIG);
	assert_string_equal(buf_str(&why), "F:3: a: expected one of one, two, found \"three\"");
	s.value = (char[]){ " x, y z,," };
	assert_int_equal(setting_words(&s, &list, &why), EX_OK);
	assert_string_equal(list[0], "x");
	assert_string_equal(list[2], "z");
	assert_null(list[3]);
	s.value = (char[]){ ", ," };
	assert_int_equal(setting_words(&s, &list, &why), EX_CONFIG);
	s.value = (char[]){ "" };
	assert_int_equal(setting_text(&s, &text, &why), EX_CONFIG);
	words_add(&list, "Z");
	words_add(&list, "w");
	assert_string_equal(list[3], "w");
	words_free(list);
	buf_free(&why);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(lines_of_both_manners_are_read),
		cmocka_unit_test(indented_lines_go_on_or_begin_anew),
		cmocka_unit_test(damage_is_named_with_its_line),
		cmocka_unit_test(a_nul_byte_is_an_error),
		cmocka_unit_test(one_file_says_a_thing_once),
		cmocka_unit_test(included_files_can_be_contradicted),
		cmocka_unit_test(values_are_checked),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
