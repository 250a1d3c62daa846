#include "tests/unit/unit.h"

#include "db/grammar/members.h"

static struct pool pool;

/* Reads a list and shows its members as "local@domain" or "|command" or "/file", with blanks between. */
static void list(const char *value, const char *expect)
{
	struct member *members;
	struct buf shown = { 0 };
	const char *why;
	size_t count, offset;

	if (!members_parse(&pool, value, strlen(value), ADDRESS_PLAIN, &members, &count, &offset, &why))
		fail_msg("%s: at %zu: %s", value, offset, why);
	for (size_t i = 0; i < count; i++) {
		if (i > 0)
			buf_addc(&shown, ' ');
		if (members[i].kind == MEMBER_ADDRESS)
			address_add(&shown, members[i].address.local, NULL, members[i].address.domain);
		else
			buf_adds(&shown, members[i].text);
	}
	assert_string_equal(buf_str(&shown), expect);
	buf_free(&shown);
}

static void refused(const char *value, size_t where)
{
	struct member *members;
	const char *why = NULL;
	size_t count, offset;

	if (members_parse(&pool, value, strlen(value), ADDRESS_PLAIN, &members, &count, &offset, &why))
		fail_msg("%s: taken", value);
	if (offset != where)
		fail_msg("%s: at %zu, not %zu: %s", value, offset, where, why);
}

static void mailboxes_of_all_kinds_are_read(void **state)
{
	(void)state;
	list("a@x.test", "a@x.test");
	list("a@x.test, b@y.test ,c", "a@x.test b@y.test c");
	list("\"Full Name\" <u@r.test> (note)", "u@r.test");
	list("Full Name (nick (nested)) <u@r.test>, b@y.test", "u@r.test b@y.test");
	list("(comment) a @ x . test (comment)", "a@x.test");
	list("\"with, comma\"@x.test", "\"with, comma\"@x.test");
	list("<@a.test,@b.test:u@c.test>", "u@c.test");
	list("u@[192.0.2.1]", "u@[192.0.2.1]");
	list("\\joe, joe+x", "joe joe+x");
}

static void commas_too_many_and_blank_lines_are_forgiven(void **state)
{
	(void)state;
	list("", "");
	list(" , ,", "");
	list("a@x.test,,b@y.test,", "a@x.test b@y.test");
	list("a@x.test\n# note, no member\n\n b@y.test\n", "a@x.test b@y.test");
}

static void groups_are_their_members(void **state)
{
	(void)state;
	list("Team: a@x.test, b@y.test;, c@z.test", "a@x.test b@y.test c@z.test");
	list("Nobody at all:;", "");
}

static void commands_and_files_are_told_apart_from_addresses(void **state)
{
	(void)state;
	list("\"|/bin/cat -n\", /var/tmp/x, \"/var/tmp/with blank\"", "|/bin/cat -n /var/tmp/x /var/tmp/with blank");
	list("\"|not a command\"@x.test", "\"|not a command\"@x.test");
	list("/O=x/S=y/@gw.test", "/O=x/S=y/@gw.test");
}

static void damage_is_told_with_its_place(void **state)
{
	(void)state;
	refused("ok@r.test, bogus@@x", 11);
	refused("a@x.test b@y.test", 0);
	refused("a b", 0);
	refused("a@x.test, <u v@y.test>", 10);
	refused("a@x.test; b@y.test", 8);
	refused("a@x.test, \"open", 10);
	refused("a@x.test (open", 9);
	refused("Name <u@x.test", 5);
	refused("Name <u@x.test> more", 16);
	refused("<>", 0);
	refused("a@", 0);
	refused("@x.test", 0);
	refused("|/bin/cat", 0);
	refused(":include:/etc/list", 0);
	refused("\":include:/etc/list\"", 0);
	refused("smtp-lmtp!node!user", 0);
	refused("Group: a@x.test", 15);
	refused("a: b: c;", 4);
	refused("a@x.test, b\001c", 11);
	refused("u@[1.2.3.4", 2);
	refused("first@x.test\nsecond@@y.test", 13);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(mailboxes_of_all_kinds_are_read),
		cmocka_unit_test(commas_too_many_and_blank_lines_are_forgiven),
		cmocka_unit_test(groups_are_their_members),
		cmocka_unit_test(commands_and_files_are_told_apart_from_addresses),
		cmocka_unit_test(damage_is_told_with_its_place),
	};
	int failed = cmocka_run_group_tests(tests, NULL, NULL);

	pool_free(&pool);
	return failed;
}
