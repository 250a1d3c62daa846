#include "tests/unit/unit.h"

#include "config.h"
#include "db/route/lookup.h"
#include "db/route/relation.h"
#include "lib/alloc.h"

/* A map that knows "KEY=VALUE;" and writes down what it is asked. */
struct spy {
	const char *records;
	struct buf asked;
	unsigned lookups;
	bool fails;
	bool changed;
};

static enum map_answer find(struct map *map, const char *key, size_t length, struct buf *value)
{
	struct spy *s = map->state;
	const char *p = s->records;

	s->lookups++;
	buf_addf(&s->asked, "%s%s", s->asked.len > 0 ? " " : "", key);
	if (s->fails)
		return map_fail(map, "no luck");
	for (; *p != '\0'; p = strchr(p, ';') + 1) {
		if (strncmp(p, key, length) == 0 && p[length] == '=') {
			buf_add(value, p + length + 1, strcspn(p + length + 1, ";"));
			return MAP_FOUND;
		}
	}
	return MAP_NOT_FOUND;
}

static enum map_change changed(struct map *map)
{
	struct spy *s = map->state;
	bool was = s->changed;

	s->changed = false;
	return was ? MAP_REPLACED : MAP_SAME;
}

static bool open_again(struct map *map)
{
	(void)map;
	return true;
}

static void leave(struct map *map)
{
	(void)map;
}

static const struct map_operations spy_operations = {
	.type = "spy", .suffix = "", .open = open_again, .find = find, .changed = changed, .close = leave,
};

static void add(struct relation *r, struct spy *spy, const char *options)
{
	struct map *map = xcalloc(1, sizeof *map);
	struct lookup_options o;
	struct buf why = { 0 };
	char *config;

	if (!lookup_options_parse(options, &o, &config, &why))
		fail_msg("%s: %s", options, buf_str(&why));
	map->operations = &spy_operations;
	map->path = xstrdup("spy");
	map->provenance.source = map->path;
	map->is_open = true;
	map->state = spy;
	relation_add(r, map, &o);
}

static const char *const two_defaults[] = { ".:Recipient", "." };

/* Asks for `key` and expects these keys in this order; `value` and %0, or NULL for "not found". */
static void asks(const char *options, const char *records, const char *key, size_t defaults, enum question_keys which,
                 const char *keys, const char *value, const char *part)
{
	struct spy spy = { .records = records };
	struct relation *r = relation_create("test");
	struct question q = { .key = key, .defaults = two_defaults, .default_count = defaults, .keys = which };
	struct hit hit = { 0 };
	enum map_answer answer;

	add(r, &spy, options);
	answer = relation_find(r, &q, &hit, NULL, NULL);
	assert_string_equal(buf_str(&spy.asked), keys);
	assert_int_equal(answer, value != NULL ? MAP_FOUND : MAP_NOT_FOUND);
	if (value != NULL) {
		assert_string_equal(buf_str(&hit.value), value);
		assert_string_equal(buf_str(&hit.part), part);
	}
	hit_free(&hit);
	buf_free(&spy.asked);
	relation_destroy(&r);
}

static void without_a_driver_the_folded_key_and_then_the_defaults_are_asked(void **state)
{
	(void)state;
	asks("-l", "", "Foo.Bar", 0, QUESTION_ALL, "foo.bar", NULL, NULL);
	asks("-u", "", "Foo.Bar", 0, QUESTION_ALL, "FOO.BAR", NULL, NULL);
	asks("", "", "Foo.Bar", 0, QUESTION_ALL, "Foo.Bar", NULL, NULL);
	asks("-l", "", "foo", 2, QUESTION_ALL, "foo .:recipient .", NULL, NULL);
	asks("-l", "", "foo", 2, QUESTION_KEY, "foo", NULL, NULL);
	asks("-l", ".:recipient=x;", "foo", 2, QUESTION_DEFAULTS, ".:recipient", "x", "foo");
	asks("-l", "=x;", "", 2, QUESTION_ALL, "", NULL, NULL);
}

