#include "tests/unit/unit.h"

#include <arpa/inet.h>

/* Programs' own files are in no archive. */
#include "channel/server/policy.c"

/* Sets a key; the words of an error, "" if there is none. */
static const char *set(struct policy *p, const char *assignment)
{
	static struct buf why;
	bool is_set;

	buf_clear(&why);
	is_set = policy_set(p, assignment, &why);
	assert_int_equal(is_set, why.len == 0);
	return buf_str(&why);
}

static struct sockaddr_storage address_of(const char *text)
{
	struct sockaddr_storage address = { .ss_family = *text == '/' ? AF_UNIX : strchr(text, ':') != NULL ? AF_INET6 : AF_INET };

	if (address.ss_family == AF_INET)
		assert_int_equal(inet_pton(AF_INET, text, &((struct sockaddr_in *)&address)->sin_addr), 1);
	else if (address.ss_family == AF_INET6)
		assert_int_equal(inet_pton(AF_INET6, text, &((struct sockaddr_in6 *)&address)->sin6_addr), 1);
	return address;
}

static void keys_take_their_values(void **state)
{
	struct policy p;

	(void)state;
	policy_init(&p);
	assert_int_equal(p.relay, RELAY_LOCAL);
	assert_string_equal(set(&p, "hops=7"), "");
	assert_int_equal(p.limits[LIMIT_HOPS], 7);
	assert_string_equal(set(&p, "lookup-time=1m30s"), "");
	assert_int_equal(p.limits[LIMIT_LOOKUP_TIME], 90);
	assert_string_equal(set(&p, "relay=all"), "");
	assert_int_equal(p.relay, RELAY_ALL);
	assert_string_equal(set(&p, "journal=no"), "");
	assert_int_equal(p.journal, JOURNAL_NO);
	assert_string_equal(set(&p, "verify=/var/cache/recipients"), "");
	assert_string_equal(p.verify, "/var/cache/recipients");
	policy_free(&p);
}

static void a_wrong_value_is_named_and_changes_nothing(void **state)
{
	static const char *const rows[][2] = {
		{ "hops=0", "hops=0: expected a number from 1 to 1000" }, { "hops", "hops=: expected a number from 1 to 1000" },
		{ "lookup-time=x", "lookup-time=x: expected a time from 1 to 3600" },
		{ "relay=some", "relay=some: expected none, local or all" },
		{ "journal=", "journal=: expected auto, yes or no" },
		{ "verify=cache", "verify=cache: expected the whole path of a cache" },
		{ "networks=10.0.0.0/33", "networks=10.0.0.0/33: expected addresses such as 192.0.2.0/24,2001:db8::/32" },
		{ "hop=1", "hop=1: there is no such key" }, { "=1", "=1: there is no such key" },
	};
	struct policy p;

	(void)state;
	policy_init(&p);
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
		assert_string_equal(set(&p, rows[i][0]), rows[i][1]);
	assert_int_equal(p.limits[LIMIT_HOPS], 50);
	assert_int_equal(p.relay, RELAY_LOCAL);
	assert_int_equal(p.network_count, 0);
	policy_free(&p);
}

static void clients_of_this_machine_and_of_the_networks_may_connect(void **state)
{
	static const struct { const char *address; bool may, is_loopback; } rows[] = {
		{ "/run/intake", true, true }, { "127.0.0.9", true, true }, { "::1", true, true },
		{ "::ffff:127.0.0.1", true, true },
		{ "192.0.2.7", false, false }, { "192.0.2.8", true, false }, { "192.0.2.15", true, false },
		{ "192.0.2.16", false, false }, { "::ffff:192.0.2.9", true, false }, { "2001:db8::7", true, false },
		{ "2001:db8:0:1::7", false, false }, { "198.51.100.1", true, false }, { "::2", false, false },
	};
	struct policy p;

	(void)state;
	policy_init(&p);
	assert_string_equal(set(&p, "networks=192.0.2.8/29,2001:db8::/64"), "");
	assert_string_equal(set(&p, "networks=::ffff:198.51.100.0/120"), "");
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		struct sockaddr_storage address = address_of(rows[i].address);

		assert_int_equal(policy_may_connect(&p, &address), rows[i].may);
		assert_int_equal(policy_is_loopback(&address), rows[i].is_loopback);
	}
	policy_free(&p);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(keys_take_their_values),
		cmocka_unit_test(a_wrong_value_is_named_and_changes_nothing),
		cmocka_unit_test(clients_of_this_machine_and_of_the_networks_may_connect),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
