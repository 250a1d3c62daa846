#include "tests/unit/unit.h"

#include <ldap.h>

#include "db/sync/rfc4533.h"

/* What the sink was told, as text: "+1" put, "=1" keep, "-1" drop, "!" drop the rest, "C(cookie)" commit, "R" rollback. */
static struct buf told;
static struct rfc4533 machine;
static struct buf why;

static void tell_put(void *context, const struct sync_uuid *uuid, void *entry)
{
	assert_ptr_equal(context, &told);
	assert_ptr_equal(entry, &machine);
	buf_addf(&told, "+%d", uuid->bytes[0]);
}

static void tell_keep(void *context, const struct sync_uuid *uuid)
{
	(void)context;
	buf_addf(&told, "=%d", uuid->bytes[0]);
}

static void tell_drop(void *context, const struct sync_uuid *uuid)
{
	(void)context;
	buf_addf(&told, "-%d", uuid->bytes[0]);
}

static void tell_drop_rest(void *context)
{
	(void)context;
	buf_adds(&told, "!");
}

static void tell_commit(void *context, const struct buf *cookie)
{
	(void)context;
	buf_addf(&told, "C(%s)", buf_str(cookie));
}

static void tell_rollback(void *context)
{
	(void)context;
	buf_adds(&told, "R");
}

static const struct sync_sink sink = {
	tell_put, tell_keep, tell_drop, tell_drop_rest, tell_commit, tell_rollback, &told,
};

static struct buf text(const char *s)
{
	struct buf b = { 0 };

	buf_adds(&b, s);
	return b;
}

/*
 * Plays a script, one word per message, and returns the last verdict:
 *   a1 m1 d1 p1      entry with state add, modify, delete, present; "a1:c" with cookie c
 *   N:c              newcookie
 *   D D:c Dn         refreshDelete, done or not; with cookie
 *   P P:c Pn         refreshPresent
 *   S12:c  T12       syncIdSet of entries 1 and 2: present; T: deleted
 *   F0:c F1          result: success, refreshDeletes false or true
 *   Q Q:c            e-syncRefreshRequired
 *   E53              any other result code
 *   L                lost
 */
static enum sync_verdict one(const char *word, size_t n)
{
	const char *colon = memchr(word, ':', n);
	char cookie[20] = "";
	struct buf c = { 0 };
	enum sync_verdict verdict = SYNC_GO_ON;

	if (colon != NULL)
		snprintf(cookie, sizeof cookie, "%.*s", (int)(word + n - colon - 1), colon + 1);
	c = text(cookie);
	if (strchr("amdp", word[0]) != NULL) {
		static const char states[] = { 'p', 'a', 'm', 'd' };
		struct sync_state_value s = { .cookie = c, .uuid = { { (unsigned char)(word[1] - '0') } } };

		for (size_t i = 0; i < 4; i++)
			if (states[i] == word[0])
				s.state = (enum sync_state)i;
		verdict = rfc4533_entry(&machine, &s, &machine, &why);
	} else if (strchr("NDPST", word[0]) != NULL) {
		struct sync_uuid uuids[9] = { 0 };
		struct sync_info_value i = { .cookie = c, .refresh_done = n < 2 || word[1] != 'n', .uuids = uuids,
		                             .refresh_deletes = word[0] == 'T' };

		i.kind = word[0] == 'N' ? SYNC_NEW_COOKIE : word[0] == 'D' ? SYNC_INFO_REFRESH_DELETE
		       : word[0] == 'P' ? SYNC_INFO_REFRESH_PRESENT : SYNC_ID_SET;
		for (const char *p = word + 1; i.kind == SYNC_ID_SET && p < word + n && *p != ':'; p++)
			uuids[i.count++].bytes[0] = (unsigned char)(*p - '0');
		verdict = rfc4533_info(&machine, &i, &why);
	} else if (word[0] == 'L') {
		rfc4533_lost(&machine);
	} else {
		struct sync_done_value d = { .cookie = c, .refresh_deletes = word[0] == 'F' && word[1] == '1' };
		int code = word[0] == 'F' ? LDAP_SUCCESS : word[0] == 'Q' ? LDAP_SYNC_REFRESH_REQUIRED : atoi(word + 1);

		verdict = rfc4533_done(&machine, code, &d, &why);
	}
	buf_free(&c);
	return verdict;
}

static enum sync_verdict play(enum sync_mode mode, bool had_cookie, const char *script)
{
	enum sync_verdict verdict = SYNC_GO_ON;

	buf_clear(&told);
	buf_clear(&why);
	rfc4533_start(&machine, &sink, mode, had_cookie);
	while (*script != '\0' && verdict == SYNC_GO_ON) {
		size_t n = strcspn(script, " ");

		verdict = one(script, n);
		script += n + strspn(script + n, " ");
	}
	assert_string_equal(script, "");
	rfc4533_free(&machine);
	return verdict;
}

struct row {
	const char *script;
	enum sync_verdict verdict;
	const char *told;
};

