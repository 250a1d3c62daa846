#include "tests/unit/unit.h"

#include "db/sync/cookie.h"
#include "lib/settings.h"

static struct sync_rule rule = { .name = (char[]){ "accounts" }, .definition = (char[]){ "base=x;\nfilter=y" } };
static const struct sync_uuid uuid = { { 0x00, 0x01, 0xab, 0xff, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15 } };

static void cookies_come_back_for_the_same_rule_only(void **state)
{
	struct sync_rule other = { .name = (char[]){ "accounts" }, .definition = (char[]){ "base=x;\nfilter=z" } };
	struct sync_rule longer = { .name = (char[]){ "accounts" }, .definition = (char[]){ "base=x;\nfilter=yy" } };
	struct buf note = { 0 }, cookie = { 0 }, back = { 0 };

	(void)state;
	buf_add(&cookie, "c\0o\nk", 5);
	cookie_encode(&note, &rule, &cookie);
	assert_true(cookie_decode(note.data, note.len, &rule, &back));
	assert_int_equal(back.len, 5);
	assert_memory_equal(back.data, cookie.data, 5);
	assert_false(cookie_decode(note.data, note.len, &other, &back));
	assert_false(cookie_decode(note.data, note.len, &longer, &back));
	for (size_t n = 0; n < note.len - 5; n++) {
		assert_false(cookie_decode(note.data, n, &rule, &back));
		assert_false(cookie_decode_any(note.data, n, &back));
	}
	/* how far the map has come, it says in any case */
	buf_clear(&back);
	assert_true(cookie_decode_any(note.data, note.len, &back));
	assert_true(buf_equal(&back, &cookie));
	/* a note without a cookie in it */
	assert_false(cookie_decode(note.data, note.len - 5, &rule, &back));
	assert_false(cookie_decode_any(note.data, note.len - 5, &back));
	buf_free(&note);
	buf_free(&cookie);
	buf_free(&back);
}

static void names_tell_rule_and_entry(void **state)
{
	struct buf name = { 0 };
	struct sync_uuid back;
	const char *found;
	size_t n;

	(void)state;
	entry_name(&name, &rule, &uuid);
	assert_string_equal(buf_str(&name), "ldapsync-entry-accounts-0001abff0405060708090a0b0c0d0e0f");
	assert_int_equal(note_parse(name.data, name.len, &found, &n, &back), NOTE_ENTRY);
	assert_int_equal(n, 8);
	assert_memory_equal(found, "accounts", 8);
	assert_memory_equal(back.bytes, uuid.bytes, SYNC_UUID);
	buf_clear(&name);
	cookie_name(&name, &rule);
	assert_int_equal(note_parse(name.data, name.len, &found, &n, &back), NOTE_COOKIE);
	assert_memory_equal(found, "accounts", n);
	buf_free(&name);
}

static void other_names_are_neither(void **state)
{
	static const char *const names[] = {
		"", "ldapsync-", "ldapsync-entry-", "ldapsync-entry-0001abff0405060708090a0b0c0d0e0f", "ldapsync-cookie-",
		"ldapsync-entry--0001abff0405060708090a0b0c0d0e0f", "ldapsync-entry-a-0001abff0405060708090a0b0c0d0e0", "ldapsync-entry-a-0001ABff0405060708090a0b0c0d0e0f",
		"ldapsync-entry-a_0001abff0405060708090a0b0c0d0e0f", "ldapsync-domain", "other",
	};
	struct sync_uuid back;
	const char *found;
	size_t n;

	(void)state;
	for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
		assert_int_equal(note_parse(names[i], strlen(names[i]), &found, &n, &back), NOTE_OTHER);
	assert_int_equal(note_parse("ldapsync-domains", 16, &found, &n, &back), NOTE_DOMAINS);
}

static void entries_come_back(void **state)
{
	struct wanted records[] = { { (char[]){ "a@b" }, (char[]){ "x\"%2 +?@" } }, { (char[]){ "c@d" }, NULL }, { (char[]){ "e" }, (char[]){ "" } } };
	char *domains[] = { (char[]){ "b" }, (char[]){ "d" }, NULL };
	struct yield yield = { .records = records, .count = 3, .domains = domains, .version = 0xfedcba9876543210 }, back;
	struct buf note = { 0 };
	char *dn;

	(void)state;
	entry_encode(&note, "cn=x\ny,o=z", &yield);
	assert_string_equal(buf_str(&note), "cn=x y,o=z\n+a@b\tx\"%2 +?@\n?c@d\n+e\t\n@b\n@d\n#fedcba9876543210\n");
	assert_true(entry_decode(note.data, note.len, &dn, &back));
	assert_string_equal(dn, "cn=x y,o=z");
	assert_int_equal(back.count, 3);
	assert_string_equal(back.records[0].value, "x\"%2 +?@");
	assert_null(back.records[1].value);
	assert_string_equal(back.records[2].value, "");
	assert_string_equal(back.domains[1], "d");
	assert_null(back.domains[2]);
	assert_true(back.version == yield.version);
	yield_free(&back);
	free(dn);
	/* an entry that wants nothing is an entry, too */
	assert_true(entry_decode("cn=x\n", 5, &dn, &back));
	assert_int_equal(back.count, 0);
	free(dn);
	buf_free(&note);
}

static struct buf text(const char *s)
{
	struct buf b = { 0 };

	buf_adds(&b, s);
	return b;
}

#define CSN(seconds, server) "202601010000" seconds ".000000Z#000000#" server "#000000"

