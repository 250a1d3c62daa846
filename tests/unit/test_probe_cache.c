#include "tests/unit/unit.h"

#include <sysexits.h>
#include <time.h>

/* Programs' own files are in no archive. */
#include "channel/probe/cache.c"
#include "tests/unit/scratch.h"

#define LONGEST 1000

static struct probe_cache *cache_at(const char *name)
{
	return probe_cache_open(scratch(name), LONGEST);
}

static struct kept_reply reply_of(int code, int64_t said)
{
	struct kept_reply r = { .said = said, .code = code, .status = "5.1.1", .words = "no such user: \"x y\"" };

	return r;
}

static void put(struct probe_cache *cache, const char *key, int code, int64_t said)
{
	struct kept_reply r = reply_of(code, said);
	struct buf k = { 0 };

	buf_adds(&k, key);
	probe_cache_put(cache, &k, &r);
	buf_free(&k);
}

/* The code kept for a key; 0 if there is none. */
static int find(const char *name, const char *key)
{
	struct probe_cache *cache = cache_at(name);
	struct kept_reply r = { 0 };
	struct buf k = { 0 };
	int code = 0;

	buf_adds(&k, key);
	if (probe_cache_find(cache, &k, &r)) {
		code = r.code;
		assert_string_equal(r.status, "5.1.1");
		assert_string_equal(r.words, "no such user: \"x y\"");
	}
	free(r.words);
	buf_free(&k);
	probe_cache_close(&cache);
	return code;
}

static void put_one(const char *name, const char *key, int code, int64_t said)
{
	struct probe_cache *cache = cache_at(name);

	put(cache, key, code, said);
	probe_cache_write(cache);
	assert_false(cache->unused);
	probe_cache_close(&cache);
}

static void what_was_put_is_found_by_its_key_alone(void **state)
{
	int64_t now = time(NULL);

	(void)state;
	assert_int_equal(find("plain", "a"), 0);
	put_one("plain", "a", 550, now);
	put_one("plain", "b c", 250, now);
	assert_int_equal(find("plain", "a"), 550);
	assert_int_equal(find("plain", "b c"), 250);
	assert_int_equal(find("plain", "c"), 0);
	put_one("plain", "a", 250, now);
	assert_int_equal(find("plain", "a"), 250);
}

static void a_key_that_no_map_holds_is_not_kept(void **state)
{
	char *long_key = xmalloc(20001);

	(void)state;
	memset(long_key, 'k', 20000);
	long_key[20000] = '\0';
	put_one("keys", long_key, 550, time(NULL));
	put_one("keys", "tab\there", 550, time(NULL));
	assert_int_equal(find("keys", long_key), 0);
	assert_int_equal(find("keys", "tab\there"), 0);
	free(long_key);
}

/* Puts any text as the record of a key. */
static void put_text(struct probe_cache *cache, const char *key, const char *value)
{
	struct buf why = { 0 };

	livemap_put(cache->livemap, key, strlen(key), value, strlen(value));
	assert_int_equal(livemap_commit(cache->livemap, &why), EX_OK);
}

static bool is_record(const struct buf *key, const char *text, size_t n)
{
	struct buf value = { 0 };
	struct kept_reply got = { 0 };
	bool good;

	buf_adds(&value, "");
	buf_add(&value, text, n);
	good = read_record(key, &value, &got);
	free(got.words);
	buf_free(&value);
	return good;
}

static void a_changed_record_is_no_answer(void **state)
{
	struct kept_reply r = reply_of(550, time(NULL));
	struct buf key = { 0 }, good = { 0 };
	struct probe_cache *cache = cache_at("changed");

	(void)state;
	buf_adds(&key, "k");
	add_record(&good, &key, &r);
	assert_true(is_record(&key, good.data, good.len));
	for (size_t i = 0; i < good.len; i++) {
		char *bad = xstrdup(good.data);

		bad[i] = bad[i] == '1' ? '2' : '1';
		assert_false(is_record(&key, bad, good.len));
		/* nor is one that was cut off */
		assert_false(is_record(&key, good.data, i));
		free(bad);
	}
	/* nor one that belongs to another key */
	assert_true(make_map(cache));
	put_text(cache, "other", good.data);
	probe_cache_close(&cache);
	assert_int_equal(find("changed", "other"), 0);
	buf_free(&key);
	buf_free(&good);
}

static void what_is_too_old_goes_when_something_is_written(void **state)
{
	int64_t now = time(NULL);
	struct probe_cache *cache = cache_at("old");

	(void)state;
	put(cache, "old", 550, now - LONGEST - 1);
	put(cache, "good", 550, now - LONGEST / 2);
	put(cache, "future", 550, now + 1000);
	probe_cache_write(cache);
	probe_cache_close(&cache);
	assert_int_equal(find("old", "old"), 0);
	assert_int_equal(find("old", "future"), 0);
	assert_int_equal(find("old", "good"), 550);

	/* not at each write: that would read all of it each time */
	put_one("old", "old", 550, now - LONGEST - 1);
	assert_int_equal(find("old", "old"), 550);
}

static void a_cache_holds_so_many_and_no_more(void **state)
{
	int64_t now = time(NULL);
	struct probe_cache *cache = cache_at("many");
	char key[24];

	(void)state;
	for (int i = 0; i < PROBE_CACHE_MAX + 10; i++) {
		snprintf(key, sizeof key, "k%d", i);
		put(cache, key, 550, i < 10 ? now - 10 : now);
	}
	probe_cache_write(cache);
	probe_cache_close(&cache);
	assert_int_equal(find("many", "k0"), 0);
	assert_int_equal(find("many", "k9"), 0);
	assert_int_equal(find("many", "k10"), 550);
	assert_int_equal(find("many", key), 550);
}

static void a_file_that_is_no_map_is_set_aside(void **state)
{
	const char *suffix = map_suffix(HAVE_LMDB ? "lmdb" : "btree");
	char *name = xasprintf("no-map%s", suffix), *aside = xasprintf("no-map%s.damaged", suffix);
	struct probe_cache *cache;

	(void)state;
	scratch_text(name, "this is no map\n");
	cache = cache_at("no-map");
	put(cache, "a", 550, time(NULL));
	probe_cache_write(cache);
	assert_true(cache->unused);
	probe_cache_close(&cache);
	assert_int_equal(access(scratch(aside), F_OK), 0);
	put_one("no-map", "a", 550, time(NULL));
	assert_int_equal(find("no-map", "a"), 550);
	/* what is damaged again does not take its place */
	free(aside);
	aside = xasprintf("no-map%s.damaged.2", suffix);
	scratch_text(name, "nor is this\n");
	cache = cache_at("no-map");
	put(cache, "a", 550, time(NULL));
	probe_cache_write(cache);
	probe_cache_close(&cache);
	assert_int_equal(access(scratch(aside), F_OK), 0);
	free(name);
	free(aside);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_was_put_is_found_by_its_key_alone),
		cmocka_unit_test(a_key_that_no_map_holds_is_not_kept),
		cmocka_unit_test(a_changed_record_is_no_answer),
		cmocka_unit_test(what_is_too_old_goes_when_something_is_written),
		cmocka_unit_test(a_cache_holds_so_many_and_no_more),
		cmocka_unit_test(a_file_that_is_no_map_is_set_aside),
	};

	return cmocka_run_group_tests(tests, scratch_begin, scratch_end);
}
