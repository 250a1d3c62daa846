#include "tests/unit/unit.h"

#include "lib/buf.h"

static void an_empty_buffer_is_an_empty_string(void **state)
{
	struct buf b = { 0 };

	(void)state;
	assert_string_equal(buf_str(&b), "");
	buf_clear(&b);
	buf_consume(&b, 0);
	assert_true(buf_add(&b, NULL, 0));
	assert_string_equal(b.data, "");
	buf_free(&b);
	buf_free(&b);
}

static void content_grows_and_stays_terminated(void **state)
{
	struct buf b = { 0 };

	(void)state;
	for (size_t n = 1; n <= 5000; n++) {
		assert_true(buf_addc(&b, (char)('a' + n % 26)));
		assert_int_equal(b.len, n);
		assert_int_equal(b.data[n], '\0');
		assert_int_equal(b.data[n - 1], 'a' + n % 26);
		assert_true(b.size > b.len);
	}
	buf_free(&b);
}

static void bytes_of_any_value_are_kept(void **state)
{
	struct buf b = { 0 };

	(void)state;
	assert_true(buf_add(&b, "a\0b", 3));
	assert_true(buf_adds(&b, "\xff"));
	assert_int_equal(b.len, 4);
	assert_memory_equal(b.data, "a\0b\xff", 5);
	buf_free(&b);
}

static void formatted_text_is_never_cut(void **state)
{
	char big[3000];
	struct buf b = { 0 };

	(void)state;
	memset(big, 'x', sizeof big - 1);
	big[sizeof big - 1] = '\0';
	assert_true(buf_addf(&b, "%s-%d", big, 7));
	assert_int_equal(b.len, sizeof big - 1 + 2);
	assert_string_equal(b.data + sizeof big - 1, "-7");
	buf_free(&b);
}

static void numbers_are_decimal(void **state)
{
	struct buf b = { 0 };

	(void)state;
	assert_true(buf_addu(&b, 0));
	assert_true(buf_addc(&b, ' '));
	assert_true(buf_addu(&b, 1007));
	assert_true(buf_addc(&b, ' '));
	assert_true(buf_addu(&b, UINT64_MAX));
	assert_string_equal(buf_str(&b), "0 1007 18446744073709551615");
	b.limit = b.len + 2;
	assert_false(buf_addu(&b, 100));
	assert_string_equal(buf_str(&b), "0 1007 18446744073709551615");
	buf_free(&b);
}

static void a_limit_refuses_the_whole_addition(void **state)
{
	struct buf b = { .limit = 5 };

	(void)state;
	assert_true(buf_adds(&b, "abc"));
	assert_false(buf_adds(&b, "def"));
	assert_false(buf_addf(&b, "%s", "def"));
	assert_string_equal(b.data, "abc");
	assert_true(buf_adds(&b, "de"));
	assert_false(buf_addc(&b, 'f'));
	assert_null(buf_reserve(&b, 1));
	assert_non_null(buf_reserve(&b, 0));
	assert_string_equal(b.data, "abcde");
	buf_clear(&b);
	assert_true(buf_adds(&b, "12345"));
	buf_free(&b);
	assert_int_equal(b.limit, 5);
	assert_false(buf_adds(&b, "123456"));
	assert_null(buf_reserve(&b, (size_t)-1));
	buf_free(&b);
}

static void the_head_is_taken_off(void **state)
{
	struct buf b = { 0 };

	(void)state;
	buf_adds(&b, "abcdef");
	buf_consume(&b, 2);
	assert_string_equal(b.data, "cdef");
	buf_adds(&b, "g");
	buf_consume(&b, 5);
	assert_string_equal(b.data, "");
	assert_int_equal(b.len, 0);
	buf_free(&b);
}

static void clearing_keeps_the_memory(void **state)
{
	struct buf b = { 0 };
	char *data;

	(void)state;
	buf_reserve(&b, 1000);
	buf_adds(&b, "abc");
	data = b.data;
	buf_clear(&b);
	assert_string_equal(buf_str(&b), "");
	assert_true(b.size > 1000);
	buf_reserve(&b, 1000);
	assert_ptr_equal(b.data, data);
	buf_free(&b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(an_empty_buffer_is_an_empty_string),
		cmocka_unit_test(content_grows_and_stays_terminated),
		cmocka_unit_test(bytes_of_any_value_are_kept),
		cmocka_unit_test(formatted_text_is_never_cut),
		cmocka_unit_test(numbers_are_decimal),
		cmocka_unit_test(a_limit_refuses_the_whole_addition),
		cmocka_unit_test(the_head_is_taken_off),
		cmocka_unit_test(clearing_keeps_the_memory),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
