#include "tests/unit/unit.h"

#include "lib/pool.h"

static void memory_is_zeroed_again_after_a_reset(void **state)
{
	struct pool pool = { 0 };
	char *p = pool_alloc(&pool, 100), *q;

	(void)state;
	memset(p, 'x', 100);
	pool_reset(&pool);
	q = pool_alloc(&pool, 100);
	assert_ptr_equal(p, q);
	for (size_t i = 0; i < 100; i++)
		assert_int_equal(q[i], 0);
	pool_free(&pool);
}

static void large_and_small_pieces_do_not_overlap(void **state)
{
	struct pool pool = { 0 };

	(void)state;
	for (int round = 0; round < 3; round++) {
		char *pieces[50];
		size_t sizes[50];

		for (size_t i = 0; i < 50; i++) {
			sizes[i] = i % 7 == 0 ? 40000 : 1 + i * 31;
			pieces[i] = pool_alloc(&pool, sizes[i]);
			memset(pieces[i], (int)i + 1, sizes[i]);
		}
		for (size_t i = 0; i < 50; i++)
			for (size_t j = 0; j < sizes[i]; j++)
				assert_int_equal((unsigned char)pieces[i][j], (int)i + 1);
		pool_reset(&pool);
	}
	pool_free(&pool);
}

static void what_was_made_since_a_mark_is_forgotten(void **state)
{
	struct pool pool = { 0 };
	struct pool_mark start = pool_mark(&pool);
	char *first = pool_copy(&pool, "first", 5);
	struct pool_mark mark = pool_mark(&pool);
	char *second = pool_copy(&pool, "second", 6);

	(void)state;
	for (int i = 0; i < 100; i++)
		pool_alloc(&pool, 5000);
	pool_release(&pool, mark);
	assert_ptr_equal(pool_copy(&pool, "third", 5), second);
	assert_string_equal(first, "first");
	pool_release(&pool, start);
	assert_ptr_equal(pool_copy(&pool, "fourth", 6), first);
	pool_free(&pool);
}

static void text_is_copied_and_formatted(void **state)
{
	struct pool pool = { 0 };

	(void)state;
	assert_string_equal(pool_copy(&pool, "abcdef", 3), "abc");
	assert_string_equal(pool_copy(&pool, NULL, 0), "");
	assert_string_equal(pool_format(&pool, "%s-%d", "x", 7), "x-7");
	pool_free(&pool);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(memory_is_zeroed_again_after_a_reset),
		cmocka_unit_test(large_and_small_pieces_do_not_overlap),
		cmocka_unit_test(what_was_made_since_a_mark_is_forgotten),
		cmocka_unit_test(text_is_copied_and_formatted),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