static void check(enum sync_mode mode, bool had_cookie, const struct row *rows, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		enum sync_verdict verdict = play(mode, had_cookie, rows[i].script);

		if (verdict != rows[i].verdict || strcmp(buf_str(&told), rows[i].told) != 0)
			fail_msg("%s: verdict %d, %s; expected %d, %s", rows[i].script, (int)verdict, buf_str(&told), (int)rows[i].verdict,
			         rows[i].told);
	}
}

#define CHECK(mode, had_cookie, rows) check(mode, had_cookie, rows, sizeof rows / sizeof rows[0])

static void a_first_poll_replaces_everything(void **state)
{
	static const struct row rows[] = {
		{ "F0:c", SYNC_FINISHED, "!C(c)" },
		{ "a1 a2 F0:c", SYNC_FINISHED, "+1+2!C(c)" },
		/* some servers say that only deleted entries were named; asked for everything, what did not come is not there */
		{ "a1 a2 F1:c", SYNC_FINISHED, "+1+2!C(c)" },
		{ "a1 F0", SYNC_FINISHED, "+1!C()" },
	};

	(void)state;
	CHECK(SYNC_REFRESH_ONLY, false, rows);
}

static void a_later_poll_has_a_present_phase_or_a_delete_phase_or_both(void **state)
{
	static const struct row rows[] = {
		{ "a1 p2 S34 F0:c", SYNC_FINISHED, "+1=2=3=4!C(c)" },
		{ "a1 d2 T34 F1:c", SYNC_FINISHED, "+1-2-3-4C(c)" },
		{ "F1", SYNC_FINISHED, "C()" },
		{ "F0:c", SYNC_FINISHED, "!C(c)" },
		{ "p1 Pn d2 F1:c", SYNC_FINISHED, "=1!-2C(c)" },
		{ "S1 a2 Pn:x a3 T4 F1:c", SYNC_FINISHED, "=1+2!+3-4C(c)" },
		{ "a1 S:x F0", SYNC_FINISHED, "+1!C(x)" },
	};

	(void)state;
	CHECK(SYNC_REFRESH_ONLY, true, rows);
}

static void cookies_of_an_unfinished_refresh_do_not_count(void **state)
{
	static const struct row rows[] = {
		{ "a1:x S2:y N:z L", SYNC_GO_ON, "+1=2R" },
		{ "a1:x S2:y F0:c", SYNC_FINISHED, "+1=2!C(c)" },
		{ "a1 E51", SYNC_FAILED, "+1R" },
		{ "T1:x E80", SYNC_FAILED, "-1R" },
	};

	(void)state;
	CHECK(SYNC_REFRESH_ONLY, true, rows);
}

static void who_stays_hears_of_every_change(void **state)
{
	static const struct row rows[] = {
		{ "a1 P:c", SYNC_GO_ON, "+1!C(c)" },
		{ "a1 P:c a2:d m1:e d2:f", SYNC_GO_ON, "+1!C(c)+2C(d)+1C(e)-2C(f)" },
		{ "P:c T12:d N:e", SYNC_GO_ON, "!C(c)-1-2C(d)C(e)" },
		{ "P:c a1", SYNC_GO_ON, "!C(c)+1C()" },
		{ "P:c L", SYNC_GO_ON, "!C(c)" },
		{ "a1 L", SYNC_GO_ON, "+1R" },
	};

	(void)state;
	CHECK(SYNC_REFRESH_AND_PERSIST, false, rows);
}

static void who_stays_and_has_a_cookie(void **state)
{
	static const struct row rows[] = {
		{ "D", SYNC_GO_ON, "C()" },
		{ "D:c", SYNC_GO_ON, "C(c)" },
		{ "T1 a2 D:c a3:d", SYNC_GO_ON, "-1+2C(c)+3C(d)" },
		{ "S1 a2 P:c", SYNC_GO_ON, "=1+2!C(c)" },
		{ "S1 Pn T2 D:c", SYNC_GO_ON, "=1!-2C(c)" },
		/* a server that does not stay */
		{ "S1 F0:c", SYNC_FINISHED, "=1!C(c)" },
		{ "D:c F0:d", SYNC_AGAIN, "C(c)C(d)" },
		{ "D:c E52", SYNC_AGAIN, "C(c)" },
	};

	(void)state;
	CHECK(SYNC_REFRESH_AND_PERSIST, true, rows);
}

static void a_server_can_ask_for_a_fresh_start(void **state)
{
	static const struct row with_cookie[] = {
		{ "Q", SYNC_RELOAD, "R" },
		{ "a1 S2 Q", SYNC_RELOAD, "+1=2R" },
		{ "D:c a1:d Q", SYNC_RELOAD, "C(c)+1C(d)" },
		/* what came and the cookie, or neither: not the cookie alone */
		{ "a1 Q:n", SYNC_AGAIN, "+1C(n)" },
		{ "D:c Q:n", SYNC_AGAIN, "C(c)C(n)" },
		{ "E53", SYNC_BEHIND, "R" },
	};
	static const struct row without[] = {
		{ "Q", SYNC_FAILED, "R" },
		{ "E53", SYNC_FAILED, "R" },
		{ "E32", SYNC_FAILED, "R" },
	};

	(void)state;
	CHECK(SYNC_REFRESH_AND_PERSIST, true, with_cookie);
	CHECK(SYNC_REFRESH_AND_PERSIST, false, without);
}

