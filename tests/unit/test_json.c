#include "tests/unit/unit.h"

#include "lib/json.h"

static struct buf line, value;

static void begin(void)
{
	buf_clear(&line);
	buf_clear(&value);
}

static void what_is_written_is_read(void **state)
{
	(void)state;
	begin();
	buf_addc(&line, '{');
	json_string(&line, "words", "a \"quoted\" \\ line\nand \xc3\xa4\xff");
	json_number(&line, "code", -450);
	json_bool(&line, "verified", true);
	json_string(&line, "nothing", NULL);
	json_string(&line, "last", "");
	buf_adds(&line, "}\n");
	assert_true(json_member(line.data, "words", &value));
	assert_string_equal(value.data, "a \"quoted\" \\ line\nand \xc3\xa4\xef\xbf\xbd");
	buf_clear(&value);
	assert_true(json_member(line.data, "code", &value));
	assert_string_equal(value.data, "-450");
	buf_clear(&value);
	assert_true(json_member(line.data, "verified", &value));
	assert_string_equal(value.data, "true");
	buf_clear(&value);
	assert_true(json_member(line.data, "nothing", &value));
	assert_string_equal(value.data, "null");
	buf_clear(&value);
	assert_true(json_member(line.data, "last", &value));
	assert_string_equal(buf_str(&value), "");
}

static void a_value_is_no_name(void **state)
{
	(void)state;
	begin();
	buf_addc(&line, '{');
	json_string(&line, "words", "x\",\"answer\":\"ready");
	json_string(&line, "answer", "could not tell");
	buf_addc(&line, '}');
	assert_true(json_member(line.data, "answer", &value));
	assert_string_equal(value.data, "could not tell");
}

static void other_lines_have_no_members(void **state)
{
	static const char *const lines[] = {
		"", "{", "{}", "lmtp: cannot open", "{\"a", "{\"a\"", "{\"answer\" 1}", "{\"answer\":\"ready", "{\"a\":\"\\u12\",\"answer\":1}",
		"{\"a\":\"\\n\",\"answer\":1}", "answer\":1}", "{\"a\":1 \"answer\":1}",
	};

	(void)state;
	begin();
	for (size_t i = 0; i < sizeof lines / sizeof lines[0]; i++)
		assert_false(json_member(lines[i], "answer", &value));
	assert_int_equal(value.len, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_is_written_is_read),
		cmocka_unit_test(a_value_is_no_name),
		cmocka_unit_test(other_lines_have_no_members),
	};
	int failed = cmocka_run_group_tests(tests, NULL, NULL);

	buf_free(&line);
	buf_free(&value);
	return failed;
}
