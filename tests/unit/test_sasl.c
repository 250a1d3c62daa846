#include "config.h"
#include "tests/unit/unit.h"

#include "channel/net/base64.h"
#include "channel/net/sasl.h"

static struct sasl_order order;

static struct sasl_run *begin(const char *list, const char *user, const char *password)
{
	struct secret secret = { 0 };

	assert_true(sasl_order_parse(list, &order));
	base64_encode(user, strlen(user), &secret.user);
	base64_encode(password, strlen(password), &secret.password);
	return sasl_run_create(&order, &secret);
}

static void chosen(struct sasl_run *run, const char *offered, bool guarded, const char *command)
{
	struct buf why = { 0 };
	const char *got = sasl_run_choose(run, offered, guarded, &why);

	if (command == NULL)
		assert_null(got);
	else
		assert_string_equal(got, command);
	assert_int_equal(why.len > 0, command == NULL);
	buf_free(&why);
}

static void answered(struct sasl_run *run, const char *challenge, const char *response)
{
	struct buf out = { 0 }, why = { 0 };
	bool ok = sasl_run_respond(run, challenge, &out, &why);

	assert_int_equal(ok, response != NULL);
	if (ok)
		assert_string_equal(buf_str(&out), response);
	else
		assert_int_not_equal(why.len, 0);
	buf_free(&out);
	buf_free(&why);
}

static void order_is_what_is_written(void **state)
{
	static const char *const bad[] = { "", "login,", "login,login", "cram-md5", "login plain", ",login" };

	(void)state;
	assert_true(sasl_order_parse("external,LOGIN,plain", &order));
	assert_int_equal(order.count, 3);
	assert_int_equal(order.list[0], SASL_EXTERNAL);
	assert_int_equal(order.list[1], SASL_LOGIN);
	assert_int_equal(order.list[2], SASL_PLAIN);
	for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
		assert_false(sasl_order_parse(bad[i], &order));
	assert_int_equal(sasl_order_parse("scram-sha-256", &order), HAVE_SASL);
}

static void only_external_needs_no_secret(void **state)
{
	(void)state;
	assert_true(sasl_order_parse("external", &order));
	assert_true(sasl_order_is_external(&order));
	assert_true(sasl_order_parse("external,plain", &order));
	assert_false(sasl_order_is_external(&order));
}

static void login_sends_both_words_whatever_the_prompts_say(void **state)
{
	static const char *const prompts[] = { "VXNlcm5hbWU6", "", "UGFzc3dvcmQ6", "not base64 at all", "=" };

	(void)state;
	for (size_t i = 0; i < sizeof prompts / sizeof prompts[0]; i++) {
		struct sasl_run *run = begin("login", "user", "secret");

		chosen(run, "PLAIN LOGIN ", true, "LOGIN");
		assert_false(sasl_run_complete(run));
		answered(run, prompts[i], "dXNlcg==");
		assert_false(sasl_run_complete(run));
		answered(run, prompts[i], "c2VjcmV0");
		assert_true(sasl_run_complete(run));
		answered(run, prompts[i], NULL);
		sasl_run_destroy(&run);
	}
}

static void login_sends_empty_and_long_names(void **state)
{
	char name[1001], expected[1400];
	struct buf text = { 0 };
	struct sasl_run *run = begin("login", "", "");

	(void)state;
	chosen(run, "LOGIN ", true, "LOGIN");
	answered(run, "", "");
	answered(run, "", "");
	sasl_run_destroy(&run);
	memset(name, 'n', 1000);
	name[1000] = '\0';
	base64_encode(name, 1000, &text);
	strcpy(expected, buf_str(&text));
	run = begin("login", name, name);
	chosen(run, "LOGIN ", true, "LOGIN");
	answered(run, "", expected);
	answered(run, "", expected);
	sasl_run_destroy(&run);
	buf_free(&text);
}

static void plain_sends_one_message(void **state)
{
	struct sasl_run *run = begin("plain", "user", "secret");

	(void)state;
	chosen(run, "PLAIN LOGIN ", true, "PLAIN");
	assert_false(sasl_run_complete(run));
	answered(run, "", "AHVzZXIAc2VjcmV0");
	assert_true(sasl_run_complete(run));
	answered(run, "", NULL);
	sasl_run_destroy(&run);
}

static void plain_refuses_a_nul_byte(void **state)
{
	struct secret secret = { 0 };
	struct sasl_run *run;

	(void)state;
	assert_true(sasl_order_parse("plain", &order));
	base64_encode("us\0er", 5, &secret.user);
	base64_encode("secret", 6, &secret.password);
	run = sasl_run_create(&order, &secret);
	chosen(run, "PLAIN ", true, "PLAIN");
	answered(run, "", NULL);
	assert_false(sasl_run_reveals(run, "", 0));
	sasl_run_destroy(&run);
}

static void external_says_nothing(void **state)
{
	struct sasl_run *run;

	(void)state;
	assert_true(sasl_order_parse("external", &order));
	run = sasl_run_create(&order, NULL);
	chosen(run, "EXTERNAL ", false, "EXTERNAL =");
	assert_true(sasl_run_complete(run));
	answered(run, "", "");
	assert_true(sasl_run_complete(run));
	answered(run, "", NULL);
	assert_false(sasl_run_reveals(run, "anything", 8));
	sasl_run_destroy(&run);
}