static void a_server_that_breaks_the_rules_is_not_believed(void **state)
{
	static const struct row rows[] = {
		{ "p1 d2", SYNC_RELOAD, "=1R" },
		{ "d1 p2", SYNC_RELOAD, "-1R" },
		{ "S1 T2", SYNC_RELOAD, "=1R" },
		{ "T1 S2", SYNC_RELOAD, "-1R" },
		{ "S1 D", SYNC_RELOAD, "=1R" },
		{ "T1 P", SYNC_RELOAD, "-1R" },
		{ "Pn P", SYNC_RELOAD, "!R" },
		{ "S1 F1", SYNC_RELOAD, "=1R" },
		{ "T1 F0", SYNC_RELOAD, "-1R" },
		{ "D p1", SYNC_RELOAD, "C()" },
		{ "D S1", SYNC_RELOAD, "C()" },
		{ "D P", SYNC_RELOAD, "C()" },
		{ "D D", SYNC_RELOAD, "C()" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		assert_int_equal(play(SYNC_REFRESH_AND_PERSIST, true, rows[i].script), rows[i].verdict);
		assert_string_equal(buf_str(&told), rows[i].told);
		assert_non_null(strstr(buf_str(&why), "broke the protocol"));
		/* without a cookie there is nothing better to start from */
		assert_int_equal(play(SYNC_REFRESH_AND_PERSIST, false, rows[i].script), SYNC_FAILED);
	}
}

static void nothing_counts_after_the_end(void **state)
{
	struct sync_state_value s = { .state = SYNC_ADD };
	struct sync_info_value i = { .kind = SYNC_NEW_COOKIE };
	struct sync_done_value d = { 0 };

	(void)state;
	assert_int_equal(play(SYNC_REFRESH_ONLY, true, "F1:c"), SYNC_FINISHED);
	buf_clear(&told);
	assert_int_equal(rfc4533_entry(&machine, &s, &machine, &why), SYNC_FAILED);
	assert_int_equal(rfc4533_info(&machine, &i, &why), SYNC_FAILED);
	assert_int_equal(rfc4533_done(&machine, 0, &d, &why), SYNC_FAILED);
	rfc4533_lost(&machine);
	assert_string_equal(buf_str(&told), "");
	assert_false(rfc4533_is_refreshing(&machine));
}

/* Every script of up to four messages: a commit is never followed by a rollback, and an unfinished refresh never commits. */
static void no_order_of_messages_can_confuse_it(void **state)
{
	static const char *const words[] = { "a1", "p1", "d1", "N:c", "D", "Dn", "P", "Pn", "S1", "T1", "F0", "F1", "Q", "E1", "L" };
	enum { WORDS = sizeof words / sizeof words[0] };

	(void)state;
	for (unsigned i = 0; i < WORDS * WORDS * WORDS * WORDS; i++) {
		const unsigned picks[] = { i % WORDS, i / WORDS % WORDS, i / WORDS / WORDS % WORDS, i / WORDS / WORDS / WORDS };

		buf_clear(&told);
		buf_clear(&why);
		rfc4533_start(&machine, &sink, SYNC_REFRESH_AND_PERSIST, i % 2 == 0);
		for (size_t k = 0; k < 4; k++) {
			const bool refreshing = rfc4533_is_refreshing(&machine), ended = machine.phase == SYNC_ENDED;
			const size_t before = told.len;

			one(words[picks[k]], strlen(words[picks[k]]));
			if (ended)
				assert_int_equal(told.len, before);
			/* what commits in the refresh stage ends it */
			if (refreshing && memchr(told.data + before, 'C', told.len - before) != NULL)
				assert_false(rfc4533_is_refreshing(&machine));
			if (!refreshing)
				assert_null(memchr(buf_str(&told) + before, 'R', told.len - before));
		}
		rfc4533_free(&machine);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_first_poll_replaces_everything),
		cmocka_unit_test(a_later_poll_has_a_present_phase_or_a_delete_phase_or_both),
		cmocka_unit_test(cookies_of_an_unfinished_refresh_do_not_count),
		cmocka_unit_test(who_stays_hears_of_every_change),
		cmocka_unit_test(who_stays_and_has_a_cookie),
		cmocka_unit_test(a_server_can_ask_for_a_fresh_start),
		cmocka_unit_test(a_server_that_breaks_the_rules_is_not_believed),
		cmocka_unit_test(nothing_counts_after_the_end),
		cmocka_unit_test(no_order_of_messages_can_confuse_it),
	};
	int failed = cmocka_run_group_tests(tests, NULL, NULL);

	buf_free(&told);
	buf_free(&why);
	return failed;
}
