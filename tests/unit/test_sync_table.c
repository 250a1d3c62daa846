#include "tests/unit/unit.h"

#include <stdlib.h>

#include "db/sync/table.h"

/* Few hashes, so that cells often stand behind each other, also around the end of the table. */
static uint64_t few_hashes(uintptr_t cell)
{
	return cell % 7 == 0 ? UINT64_MAX : cell % 5;
}

static bool is_it(uintptr_t cell, const void *wanted)
{
	return cell == *(const uintptr_t *)wanted;
}

static uintptr_t *find(const struct table *t, uintptr_t cell)
{
	return table_find(t, few_hashes(cell), &cell);
}

static void what_was_added_and_not_removed_is_found(void **state)
{
	enum { ALL = 500 };
	struct table t = { .hash = few_hashes, .matches = is_it };
	bool there[ALL] = { false };
	size_t count = 0;

	(void)state;
	srand(1);
	for (int i = 0; i < 20000; i++) {
		const uintptr_t cell = 1 + (uintptr_t)rand() % (ALL - 1);
		uintptr_t *found = find(&t, cell);

		assert_int_equal(found != NULL, there[cell]);
		if (found != NULL)
			table_remove(&t, found);
		else
			table_add(&t, cell);
		there[cell] = !there[cell];
		count += there[cell] ? 1 : (size_t)-1;
		assert_int_equal(t.count, count);
	}
	for (uintptr_t cell = 1; cell < ALL; cell++)
		assert_int_equal(find(&t, cell) != NULL, there[cell]);
	table_free(&t);
	assert_null(find(&t, 1));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_was_added_and_not_removed_is_found),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
