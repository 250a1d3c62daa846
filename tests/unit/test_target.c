#include "tests/unit/unit.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <sys/un.h>

#include "channel/net/target.h"

static void targets_are_taken_apart(void **state)
{
	static const struct { const char *text; enum target_kind kind; const char *name; uint16_t port; } rows[] = {
		{ "UNIX:/var/run/lmtp", TARGET_UNIX, "/var/run/lmtp", 0 },
		{ "unix:/x", TARGET_UNIX, "/x", 0 },
		{ "[127.0.0.1]", TARGET_LITERAL, "127.0.0.1", 2003 },
		{ "[127.0.0.1]:24", TARGET_LITERAL, "127.0.0.1", 24 },
		{ "[::1]", TARGET_LITERAL, "::1", 2003 },
		{ "[IPv6:2001:db8::1]", TARGET_LITERAL, "2001:db8::1", 2003 },
		{ "[ipv6.::1]:65535", TARGET_LITERAL, "::1", 65535 },
		{ "[IPv6 ::1]", TARGET_LITERAL, "::1", 2003 },
		{ "mail.example.org", TARGET_NAME, "mail.example.org", 2003 },
		{ "mail_1.example.org.", TARGET_NAME, "mail_1.example.org.", 2003 },
		{ "name:24", TARGET_NAME, "name", 24 },
		{ "localhost:2424", TARGET_NAME, "localhost", 2424 },
		{ "127.0.0.1:2424", TARGET_LITERAL, "127.0.0.1", 2424 },
		{ "127.0.0.1", TARGET_LITERAL, "127.0.0.1", 2003 },
		{ "2001:db8::1", TARGET_LITERAL, "2001:db8::1", 2003 },
	};

	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		struct buf why = { 0 };
		struct target *t = target_create(rows[i].text, 2003, &why);

		assert_non_null(t);
		assert_int_equal(t->kind, rows[i].kind);
		assert_string_equal(t->name, rows[i].name);
		assert_string_equal(t->text, rows[i].text);
		assert_int_equal(t->port, rows[i].port);
		assert_int_equal(why.len, 0);
		target_destroy(&t);
		assert_null(t);
		buf_free(&why);
	}
}

static void what_can_be_no_target_is_refused_in_words(void **state)
{
	static const char *const rows[] = {
		"", "UNIX:", "UNIX:relative", "[127.0.0.1", "[]", "[127.0.0]", "[1.2.3.4.5]", "[localhost]", "[127.0.0.1]x",
		"[127.0.0.1]:", "[127.0.0.1]:0", "[127.0.0.1]:65536", "[127.0.0.1]:24x", "[::1]24", "a b", "inet:127.0.0.1:24",
		"inet:name", "name:", "name:0", "name:65536", "name:lmtp", ":24", "name:24:25", "lmtp:unix:/x", "a@b", "a,b", "2001:db8::1:x", "a/b", "/run/lmtp",
		("UNIX:/0123456789012345678901234567890123456789012345678901234567890123456789012345678901234567890123456789"
		"012345678901234567890"),
	};

	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		struct buf why = { 0 };

		assert_null(target_create(rows[i], 2003, &why));
		assert_true(why.len > 0);
		buf_free(&why);
	}
}

static void the_longest_path_of_a_socket_is_whole(void **state)
{
	struct sockaddr_un un;
	char text[5 + sizeof un.sun_path] = "UNIX:/";
	struct buf why = { 0 };
	struct addresses *a;
	struct target *t;

	(void)state;
	memset(text + 6, 'x', sizeof un.sun_path - 2);
	t = target_create(text, 0, &why);
	assert_non_null(t);
	a = target_addresses(t);
	assert_string_equal(((struct sockaddr_un *)&a->list[0])->sun_path, text + 5);
	addresses_release(&a);
	target_destroy(&t);
}