static void pathalias_asks_in_its_order(void **state)
{
	const char *all = "foo.bar.edu .foo.bar.edu .bar.edu .edu";

	(void)state;
	asks("-ld pathalias", "", "foo.bar.edu", 2, QUESTION_KEY, all, NULL, NULL);
	asks("-ld pathalias", "", "foo.bar.edu", 0, QUESTION_ALL, "foo.bar.edu .foo.bar.edu .bar.edu .edu .", NULL, NULL);
	asks("-ld pathalias", "", "foo.bar.edu", 2, QUESTION_ALL,
	     "foo.bar.edu .foo.bar.edu .bar.edu .edu .:recipient .", NULL, NULL);
	asks("-ld pathalias", ".=x;", "a.b", 2, QUESTION_ALL, "a.b .a.b .b .:recipient .", "x", "a.b");
}

static void the_part_that_pathalias_cut_off_has_no_dot(void **state)
{
	(void)state;
	asks("-ld pathalias", "a.b.c=x;", "a.b.c", 0, QUESTION_ALL, "a.b.c", "x", "a.b.c");
	asks("-ld pathalias", ".a.b.c=x;", "a.b.c", 0, QUESTION_ALL, "a.b.c .a.b.c", "x", "");
	asks("-ld pathalias", ".b.c=x;", "a.b.c", 0, QUESTION_ALL, "a.b.c .a.b.c .b.c", "x", "a");
	asks("-ld pathalias", ".c=x;", "a.b.c", 0, QUESTION_ALL, "a.b.c .a.b.c .b.c .c", "x", "a.b");
}

#if HAVE_IDN
#define BUECHER "b\xc3\xbc" "cher"

static void u_labels_and_a_labels_of_a_domain_find_each_other(void **state)
{
	(void)state;
	asks("-l", "xn--bcher-kva.test=x;", BUECHER ".Test", 0, QUESTION_ALL, BUECHER ".test xn--bcher-kva.test", "x",
	     BUECHER ".test");
	asks("-l", BUECHER ".test=x;", "XN--Bcher-kva.test", 0, QUESTION_ALL, "xn--bcher-kva.test " BUECHER ".test", "x",
	     "xn--bcher-kva.test");
	asks("-l", BUECHER ".test=x;", BUECHER ".test", 0, QUESTION_ALL, BUECHER ".test", "x", BUECHER ".test");
	asks("-u", "", BUECHER ".test", 0, QUESTION_ALL, "B\xc3\xbc" "CHER.TEST XN--BCHER-KVA.TEST", NULL, NULL);
	asks("-l", "", "\xc3\xa4@" BUECHER ".test:sender", 0, QUESTION_ALL,
	     "\xc3\xa4@" BUECHER ".test:sender \xc3\xa4@xn--bcher-kva.test:sender", NULL, NULL);
	asks("-ld pathalias", ".xn--bcher-kva.test=x;", "a." BUECHER ".test", 0, QUESTION_ALL, "a." BUECHER ".test "
	     "a.xn--bcher-kva.test .a." BUECHER ".test .a.xn--bcher-kva.test ." BUECHER ".test .xn--bcher-kva.test", "x", "a");
	/* capitals above ASCII are those of a domain's letters; what is no A-label means itself alone */
	asks("-l", "", "B\xc3\x9c" "CHER.test", 0, QUESTION_ALL, "b\xc3\x9c" "cher.test xn--bcher-kva.test " BUECHER ".test", NULL, NULL);
	asks("-l", "\xc3\x84@" BUECHER ".test=x;", "\xc3\x84@B\xc3\x9c" "CHER.test", 0, QUESTION_ALL,
	     "\xc3\x84@b\xc3\x9c" "cher.test \xc3\x84@xn--bcher-kva.test \xc3\x84@" BUECHER ".test", "x", "\xc3\x84@b\xc3\x9c" "cher.test");
	asks("-l", "", "xn--0.test", 0, QUESTION_ALL, "xn--0.test", NULL, NULL);
	asks("-l", "", "\xff.test", 0, QUESTION_ALL, "\xff.test", NULL, NULL);
	asks("-l", "", "a-b.test", 0, QUESTION_ALL, "a-b.test", NULL, NULL);
}
#endif

