#include "tests/unit/unit.h"

#include <sysexits.h>

#include "db/live/livemap.h"
#include "db/sync/copy.h"
#include "tests/unit/scratch.h"

static const char uri[] = "ldap://directory.example";

static void say(const char *text)
{
	print_message("%s\n", text);
}

static struct copy *open_copy(const struct copy_settings *settings)
{
	struct buf why = { 0 };
	int status;
	struct copy *copy = copy_open(settings, &status, &why);

	if (copy == NULL)
		fail_msg("%s", buf_str(&why));
	buf_free(&why);
	return copy;
}

static void a_doubt_that_arises_while_all_is_compared_outlives_the_comparison(void **state)
{
	static const struct sync_rule rule = { .name = "people" };
	static const struct sync_uuid uuid = { .bytes = { 1 } };
	const struct copy_settings settings = {
		.livemap = { .type = "btree", .base = scratch("map"), .folding = 'l' }, .rules = &rule, .rule_count = 1, .report = say,
	};
	struct copy *copy = open_copy(&settings);
	const struct sync_sink *sink = copy_sink(copy, 0);

	(void)state;
	assert_true(copy_comparison_is_due(copy, uri, 0));
	copy_begin_comparison(copy);
	copy_compared(copy, uri);
	assert_false(copy_comparison_is_due(copy, uri, 0));
	/* the server speaks of what it takes back, of an entry that the comparison has passed */
	copy_begin_comparison(copy);
	sink->keep(sink->context, &uuid);
	sink->rollback(sink->context);
	assert_true(copy_comparison_is_due(copy, uri, 0));
	copy_compared(copy, uri);
	assert_true(copy_comparison_is_due(copy, uri, 0));
	assert_true(copy_comparison_time(copy, 0) == 0);
	/* the next one settles it */
	copy_begin_comparison(copy);
	copy_compared(copy, uri);
	assert_false(copy_comparison_is_due(copy, uri, 0));
	copy_close(&copy);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_doubt_that_arises_while_all_is_compared_outlives_the_comparison),
	};

	return cmocka_run_group_tests(tests, scratch_begin, scratch_end);
}
