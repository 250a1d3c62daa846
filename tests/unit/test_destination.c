#include "tests/unit/unit.h"

#include "db/grammar/destination.h"

static struct pool pool;

static void parsed(const char *value, const char *channel, enum destination_host host_is, const char *host,
                   const char *user)
{
	struct destination d;
	const char *why;

	if (!destination_parse(&pool, value, &d, &why))
		fail_msg("%s: %s", value, why);
	assert_int_equal(d.kind, DESTINATION_SEND);
	assert_string_equal(d.channel, channel);
	assert_int_equal(d.host_is, host_is);
	if (host != NULL)
		assert_string_equal(d.host, host);
	if (user == NULL)
		assert_null(d.user);
	else
		assert_string_equal(d.user, user);
}

static void refused(const char *value)
{
	struct destination d;
	const char *why;

	if (destination_parse(&pool, value, &d, &why))
		fail_msg("%s: taken", value);
	assert_non_null(why);
}

static void routes_have_channel_host_and_user(void **state)
{
	(void)state;
	parsed("smtp-lmtp!node!cyr%2", "smtp-lmtp", HOST_GIVEN, "node", "cyr%2");
	parsed("mychan!node", "mychan", HOST_GIVEN, "node", NULL);
	parsed("mychan!node!more!evenmore", "mychan", HOST_GIVEN, "node", "more!evenmore");
	parsed("CH!Host!Cap%2", "CH", HOST_GIVEN, "Host", "Cap%2");
	parsed("smtp-lmtp! node !cyr %2", "smtp-lmtp", HOST_GIVEN, " node ", "cyr %2");
	parsed("error!nosuchuser", "error", HOST_GIVEN, "nosuchuser", NULL);
	parsed("error!nosuchuser!some text", "error", HOST_GIVEN, "nosuchuser", "some text");
}

static void a_host_may_be_left_out(void **state)
{
	(void)state;
	parsed("mychan!", "mychan", HOST_NONE, NULL, NULL);
	parsed("smtp!", "smtp", HOST_DOMAIN, NULL, NULL);
	parsed("smtp-lmtp!", "smtp-lmtp", HOST_DOMAIN, NULL, NULL);
	parsed("smtpgw-x!", "smtpgw-x", HOST_LOCAL_PART, NULL, NULL);
	parsed("dns!", "smtp", HOST_DOMAIN, NULL, NULL);
}

static void other_forms_are_known(void **state)
{
	struct destination d;
	const char *why;

	(void)state;
	assert_true(destination_parse(&pool, "lotusgw!gwdom!gwhost", &d, &why));
	assert_string_equal(d.channel, "smtp");
	assert_string_equal(d.host, "gwhost");
	assert_string_equal(d.gateway, "gwdom");
	assert_true(destination_parse(&pool, "delay!3600", &d, &why));
	assert_int_equal(d.kind, DESTINATION_LATER);
	assert_int_equal(d.seconds, 3600);
	assert_true(destination_parse(&pool, "ignore!", &d, &why));
	assert_int_equal(d.kind, DESTINATION_ABSENT);
	assert_true(destination_parse(&pool, "ignore!note", &d, &why));
	assert_int_equal(d.kind, DESTINATION_ABSENT);
	assert_true(destination_parse(&pool, "ERROR", &d, &why));
	assert_int_equal(d.kind, DESTINATION_ABSENT);
}

static void what_is_no_route_is_refused(void **state)
{
	(void)state;
	refused("");
	refused("justaword");
	refused("!host");
	refused("chan!!user");
	refused("chan!host!");
	refused("smtp!relay!");
	refused("two words!host");
	refused("chan\t!host");
	refused("error!");
	refused("delay!soon");
	refused("delay!99999999999");
	refused("-!host");
	refused("chan!ho\001st");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(routes_have_channel_host_and_user),
		cmocka_unit_test(a_host_may_be_left_out),
		cmocka_unit_test(other_forms_are_known),
		cmocka_unit_test(what_is_no_route_is_refused),
	};
	int failed = cmocka_run_group_tests(tests, NULL, NULL);

	pool_free(&pool);
	return failed;
}