/* With sid= of the first server, the second one held back what was changed at the first. */
static void another_server_is_not_told_whose_cookie_it_was(void **state)
{
	static const struct { const char *cookie, *sent, *provider; } cases[] = {
		{ "rid=123,sid=001,csn=" CSN("01", "001"), "rid=000,csn=" CSN("01", "001"), "001" },
		{ "rid=123,csn=" CSN("01", "000"), "rid=000,csn=" CSN("01", "000"), "" },
		{ "sid=00a,rid=000,csn=" CSN("01", "001") ";" CSN("02", "002"), "rid=000,csn=" CSN("01", "001") ";" CSN("02", "002"), "00a" },
		{ "rid=000", NULL, "" }, { "ldap://x:389#cn=y#17", NULL, "" }, { "", NULL, "" }, { "csn", NULL, "" }, { "rid=1,x=2,csn=3", NULL, "" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		struct buf cookie = text(cases[i].cookie), sent = { 0 }, sid = { 0 };

		assert_int_equal(cookie_for_others(&cookie, &sent), cases[i].sent != NULL);
		assert_string_equal(buf_str(&sent), cases[i].sent != NULL ? cases[i].sent : "");
		cookie_provider(&cookie, &sid);
		assert_string_equal(buf_str(&sid), cases[i].provider);
		buf_free(&cookie);
		buf_free(&sent);
		buf_free(&sid);
	}
}

static void a_change_at_one_server_leaves_what_is_known_of_the_others(void **state)
{
	struct buf cookie = text("rid=000,sid=001,csn=" CSN("01", "001") ";" CSN("05", "002"));
	struct buf newer = text("rid=000,sid=001,csn=" CSN("07", "001")), back = text("rid=000,sid=002,csn=" CSN("03", "002"));
	struct buf other = text("7"), damaged = text("rid=000,csn=x#;#");

	(void)state;
	assert_false(cookie_went_back(&cookie, &newer));
	cookie_take(&cookie, &newer);
	assert_string_equal(buf_str(&cookie), "rid=000,sid=001,csn=" CSN("07", "001") ";" CSN("05", "002"));
	assert_true(cookie_went_back(&cookie, &back));
	assert_false(cookie_went_back(&cookie, &other));
	assert_false(cookie_went_back(&cookie, &damaged));
	assert_false(cookie_went_back(&damaged, &cookie));
	cookie_take(&cookie, &other);
	assert_string_equal(buf_str(&cookie), "7");
	buf_free(&cookie);
	buf_free(&newer);
	buf_free(&back);
	buf_free(&other);
	buf_free(&damaged);
}

/* slapd complains of a newer cookie only where neither side has a serverID. */
static void a_server_lags_that_lacks_what_the_map_has_of_any_other(void **state)
{
	static const struct { const char *map, *server; enum cookie_state state; } cases[] = {
		{ "rid=000,sid=001,csn=" CSN("05", "001"), "rid=000,sid=002,csn=" CSN("05", "001"), COOKIE_CURRENT },
		{ "rid=000,sid=001,csn=" CSN("05", "001"), "rid=000,sid=002,csn=" CSN("05", "001") ";" CSN("07", "002"), COOKIE_CURRENT },
		{ "rid=000,sid=001,csn=" CSN("05", "001"), "rid=000,csn=" CSN("04", "001") ";" CSN("07", "002"), COOKIE_LAGS },
		{ "rid=000,sid=001,csn=" CSN("05", "001") ";" CSN("01", "002"), "rid=000,csn=" CSN("09", "001"), COOKIE_LAGS },
		{ "rid=000,csn=" CSN("05", "000"), "rid=000,csn=" CSN("05", "000"), COOKIE_CURRENT },
		{ "rid=000,csn=" CSN("05", "000"), "rid=000,csn=" CSN("09", "001"), COOKIE_LAGS },
		{ "rid=000,csn=" CSN("05", "000"), "", COOKIE_UNKNOWN }, { "rid=000,csn=" CSN("05", "000"), "rid=000", COOKIE_UNKNOWN },
		{ "rid=000,csn=" CSN("05", "000"), "ldap://x:389#cn=y#17", COOKIE_UNKNOWN }, { "17", "17", COOKIE_UNKNOWN },
		{ "", "rid=000,csn=" CSN("05", "000"), COOKIE_UNKNOWN },
	};

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		struct buf map = text(cases[i].map), server = text(cases[i].server);

		assert_int_equal(cookie_state(&map, &server), cases[i].state);
		buf_free(&map);
		buf_free(&server);
	}
}

static void damaged_entries_are_refused(void **state)
{
	static const char *const notes[] = {
		"", "cn=x", "cn=x\n+a\tb", "cn=x\n\n", "cn=x\n+a\n", "cn=x\n+\tb\n", "cn=x\n?a\tb\n", "cn=x\nx\n", "cn=x\n+\n", "cn=x\n@a\tb\n", "cn=x\n?\n",
	};

	(void)state;
	for (size_t i = 0; i < sizeof notes / sizeof notes[0]; i++) {
		struct yield back;
		char *dn;

		assert_false(entry_decode(notes[i], strlen(notes[i]), &dn, &back));
		yield_free(&back);
		free(dn);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(cookies_come_back_for_the_same_rule_only),
		cmocka_unit_test(names_tell_rule_and_entry),
		cmocka_unit_test(other_names_are_neither),
		cmocka_unit_test(entries_come_back),
		cmocka_unit_test(another_server_is_not_told_whose_cookie_it_was),
		cmocka_unit_test(a_change_at_one_server_leaves_what_is_known_of_the_others),
		cmocka_unit_test(a_server_lags_that_lacks_what_the_map_has_of_any_other),
		cmocka_unit_test(damaged_entries_are_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
