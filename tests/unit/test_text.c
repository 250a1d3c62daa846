#include "tests/unit/unit.h"

#include "lib/text.h"

static void cleaned(const char *in, size_t n, size_t cap, const char *expect)
{
	struct buf out = { 0 };

	text_add_clean(&out, in, n, cap);
	assert_string_equal(buf_str(&out), expect);
	buf_free(&out);
}

static void control_bytes_become_one_blank(void **state)
{
	(void)state;
	cleaned("a\r\n\tb", 5, 100, "a b");
	cleaned("a\0b\177c", 5, 100, "a b c");
	cleaned("a\xc2\x85" "b", 4, 100, "a b");
	cleaned("a\xe2\x80\xae" "b\xe2\x81\xa9" "c\xe2\x80\xa8", 12, 100, "a b c ");
	cleaned("\xe2\x80\xa6\xe2\x82\xae\xe2\x81\xa5", 9, 100, "\xe2\x80\xa6\xe2\x82\xae\xe2\x81\xa5");
}

static void bytes_that_are_no_utf8_become_question_marks(void **state)
{
	(void)state;
	cleaned("\xff\xfe", 2, 100, "??");
	cleaned("\xc3\xa4", 2, 100, "\xc3\xa4");
	cleaned("\xc3", 1, 100, "?");
	cleaned("\xed\xa0\x80", 3, 100, "???");
	cleaned("\xe2\x82\xac\xf0\x9f\x98\x80", 7, 100, "\xe2\x82\xac\xf0\x9f\x98\x80");
}

static void a_cut_is_marked_and_never_splits_a_character(void **state)
{
	(void)state;
	cleaned("abcdefgh", 8, 8, "abcdefgh");
	cleaned("abcdefghi", 9, 8, "abcde...");
	cleaned("abcd\xc3\xa4\xc3\xa4\xc3\xa4", 10, 8, "abcd...");
	cleaned("abc\xc3\xa4\xc3\xa4\xc3\xa4", 9, 8, "abc\xc3\xa4...");
	cleaned("abcdefghi", 9, 2, "..");
	cleaned("abcdefghi", 9, 0, "");
	/* runs of plain text before, across and behind the place of the cut */
	cleaned("ab\tcdefgh", 9, 8, "ab cd...");
	cleaned("\xc3\xa4" "bcdefghi", 10, 8, "\xc3\xa4" "bcd...");
	cleaned("abcd\xe2\x82\xac" "efgh", 11, 8, "abcd...");
	cleaned("ab\xe2\x82\xac" "efgh", 9, 8, "ab\xe2\x82\xac...");
	cleaned("abcdefg\t", 8, 8, "abcdefg ");
	cleaned("abcdefg\tx", 9, 8, "abcde...");
	cleaned("a \n b", 5, 8, "a   b");
}

/* What may stand in front is none of its business. */
static void text_is_added_behind_what_there_is(void **state)
{
	struct buf out = { 0 };

	(void)state;
	buf_adds(&out, "0123456789");
	text_add_clean(&out, "abcdefghi", 9, 8);
	assert_string_equal(buf_str(&out), "0123456789abcde...");
	buf_free(&out);
}

static void json_strings_are_escaped(void **state)
{
	struct buf out = { 0 };

	(void)state;
	text_add_json(&out, "a\"\\\n\xff\xc3\xa4", 7);
	assert_string_equal(buf_str(&out), "\"a\\\"\\\\\\u000a\\ufffd\xc3\xa4\"");
	buf_free(&out);
}

/* U+0085, U+009B (CSI) and U+202E: a terminal obeys them. */
static void json_strings_have_no_controls_of_the_upper_half(void **state)
{
	struct buf out = { 0 };

	(void)state;
	text_add_json(&out, "a\xc2\x85\xc2\x9b" "31m\xe2\x80\xae\xe2\x81\xa6\xc2\xa0", 16);
	assert_string_equal(buf_str(&out), "\"a\\u0085\\u009b31m\\u202e\\u2066\xc2\xa0\"");
	buf_free(&out);
}

static void original_recipients_are_decoded(void **state)
{
	struct buf out = { 0 };

	(void)state;
	text_add_xtext_decoded(&out, "a+2Bb+3dc+zz+0+00+");
	assert_string_equal(buf_str(&out), "a+b=c+zz+0?+");
	buf_clear(&out);
	text_add_utf8_xtext_decoded(&out, "bad\\x{FC}\\x{1F600}\\x{d800}\\x{0}+2B");
	assert_string_equal(buf_str(&out), "bad\xc3\xbc\xf0\x9f\x98\x80\\x{d800}\\x{0}+2B");
	buf_free(&out);
}

static void an_address_of_a_type_is_taken_apart(void **state)
{
	static const char *const none[] = { "", ";a", "rfc822", "rfc822;", "rf c;a", "rfc.822;a", "a@b;c" };
	struct buf type = { 0 }, address = { 0 };

	(void)state;
	assert_true(text_typed_address("RFC822;a+2Bb@c", &type, &address));
	assert_string_equal(buf_str(&type), "rfc822");
	assert_string_equal(buf_str(&address), "a+b@c");
	buf_clear(&type);
	buf_clear(&address);
	assert_true(text_typed_address("utf-8;j\\x{FC}@c", &type, &address));
	assert_string_equal(buf_str(&type), "utf-8");
	assert_string_equal(buf_str(&address), "j\xc3\xbc@c");
	buf_clear(&address);
	assert_false(text_typed_address(NULL, &type, &address));
	for (size_t i = 0; i < sizeof none / sizeof none[0]; i++)
		assert_false(text_typed_address(none[i], &type, &address));
	assert_int_equal(address.len, 0);
	buf_free(&type);
	buf_free(&address);
}

