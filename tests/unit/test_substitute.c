#include "tests/unit/unit.h"

#include "db/route/substitute.h"

static const struct arguments usual = {
	{ "user@d.test", "user", "+Tail", "@d.test", "d.test", "User+Tail@D.test" }
};
static struct pool pool;

static void becomes(const char *value, const char *expect)
{
	struct buf out = { 0 };

	substitute(&out, value, &usual);
	assert_string_equal(buf_str(&out), expect);
	buf_free(&out);
}

static void references_are_put_in_once(void **state)
{
	struct arguments a = usual;
	struct buf out = { 0 };

	(void)state;
	becomes("cyr%2", "cyr+Tail");
	becomes("%0 %1 %2 %3 %4 %5", "user@d.test user +Tail @d.test d.test User+Tail@D.test");
	becomes("%10", "user0");
	a.text[1] = "%2%%";
	substitute(&out, "<%1>", &a);
	assert_string_equal(buf_str(&out), "<%2%%>");
	buf_free(&out);
}

static void a_percent_sign_can_be_written(void **state)
{
	(void)state;
	becomes("100%", "100%");
	becomes("100%%", "100%");
	becomes("%%2", "%2");
	becomes("%%%2", "%+Tail");
	becomes("a%xb", "a%xb");
	becomes("%", "%");
}

static void references_without_an_argument_vanish(void **state)
{
	(void)state;
	becomes("x%9y%1", "xyuser");
	becomes("x%9y", "xy");
}

static void two_passes_make_what_one_makes(void **state)
{
	static const char *const values[] = {
		"", "%", "%%", "%1", "%%1", "%%%1", "a%2b%3", "%5", "%5%1%%%4", "x%9y%", "%%%%", "%x%0",
	};
	struct arguments a = usual;

	(void)state;
	a.text[5] = "100%1@d.test";
	for (size_t i = 0; i < sizeof values / sizeof values[0]; i++) {
		struct buf one = { 0 }, half = { 0 }, two = { 0 };

		substitute(&one, values[i], &a);
		substitute_syntax(&half, values[i], &a);
		substitute_content(&two, buf_str(&half), &a);
		assert_string_equal(buf_str(&two), buf_str(&one));
		buf_free(&one);
		buf_free(&half);
		buf_free(&two);
	}
}

static void user(const char *value, const char *one, const char *two, const char *expect)
{
	struct arguments a = usual;
	struct buf out = { 0 };
	bool ok;

	a.text[1] = one;
	a.text[2] = two;
	ok = substitute_user(&pool, &out, value, &a);
	assert_int_equal(ok, expect != NULL);
	if (ok)
		assert_string_equal(buf_str(&out), expect);
	buf_free(&out);
}

static void what_comes_from_an_address_stays_inside_the_local_part(void **state)
{
	(void)state;
	user("cyr%2", "u", "+x", "cyr+x");
	user("cyr%2", "u", "+a b", "\"cyr+a b\"");
	user("cyr%2", "u", "+x@evil.test", "\"cyr+x@evil.test\"");
	user("virtual-user%2@virtual-domain", "u", "+x@evil.test", "\"virtual-user+x@evil.test\"@virtual-domain");
	user("%1%3", "a\"b", "", "\"a\\\"b\"@d.test");
	user("\"box %2\"@r.test", "u", "+x", "\"box +x\"@r.test");
	user("\"box %2\"@r.test", "u", "+\"x", "\"box +\\\"x\"@r.test");
	user("u@%1.test", "sub", "", "u@sub.test");
	user("u@%1.test", "a b", "", NULL);
	user("%1%2@r.test", "u", "+a..b", "\"u+a..b\"@r.test");
	user("%1%2@r.test", "u.", "+x", "u.+x@r.test");
	user("%1@r.test", ".u", "", "\".u\"@r.test");
	user("x.%1@r.test", ".u", "", "\"x..u\"@r.test");
	user("u.%2@r.test", "u", "", "\"u.\"@r.test");
	user("u.%2", "u", "", "\"u.\"");
	user("/var/../%1.", "u", "", "/var/../u.");
	user("box-\"a b\"%2@r.test", "u", "+x", "\"box-a b+x\"@r.test");
	user("DOM\\u%2", "u", "+a b", "\"DOM\\\\u+a b\"");
}

static void values_that_need_nothing_are_known(void **state)
{
	(void)state;
	assert_false(substitute_needed("plain"));
	assert_false(substitute_needed("100%"));
	assert_false(substitute_needed("a%b"));
	assert_true(substitute_needed("a%b%2"));
	assert_true(substitute_needed("%%"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(references_are_put_in_once),
		cmocka_unit_test(a_percent_sign_can_be_written),
		cmocka_unit_test(references_without_an_argument_vanish),
		cmocka_unit_test(two_passes_make_what_one_makes),
		cmocka_unit_test(what_comes_from_an_address_stays_inside_the_local_part),
		cmocka_unit_test(values_that_need_nothing_are_known),
	};
	int failed = cmocka_run_group_tests(tests, NULL, NULL);

	pool_free(&pool);
	return failed;
}
