#include "tests/unit/unit.h"

#include "db/store/records.h"
#include "lib/alloc.h"

static void add(struct records *records, const char *key, const char *value, size_t line)
{
	records_copy(records, key, strlen(key), value, strlen(value), line);
}

static void expect(const struct records *records, const char *text)
{
	struct buf out = { 0 };

	for (size_t i = 0; i < records->count; i++)
		buf_addf(&out, "%s=%s ", records->list[i].key, records->list[i].value);
	assert_string_equal(buf_str(&out), text);
	buf_free(&out);
}

static void keys_sort_bytewise_and_prefixes_come_first(void **state)
{
	static const char *const keys[] = { "b", "a", "", "aa", "\xff", "A", "user10@d", "user1@d", "user1", "a\x01", "12345678",
	                                    "123456789", "1234567" };
	struct records r = { 0 };

	(void)state;
	for (size_t i = 0; i < sizeof keys / sizeof keys[0]; i++)
		add(&r, keys[i], "", i);
	records_sort(&r);
	expect(&r, "= 1234567= 12345678= 123456789= A= a= a\x01= aa= b= user1= user10@d= user1@d= \xff= ");
	records_free(&r);
}

/* Many keys with long common beginnings, so that all ways to sort are gone. */
static void large_sets_sort_like_strcmp_and_stay_in_order(void **state)
{
	static const unsigned lengths[] = { 1, 3, 9, 40, 300 };
	struct records r = { 0 };
	unsigned seed = 1;

	(void)state;
	for (size_t i = 0; i < 20000; i++) {
		char key[512];
		size_t n;

		seed = seed * 1103515245 + 12345;
		n = lengths[(seed >> 16) % 5];
		memset(key, 'x', n);
		seed = seed * 1103515245 + 12345;
		snprintf(key + n, sizeof key - n, "%u", (seed >> 16) % 3000);
		add(&r, key, "", i + 1);
	}
	records_sort(&r);
	assert_int_equal(r.count, 20000);
	for (size_t i = 1; i < r.count; i++) {
		int order = strcmp(r.list[i - 1].key, r.list[i].key);

		assert_true(order < 0 || (order == 0 && r.list[i - 1].line < r.list[i].line));
	}
	records_free(&r);
}

/* Keys that are the same for a very long way. */
static void very_long_keys_sort(void **state)
{
	struct records r = { 0 };
	char *key = xmalloc(100001);

	(void)state;
	memset(key, 'k', 100000);
	key[100000] = '\0';
	for (size_t i = 0; i < 100; i++) {
		key[99999] = (char)('a' + (i * 7) % 26);
		add(&r, key, "", i + 1);
	}
	records_sort(&r);
	for (size_t i = 1; i < r.count; i++)
		assert_true(r.list[i - 1].key[99999] <= r.list[i].key[99999]);
	free(key);
	records_free(&r);
}

static void duplicates_are_found_and_settled(void **state)
{
	static const char *const rows[][2] = { { "b", "1" }, { "a", "1" }, { "b", "2" }, { "c", "1" }, { "b", "3" }, { "a", "" } };
	struct records kept = { 0 }, joined = { 0 };

	(void)state;
	for (size_t i = 0; i < 6; i++) {
		add(&kept, rows[i][0], rows[i][1], i + 1);
		add(&joined, rows[i][0], rows[i][1], i + 1);
	}
	records_sort(&kept);
	records_sort(&joined);
	assert_int_equal(records_duplicate(&kept, 0), 1);
	assert_int_equal(records_duplicate(&kept, 2), 3);
	assert_int_equal(records_duplicate(&kept, 4), 4);
	assert_int_equal(records_duplicate(&kept, 5), 6);
	records_keep_first(&kept);
	expect(&kept, "a=1 b=1 c=1 ");
	records_join(&joined);
	expect(&joined, "a=1 b=1, 2, 3 c=1 ");
	records_free(&kept);
	records_free(&joined);
}

static void no_records_are_no_trouble(void **state)
{
	struct records r = { 0 };

	(void)state;
	records_sort(&r);
	assert_int_equal(records_duplicate(&r, 0), 0);
	records_keep_first(&r);
	records_join(&r);
	records_free(&r);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(keys_sort_bytewise_and_prefixes_come_first),
		cmocka_unit_test(large_sets_sort_like_strcmp_and_stay_in_order),
		cmocka_unit_test(very_long_keys_sort),
		cmocka_unit_test(duplicates_are_found_and_settled),
		cmocka_unit_test(no_records_are_no_trouble),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