static void the_end_of_a_text_is_compared(void **state)
{
	(void)state;
	assert_true(text_ends_in("aliases.db", ".db"));
	assert_true(text_ends_in(".db", ".db"));
	assert_false(text_ends_in("db", ".db"));
	assert_false(text_ends_in("aliases.dbh", ".db"));
}

static void case_is_folded_for_ascii_only(void **state)
{
	(void)state;
	assert_true(ascii_equal("PIPELINING", "pipelining"));
	assert_false(ascii_equal("\xc3\x84", "\xc3\xa4"));
	assert_false(ascii_equal("SIZE", "SIZE "));
}

static void a_word_ends_at_a_blank_or_stop_outside_quotes(void **state)
{
	static const struct { const char *line; char stop; size_t length; } rows[] = {
		{ "ann bob", ' ', 3 }, { "ann\tbob", ' ', 3 }, { "ann: bob", ':', 3 }, { "ann: bob", ' ', 4 }, { "\"a b\" c", ' ', 5 },
		{ "a\\ b c", ' ', 4 }, { "\"a: b\": c", ':', 6 }, { "\"a\\\" b\" c", ' ', 7 }, { "\"a b", ' ', 4 }, { "a\\", ' ', 2 },
		{ "", ' ', 0 }, { " a", ' ', 0 },
	};

	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
		assert_int_equal(text_word_length(rows[i].line, strlen(rows[i].line), rows[i].stop), rows[i].length);
}

static void escaped_bytes_are_put_back(void **state)
{
	static const char *const damaged[] = { "%", "%2", "a%2", "%2x", "%x2", "%%", "%25%" };
	struct buf out = { 0 };

	(void)state;
	assert_true(text_add_unescaped(&out, "a%20b%2B\\", 9, '%'));
	assert_string_equal(buf_str(&out), "a b+\\");
	buf_clear(&out);
	assert_true(text_add_unescaped(&out, "\\00%\\0A", 7, '\\'));
	assert_int_equal(out.len, 3);
	assert_memory_equal(out.data, "\0%\n", 3);
	for (size_t i = 0; i < sizeof damaged / sizeof damaged[0]; i++)
		assert_false(text_add_unescaped(&out, damaged[i], strlen(damaged[i]), '%'));
	/* what stands behind the text does not count */
	assert_false(text_add_unescaped(&out, "%20", 2, '%'));
	buf_free(&out);
}

static void a_word_is_among_others_as_it_stands(void **state)
{
	static const char *const words[] = { "due", "held", NULL }, *const none[] = { NULL };

	(void)state;
	assert_true(text_is_among("held", words));
	assert_false(text_is_among("Held", words));
	assert_false(text_is_among("hel", words));
	assert_false(text_is_among("held", none));
}

static void one_eightbit_byte_is_found_wherever_it_stands(void **state)
{
	char bytes[40];

	(void)state;
	for (size_t n = 0; n < sizeof bytes; n++) {
		memset(bytes, '\x7f', sizeof bytes);
		bytes[n] = '\x80';
		assert_false(text_is_eightbit(bytes, n));
		for (size_t i = 0; i < n; i++) {
			memset(bytes, '\x7f', sizeof bytes);
			bytes[i] = '\x80';
			assert_true(text_is_eightbit(bytes, n));
		}
	}
}

static void atoms_are_made_of_what_rfc_5322_says(void **state)
{
	(void)state;
	for (int c = 0; c < 256; c++)
		assert_int_equal(text_is_atext((char)c), c >= 128 || (c != 0 && strchr("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
		                                                                      "0123456789!#$%&'*+-/=?^_`{|}~", c) != NULL));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(control_bytes_become_one_blank),
		cmocka_unit_test(bytes_that_are_no_utf8_become_question_marks),
		cmocka_unit_test(a_cut_is_marked_and_never_splits_a_character),
		cmocka_unit_test(text_is_added_behind_what_there_is),
		cmocka_unit_test(json_strings_are_escaped),
		cmocka_unit_test(json_strings_have_no_controls_of_the_upper_half),
		cmocka_unit_test(original_recipients_are_decoded),
		cmocka_unit_test(an_address_of_a_type_is_taken_apart),
		cmocka_unit_test(the_end_of_a_text_is_compared),
		cmocka_unit_test(case_is_folded_for_ascii_only),
		cmocka_unit_test(a_word_ends_at_a_blank_or_stop_outside_quotes),
		cmocka_unit_test(escaped_bytes_are_put_back),
		cmocka_unit_test(a_word_is_among_others_as_it_stands),
		cmocka_unit_test(one_eightbit_byte_is_found_wherever_it_stands),
		cmocka_unit_test(atoms_are_made_of_what_rfc_5322_says),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