static void literals_and_sockets_resolve_to_one_address(void **state)
{
	static const struct { const char *text; int family; const char *address; bool local; } rows[] = {
		{ "UNIX:/x", AF_UNIX, NULL, true },
		{ "[127.0.0.1]", AF_INET, "127.0.0.1|2003", true },
		{ "[127.9.9.9]:5", AF_INET, "127.9.9.9|5", true },
		{ "[::1]", AF_INET6, "ipv6 ::1|2003", true },
		{ "[192.0.2.1]", AF_INET, "192.0.2.1|2003", false },
		{ "[2001:db8::1]", AF_INET6, "ipv6 2001:db8::1|2003", false },
	};

	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		struct buf why = { 0 }, text = { 0 };
		struct target *t = target_create(rows[i].text, 2003, &why);
		struct addresses *a = target_addresses(t), *again = target_addresses(t);

		assert_ptr_equal(a, again);
		assert_int_equal(a->state, ADDRESSES_FOUND);
		assert_int_equal(a->count, 1);
		assert_int_equal(a->list[0].ss_family, rows[i].family);
		if (rows[i].address != NULL) {
			target_format_address((struct sockaddr *)&a->list[0], a->lengths[0], &text);
			assert_string_equal(text.data, rows[i].address);
		}
		assert_int_equal(address_is_local((struct sockaddr *)&a->list[0]), rows[i].local);
		addresses_release(&a);
		addresses_release(&again);
		target_destroy(&t);
		buf_free(&text);
		buf_free(&why);
	}
}

/* Two sessions connect; one fails, and the next attempt looks the name up again. */
static void addresses_that_are_forgotten_stay_with_those_who_use_them(void **state)
{
	struct buf why = { 0 };
	struct target *t = target_create("[127.0.0.1]", 2003, &why);
	struct addresses *first = target_addresses(t), *second = target_addresses(t), *third;

	(void)state;
	target_forget(t, first);
	addresses_release(&first);
	assert_int_equal(second->count, 1);
	assert_int_equal(second->list[0].ss_family, AF_INET);
	third = target_addresses(t);
	assert_ptr_not_equal(third, second);
	/* what was looked up since is not forgotten for the failure of those before */
	target_forget(t, second);
	assert_ptr_equal(t->addresses, third);
	addresses_release(&second);
	addresses_release(&third);
	target_destroy(&t);
}

/* Waits as a loop does. */
static struct addresses *resolve(struct target *t)
{
	struct addresses *a = target_addresses(t);

	while (addresses_look(a, t->name) == ADDRESSES_WANTED) {
		struct pollfd p = { .fd = a->fd, .events = POLLIN };

		assert_int_equal(poll(&p, 1, 30000), 1);
	}
	return a;
}

static void names_resolve_to_all_their_addresses_in_turn(void **state)
{
	struct buf why = { 0 };
	struct target *t;
	struct addresses *a;

	(void)state;
	if (gethostbyname("localhost") == NULL) {
		print_message("# localhost is no name here: there is no hosts file, and no name server knows it\n");
		return;
	}
	t = target_create("localhost", 2003, &why);
	a = resolve(t);
	assert_int_equal(a->state, ADDRESSES_FOUND);
	assert_true(a->count >= 1);
	for (size_t i = 0; i < a->count; i++)
		assert_true(address_is_local((struct sockaddr *)&a->list[i]));
	for (size_t i = 2; i < a->count; i++)
		assert_true(a->list[i].ss_family != a->list[i - 1].ss_family ||
		            a->list[i].ss_family == a->list[a->count - 1].ss_family);
	addresses_release(&a);
	target_destroy(&t);
	buf_free(&why);
}

/* A name with an empty label is refused by every resolver before it asks anybody. */
static void a_name_without_address_is_told_in_words(void **state)
{
	struct buf why = { 0 };
	struct target *t = target_create("a..b", 2003, &why);
	struct addresses *a;

	(void)state;
	assert_non_null(t);
	a = resolve(t);
	assert_int_equal(a->state, ADDRESSES_FAILED);
	assert_non_null(strstr(buf_str(&a->why), "a..b"));
	addresses_release(&a);
	target_destroy(&t);
	buf_free(&why);
}

static void a_lookup_that_nobody_waits_for_any_more_ends(void **state)
{
	struct buf why = { 0 };
	struct target *t = target_create("localhost", 2003, &why);
	struct addresses *a = target_addresses(t);
	pid_t child = a->child;

	(void)state;
	assert_true(child > 0);
	addresses_release(&a);
	target_destroy(&t);
	assert_int_equal(kill(child, 0), -1);
	assert_int_equal(errno, ESRCH);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(targets_are_taken_apart),
		cmocka_unit_test(what_can_be_no_target_is_refused_in_words),
		cmocka_unit_test(the_longest_path_of_a_socket_is_whole),
		cmocka_unit_test(literals_and_sockets_resolve_to_one_address),
		cmocka_unit_test(addresses_that_are_forgotten_stay_with_those_who_use_them),
		cmocka_unit_test(names_resolve_to_all_their_addresses_in_turn),
		cmocka_unit_test(a_name_without_address_is_told_in_words),
		cmocka_unit_test(a_lookup_that_nobody_waits_for_any_more_ends),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