static void odd_keys_are_defined(void **state)
{
	(void)state;
	asks("-d pathalias", "", ".a.b", 2, QUESTION_KEY, ".a.b .b", NULL, NULL);
	asks("-d pathalias", "", "a.b.", 2, QUESTION_KEY, "a.b. .a.b. .b.", NULL, NULL);
	asks("-d pathalias", "", "a..b", 2, QUESTION_KEY, "a..b .a..b .b", NULL, NULL);
	asks("-d pathalias", "", ".", 2, QUESTION_KEY, ".", NULL, NULL);
}

static void the_other_drivers_ask_in_their_order(void **state)
{
	(void)state;
	asks("-d pathalias.nodot", "", "foo.bar.edu", 0, QUESTION_ALL, "bar.edu edu", NULL, NULL);
	asks("-d pathalias.nodot", "edu=x;", "foo.bar.edu", 0, QUESTION_ALL, "bar.edu edu", "x", "foo.bar");
	asks("-d pathalias.at", "", "u@a.b", 2, QUESTION_KEY, "u@a.b a.b .a.b .b", NULL, NULL);
	asks("-d pathalias.at", "", "u@", 2, QUESTION_ALL, "u@ @LOCAL@", NULL, NULL);
	asks("-ld pathalias.at", "@local@=x;", "u@", 2, QUESTION_ALL, "u@ @local@", "x", "u@");
	asks("-d pathalias.at", "", "a.b", 2, QUESTION_KEY, "a.b .a.b .b", NULL, NULL);
	asks("-d longestmatch", "", "foo.bar.edu", 0, QUESTION_ALL, "foo.bar.edu .bar.edu .edu .", NULL, NULL);
	asks("-d longestmatch", ".edu=x;", "foo.bar.edu", 0, QUESTION_ALL, "foo.bar.edu .bar.edu .edu", "x", "foo.bar");
}

static void longestmatch_narrows_networks(void **state)
{
	(void)state;
	asks("-d longestmatch", "1.2.3.12/30=x;", "1.2.3.13", 2, QUESTION_ALL, "1.2.3.13/32 1.2.3.12/31 1.2.3.12/30", "x",
	     "1.2.3.13");
	asks("-d longestmatch", "1.2.3.13/32=x;", "[1.2.3.13]", 2, QUESTION_ALL, "1.2.3.13/32", "x", "[1.2.3.13]");
	asks("-d longestmatch", "", "1.2.3.4.in-addr.arpa", 2, QUESTION_KEY,
	     "1.2.3.4.in-addr.arpa .2.3.4.in-addr.arpa .3.4.in-addr.arpa .4.in-addr.arpa .in-addr.arpa .arpa", NULL, NULL);
}

static void the_whole_net_is_the_last_one(void **state)
{
	struct spy spy = { .records = "0.0.0.0/0=all;" };
	struct relation *r = relation_create("test");
	struct question q = { .key = "255.1.2.3" };
	struct hit hit = { 0 };

	(void)state;
	add(r, &spy, "-d longestmatch");
	assert_int_equal(relation_find(r, &q, &hit, NULL, NULL), MAP_FOUND);
	assert_int_equal(spy.lookups, 33);
	hit_free(&hit);
	buf_free(&spy.asked);
	relation_destroy(&r);
}

static void options_b_and_n_give_the_key(void **state)
{
	(void)state;
	asks("-lb", "foo=x;", "FOO", 0, QUESTION_ALL, "foo", "foo", "foo");
	asks("-ln", "", "FOO", 0, QUESTION_ALL, "foo", "foo", "foo");
	asks("-ln", "foo=;", "FOO", 0, QUESTION_ALL, "foo", "foo", "foo");
	asks("-ln", "foo=x;", "FOO", 0, QUESTION_ALL, "foo", "x", "foo");
	asks("-lb", "", "FOO", 0, QUESTION_ALL, "foo", NULL, NULL);
}

