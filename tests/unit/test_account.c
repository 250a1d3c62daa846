#include "tests/unit/unit.h"

#include "lib/account.h"

static void a_name_or_its_number_is_found(void **state)
{
	uid_t uid = 7;
	gid_t gid = 7;

	(void)state;
	assert_true(account_find_user("root", &uid));
	assert_int_equal(uid, 0);
	assert_true(account_find_group("root", &gid));
	assert_int_equal(gid, 0);
	/* a number needs no account */
	assert_true(account_find_user("4294967294", &uid));
	assert_true(uid == 4294967294u);
	assert_true(account_find_group("12345", &gid));
	assert_int_equal(gid, 12345);
}

static void who_is_not_there_is_not_found(void **state)
{
	/* the last number stands for nobody */
	static const char *const none[] = { "", "-1", "4294967295", "no such user here" };
	uid_t uid;
	gid_t gid;

	(void)state;
	for (size_t i = 0; i < sizeof none / sizeof none[0]; i++) {
		assert_false(account_find_user(none[i], &uid));
		assert_false(account_find_group(none[i], &gid));
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_name_or_its_number_is_found),
		cmocka_unit_test(who_is_not_there_is_not_found),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
