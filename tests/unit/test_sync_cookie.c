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
	for (size_t n = 0; n < note.len - 5; n++)
		assert_false(cookie_decode(note.data, n, &rule, &back));
	/* a note without a cookie in it */
	assert_false(cookie_decode(note.data, note.len - 5, &rule, &back));
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
	struct yield yield = { records, 3, domains }, back;
	struct buf note = { 0 };
	char *dn;

	(void)state;
	entry_encode(&note, "cn=x\ny,o=z", &yield);
	assert_string_equal(buf_str(&note), "cn=x y,o=z\n+a@b\tx\"%2 +?@\n?c@d\n+e\t\n@b\n@d\n");
	assert_true(entry_decode(note.data, note.len, &dn, &back));
	assert_string_equal(dn, "cn=x y,o=z");
	assert_int_equal(back.count, 3);
	assert_string_equal(back.records[0].value, "x\"%2 +?@");
	assert_null(back.records[1].value);
	assert_string_equal(back.records[2].value, "");
	assert_string_equal(back.domains[1], "d");
	assert_null(back.domains[2]);
	yield_free(&back);
	free(dn);
	/* an entry that wants nothing is an entry, too */
	assert_true(entry_decode("cn=x\n", 5, &dn, &back));
	assert_int_equal(back.count, 0);
	free(dn);
	buf_free(&note);
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
		cmocka_unit_test(damaged_entries_are_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