static void a_map_that_cannot_tell_ends_the_search(void **state)
{
	struct spy first = { .records = "" }, second = { .records = "", .fails = true }, third = { .records = "k=x;" };
	struct relation *r = relation_create("test");
	struct question q = { .key = "k" };
	struct hit hit = { 0 };

	(void)state;
	add(r, &first, "-l");
	add(r, &second, "-ln");
	add(r, &third, "-l");
	assert_int_equal(relation_find(r, &q, &hit, NULL, NULL), MAP_COULD_NOT_TELL);
	assert_string_equal(buf_str(&hit.value), "spy: no luck");
	assert_int_equal(third.lookups, 0);
	second.fails = false;
	second.records = "k=from the second;";
	assert_int_equal(relation_find(r, &q, &hit, NULL, NULL), MAP_FOUND);
	assert_string_equal(buf_str(&hit.value), "from the second");
	assert_ptr_equal(hit.from, &r->maps[1]);
	hit_free(&hit);
	buf_free(&first.asked);
	buf_free(&second.asked);
	relation_destroy(&r);
}

/* ---- cache ---- */

static enum map_answer ask(struct relation *r, const char *key, size_t defaults, struct hit *hit)
{
	struct question q = { .key = key, .defaults = two_defaults, .default_count = defaults };

	return relation_find(r, &q, hit, NULL, NULL);
}

static void an_answer_is_kept_with_its_part(void **state)
{
	struct spy spy = { .records = ".b.c=x%0;" };
	struct relation *r = relation_create("test");
	struct hit hit = { 0 };

	(void)state;
	add(r, &spy, "-lm%d pathalias -s 10 -e 60");
	for (int i = 0; i < 3; i++) {
		assert_int_equal(ask(r, "A.b.c", 0, &hit), MAP_FOUND);
		assert_string_equal(buf_str(&hit.value), "x%0");
		assert_string_equal(buf_str(&hit.part), "a");
		assert_int_equal(hit.cached, i > 0);
	}
	assert_int_equal(spy.lookups, 3);
	hit_free(&hit);
	buf_free(&spy.asked);
	relation_destroy(&r);
}

static void default_keys_belong_to_what_was_asked(void **state)
{
	struct spy spy = { .records = ".:recipient=x;" };
	struct relation *r = relation_create("test");
	struct hit hit = { 0 };

	(void)state;
	add(r, &spy, "-l -s 10 -N");
	assert_int_equal(ask(r, "k", 0, &hit), MAP_NOT_FOUND);
	assert_int_equal(ask(r, "k", 1, &hit), MAP_FOUND);
	assert_int_equal(ask(r, "k", 0, &hit), MAP_NOT_FOUND);
	hit_free(&hit);
	buf_free(&spy.asked);
	relation_destroy(&r);
}

static void absence_is_kept_on_request_and_trouble_never(void **state)
{
	struct spy plain = { .records = "" }, negative = { .records = "" }, failing = { .records = "", .fails = true };
	struct relation *r = relation_create("plain"), *n = relation_create("negative"), *f = relation_create("failing");
	struct hit hit = { 0 };

	(void)state;
	add(r, &plain, "-s 10");
	add(n, &negative, "-s 10 -N");
	add(f, &failing, "-s 10 -N");
	for (int i = 0; i < 2; i++) {
		assert_int_equal(ask(r, "k", 0, &hit), MAP_NOT_FOUND);
		assert_int_equal(ask(n, "k", 0, &hit), MAP_NOT_FOUND);
		assert_int_equal(ask(f, "k", 0, &hit), MAP_COULD_NOT_TELL);
	}
	assert_int_equal(plain.lookups, 2);
	assert_int_equal(negative.lookups, 1);
	assert_true(failing.lookups >= 1);
	assert_int_equal(ask(f, "k", 0, &hit), MAP_COULD_NOT_TELL);
	hit_free(&hit);
	buf_free(&plain.asked);
	buf_free(&negative.asked);
	buf_free(&failing.asked);
	relation_destroy(&r);
	relation_destroy(&n);
	relation_destroy(&f);
}