static void the_order_decides_among_what_is_offered(void **state)
{
	struct sasl_run *run = begin("plain,login", "user", "secret");

	(void)state;
	chosen(run, "LOGIN PLAIN ", true, "PLAIN");
	chosen(run, "LOGIN ", true, "LOGIN");
	chosen(run, "XLOGIN LOGINX PLAIN-2 ", true, NULL);
	chosen(run, "", true, NULL);
	sasl_run_destroy(&run);
}

static void a_password_is_not_said_aloud_where_others_can_listen(void **state)
{
	struct sasl_run *run = begin("login,plain,external", "user", "secret");

	(void)state;
	chosen(run, "LOGIN PLAIN ", false, NULL);
	chosen(run, "LOGIN PLAIN EXTERNAL ", false, "EXTERNAL =");
	sasl_run_destroy(&run);
}

static void a_mechanism_that_needs_a_secret_is_passed_over_without_one(void **state)
{
	struct sasl_run *run;

	(void)state;
	assert_true(sasl_order_parse("login,external", &order));
	run = sasl_run_create(&order, NULL);
	chosen(run, "LOGIN EXTERNAL ", true, "EXTERNAL =");
	chosen(run, "LOGIN ", true, NULL);
	sasl_run_destroy(&run);
}

static void pieces_of_the_secret_are_recognised_in_every_form(void **state)
{
	static const char *const telling[] = {
		"wrong password correct horse battery", "Y29ycmVjdCBob3JzZSBiYXR0ZXJ5", "rect hors",
		"cannot decode AGFsaWNlAGNvcnJlY3QgaG9yc2UgYmF0dGVyeQ==", "Y3QgaG9yc2",
	};
	static const char *const harmless[] = { "", "authentication failed", "horse", "alice", "YWxpY2U=" };
	struct sasl_run *run = begin("login", "alice", "correct horse battery");

	(void)state;
	for (size_t i = 0; i < sizeof telling / sizeof telling[0]; i++)
		assert_true(sasl_run_reveals(run, telling[i], strlen(telling[i])));
	for (size_t i = 0; i < sizeof harmless / sizeof harmless[0]; i++)
		assert_false(sasl_run_reveals(run, harmless[i], strlen(harmless[i])));
	sasl_run_destroy(&run);
}

static void base64_is_taken_strictly(void **state)
{
	static const char *const bad[] = { "a", "ab", "abc", "ab=c", "====", "ab c", "abc=d", "abcd\n", "a===", "ab_-" };
	static const struct { const char *text, *bytes; } good[] = {
		{ "", "" }, { "YQ==", "a" }, { "YWI=", "ab" }, { "YWJj", "abc" }, { "YWJjZA==", "abcd" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
		struct buf out = { 0 };

		assert_false(base64_decode(bad[i], strlen(bad[i]), &out));
		assert_int_equal(out.len, 0);
	}
	for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
		struct buf out = { 0 }, text = { 0 };

		assert_true(base64_decode(good[i].text, strlen(good[i].text), &out));
		assert_string_equal(buf_str(&out), good[i].bytes);
		base64_encode(buf_str(&out), out.len, &text);
		assert_string_equal(buf_str(&text), good[i].text);
		buf_free(&out);
		buf_free(&text);
	}
}

#if HAVE_SASL
/* The server's answers need its side of the mathematics; real Cyrus gives them in tests/real. */
static void scram_begins_with_the_name_and_refuses_nonsense(void **state)
{
	struct sasl_run *run = begin("scram-sha-256", "user", "secret");
	struct buf out = { 0 }, why = { 0 }, bytes = { 0 };

	(void)state;
	chosen(run, "SCRAM-SHA-256-PLUS ", false, NULL);
	chosen(run, "SCRAM-SHA-1 SCRAM-SHA-256 ", false, "SCRAM-SHA-256");
	/* where the library has not got its mechanisms (Debian: libsasl2-modules), it says so */
	if (!sasl_run_respond(run, "", &out, &why))
		fail_msg("%s", buf_str(&why));
	assert_true(base64_decode(out.data, out.len, &bytes));
	assert_memory_equal(bytes.data, "n,,n=user,r=", 12);
	assert_false(sasl_run_complete(run));
	answered(run, "cj1vdGhlcixzPUFBQT0saT00MDk2", NULL);
	assert_false(sasl_run_complete(run));
	sasl_run_destroy(&run);
	buf_free(&out);
	buf_free(&why);
	buf_free(&bytes);
}
#endif

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(order_is_what_is_written),
		cmocka_unit_test(only_external_needs_no_secret),
		cmocka_unit_test(login_sends_both_words_whatever_the_prompts_say),
		cmocka_unit_test(login_sends_empty_and_long_names),
		cmocka_unit_test(plain_sends_one_message),
		cmocka_unit_test(plain_refuses_a_nul_byte),
		cmocka_unit_test(external_says_nothing),
		cmocka_unit_test(the_order_decides_among_what_is_offered),
		cmocka_unit_test(a_password_is_not_said_aloud_where_others_can_listen),
		cmocka_unit_test(a_mechanism_that_needs_a_secret_is_passed_over_without_one),
		cmocka_unit_test(pieces_of_the_secret_are_recognised_in_every_form),
		cmocka_unit_test(base64_is_taken_strictly),
#if HAVE_SASL
		cmocka_unit_test(scram_begins_with_the_name_and_refuses_nonsense),
#endif
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