static void the_oldest_answer_makes_room(void **state)
{
	struct spy spy = { .records = "a=1;b=2;c=3;d=4;" };
	struct relation *r = relation_create("test");
	struct hit hit = { 0 };

	(void)state;
	add(r, &spy, "-s 3");
	assert_int_equal(ask(r, "a", 0, &hit), MAP_FOUND);
	assert_int_equal(ask(r, "b", 0, &hit), MAP_FOUND);
	assert_int_equal(ask(r, "c", 0, &hit), MAP_FOUND);
	assert_int_equal(ask(r, "a", 0, &hit), MAP_FOUND);    /* b is the oldest now */
	assert_int_equal(ask(r, "d", 0, &hit), MAP_FOUND);
	assert_int_equal(spy.lookups, 4);
	assert_int_equal(ask(r, "a", 0, &hit), MAP_FOUND);
	assert_int_equal(ask(r, "c", 0, &hit), MAP_FOUND);
	assert_int_equal(spy.lookups, 4);
	assert_int_equal(ask(r, "b", 0, &hit), MAP_FOUND);
	assert_int_equal(spy.lookups, 5);
	assert_string_equal(buf_str(&hit.value), "2");
	hit_free(&hit);
	buf_free(&spy.asked);
	relation_destroy(&r);
}

static void a_changed_map_empties_its_cache(void **state)
{
	struct spy spy = { .records = "k=old;" };
	struct relation *r = relation_create("test");
	struct hit hit = { 0 };

	(void)state;
	add(r, &spy, "-m -s 3");
	assert_int_equal(ask(r, "k", 0, &hit), MAP_FOUND);
	spy.records = "k=new;";
	assert_int_equal(ask(r, "k", 0, &hit), MAP_FOUND);
	assert_string_equal(buf_str(&hit.value), "old");
	spy.changed = true;
	assert_int_equal(ask(r, "k", 0, &hit), MAP_FOUND);
	assert_string_equal(buf_str(&hit.value), "new");
	hit_free(&hit);
	buf_free(&spy.asked);
	relation_destroy(&r);
}

/* ---- options as text ---- */

static void options_are_read(void **state)
{
	struct lookup_options o;
	struct buf why = { 0 };
	char *config;

	(void)state;
	assert_true(lookup_options_parse("-lm%:d pathalias -s 500 -e30 -N -C /etc/sleepyenv.conf -bnL", &o, &config, &why));
	assert_int_equal(o.fold, FOLD_LOWER);
	assert_int_equal(o.driver, DRIVER_PATHALIAS);
	assert_true(o.refresh && o.substitute && o.cache_absent && o.key_for_value && o.key_if_absent && o.fold_tail);
	assert_int_equal(o.cache_size, 500);
	assert_int_equal(o.cache_seconds, 30);
	assert_string_equal(config, "/etc/sleepyenv.conf");
	free(config);
	assert_true(lookup_options_parse("", &o, &config, &why));
	assert_null(config);
}

static void options_that_mean_nothing_are_refused(void **state)
{
	static const char *const bad[] = {
		"-", "-lu", "-l -u", "-x", "-i", "-T", "lm", "-l m", "-d", "-d pathalia", "-s", "-s ten", "-s -1", "-e 1h",
		"-C", "-C a -C", "-l -",
	};

	(void)state;
	for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
		struct lookup_options o;
		struct buf why = { 0 };
		char *config = NULL;

		if (lookup_options_parse(bad[i], &o, &config, &why))
			fail_msg("%s: taken", bad[i]);
		assert_true(why.len > 0);
		assert_null(config);
		buf_free(&why);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(without_a_driver_the_folded_key_and_then_the_defaults_are_asked),
		cmocka_unit_test(pathalias_asks_in_its_order),
		cmocka_unit_test(the_part_that_pathalias_cut_off_has_no_dot),
#if HAVE_IDN
		cmocka_unit_test(u_labels_and_a_labels_of_a_domain_find_each_other),
#endif
		cmocka_unit_test(odd_keys_are_defined),
		cmocka_unit_test(the_other_drivers_ask_in_their_order),
		cmocka_unit_test(longestmatch_narrows_networks),
		cmocka_unit_test(the_whole_net_is_the_last_one),
		cmocka_unit_test(options_b_and_n_give_the_key),
		cmocka_unit_test(a_map_that_cannot_tell_ends_the_search),
		cmocka_unit_test(an_answer_is_kept_with_its_part),
		cmocka_unit_test(default_keys_belong_to_what_was_asked),
		cmocka_unit_test(absence_is_kept_on_request_and_trouble_never),
		cmocka_unit_test(the_oldest_answer_makes_room),
		cmocka_unit_test(a_changed_map_empties_its_cache),
		cmocka_unit_test(options_are_read),
		cmocka_unit_test(options_that_mean_nothing_are_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
