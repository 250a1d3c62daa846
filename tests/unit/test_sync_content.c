#include "tests/unit/unit.h"

#include "db/store/store.h"
#include "db/sync/content.h"
#include "lib/alloc.h"
#include "lib/settings.h"

static struct content *content;
static struct buf changes, entries, conflicts;

/* As put() names them. */
static bool name_entry(void *context, unsigned rule, const struct sync_uuid *id, struct buf *name)
{
	(void)context, (void)rule;
	return buf_addf(name, "e%u", id->bytes[0] + id->bytes[1] * 256u);
}

static int begin(void **state)
{
	(void)state;
	content = content_create();
	content_know_names(content, name_entry, NULL);
	return 0;
}

static int end(void **state)
{
	(void)state;
	content_free(&content);
	assert_null(content);
	buf_clear(&changes);
	buf_clear(&entries);
	buf_clear(&conflicts);
	return 0;
}

static struct sync_uuid uuid(unsigned n)
{
	return (struct sync_uuid){ { (unsigned char)n, (unsigned char)(n >> 8) } };
}

/* Entry n wants the records in "key=value key=value"; "key" alone has an unclear value, "@domain" is a domain. */
static void put(unsigned rule, unsigned n, const char *wants)
{
	struct sync_uuid id = uuid(n);
	struct yield yield = { 0 };
	char *copy = xstrdup(wants), *dn = xasprintf("e%u", n), *save = NULL;

	for (char *word = strtok_r(copy, " ", &save); word != NULL; word = strtok_r(NULL, " ", &save)) {
		char *equals = strchr(word, '=');

		if (word[0] == '@') {
			words_add(&yield.domains, word + 1);
			continue;
		}
		yield.records = xreallocarray(yield.records, yield.count + 1, sizeof *yield.records);
		yield.records[yield.count++] = (struct wanted){
			xstrndup(word, equals != NULL ? (size_t)(equals - word) : strlen(word)), equals != NULL ? xstrdup(equals + 1) : NULL,
		};
	}
	content_put(content, rule, &id, dn, &yield);
	assert_int_equal(yield.count, 0);
	free(dn);
	free(copy);
}

static void drop(unsigned rule, unsigned n)
{
	struct sync_uuid id = uuid(n);

	content_drop(content, rule, &id);
}

static void add_change(void *context, const char *key, const char *value)
{
	(void)context;
	if (value != NULL)
		buf_addf(&changes, "+%s=%s ", key, value);
	else
		buf_addf(&changes, "-%s ", key);
}

static void add_entry(void *context, unsigned rule, const struct sync_uuid *id, const char *dn, const struct yield *yield)
{
	(void)context;
	buf_addf(&entries, "%u/%u:%s(%zu) ", rule, id->bytes[0], dn != NULL ? dn : "gone", yield->count);
}

static void add_conflict(void *context, const char *text)
{
	(void)context;
	buf_addf(&conflicts, "%s\n", text);
}

static int compare_words(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

/* The words of a text in order, as the order of changes does not matter. */
static char *sorted(const struct buf *text)
{
	char *words[100], *copy = xstrdup(buf_str(text)), *save = NULL;
	struct buf out = { 0 };
	size_t n = 0;

	for (char *word = strtok_r(copy, " ", &save); word != NULL; word = strtok_r(NULL, " ", &save))
		words[n++] = word;
	qsort(words, n, sizeof words[0], compare_words);
	for (size_t i = 0; i < n; i++)
		buf_addf(&out, "%s%s", i > 0 ? " " : "", words[i]);
	free(copy);
	return out.data != NULL ? out.data : xstrdup("");
}

/* What must be written now; it is taken for written. */
static void expect(const char *expected, size_t unclear)
{
	struct content_counts counts;
	char *text;

	buf_clear(&changes);
	content_changes(content, NULL, add_change, NULL, &counts);
	text = sorted(&changes);
	assert_string_equal(text, expected);
	assert_int_equal(counts.unclear, unclear);
	free(text);
	content_conflicts(content, add_conflict, NULL);
	content_settled(content);
	assert_false(content_is_touched(content));
}

static void entries_become_records(void **state)
{
	(void)state;
	put(0, 1, "a=1 b=2");
	put(0, 2, "c=3");
	expect("+a=1 +b=2 +c=3", 0);
	put(0, 1, "a=1 b=9");
	expect("+b=9", 0);
	put(0, 1, "b=9");
	expect("-a", 0);
	drop(0, 1);
	expect("-b", 0);
	drop(0, 1);
	drop(0, 7);
	expect("", 0);
}

static void what_is_said_twice_touches_nothing(void **state)
{
	(void)state;
	put(0, 1, "a=1 @x");
	expect("+a=1", 0);
	put(0, 1, "a=1 @x");
	assert_false(content_is_touched(content));
	put(0, 1, "a=1 @y");
	assert_true(content_is_touched(content));
}

static void a_key_may_move_between_entries(void **state)
{
	(void)state;
	put(0, 1, "a=1");
	expect("+a=1", 0);
	/* whichever of the two is heard of first */
	put(0, 2, "a=2");
	drop(0, 1);
	expect("+a=2", 0);
	drop(0, 2);
	put(1, 3, "a=3");
	expect("+a=3", 0);
	assert_string_equal(buf_str(&conflicts), "");
}

static void who_has_a_key_keeps_it(void **state)
{
	(void)state;
	put(0, 1, "a=1");
	expect("+a=1", 0);
	put(0, 2, "a=2 b=2");
	expect("+b=2", 1);
	assert_non_null(strstr(buf_str(&conflicts), "a: wanted by \"e2\" (2) and \"e1\" (1); conflict, it stays with \"e1\""));
	buf_clear(&conflicts);
	expect("", 1);
	assert_string_equal(buf_str(&conflicts), "");
	put(0, 1, "a=5");
	expect("+a=5", 1);
	put(0, 2, "a=5");
	expect("-b", 0);
	put(0, 2, "a=6");
	expect("", 1);
	drop(0, 1);
	expect("+a=6", 0);
}

static void a_key_that_nobody_had_is_unclear(void **state)
{
	(void)state;
	put(0, 1, "a=1");
	put(1, 1, "a=2");
	expect("+a=" UNCLEAR_VALUE, 1);
	assert_non_null(strstr(buf_str(&conflicts), "lookups cannot tell"));
	put(0, 2, "b=1");
	put(0, 3, "b=1");
	expect("+b=1", 1);
	drop(1, 1);
	expect("+a=1", 0);
}

static void a_value_that_cannot_be_told_leaves_the_key_as_it_was(void **state)
{
	(void)state;
	put(0, 1, "a");
	expect("+a=" UNCLEAR_VALUE, 1);
	put(0, 1, "a=1");
	expect("+a=1", 0);
	put(0, 1, "a");
	expect("", 1);
	/* it was named when it came */
	assert_string_equal(buf_str(&conflicts), "");
	put(0, 2, "a=2");
	expect("", 1);
	assert_non_null(strstr(buf_str(&conflicts), "\"e1\" (no usable value); conflict; left as it was"));
	put(0, 1, "a=3");
	expect("+a=3", 1);
	drop(0, 2);
	put(0, 1, "a");
	expect("", 1);
	drop(0, 1);
	expect("-a", 0);
}

static void unclear_keys_may_have_a_value_of_their_own(void **state)
{
	struct buf why = { 0 };
	struct template *unclear = template_parse("hold!{key:local}", &why);
	struct content_counts counts;

	(void)state;
	put(0, 1, "u@d=1");
	put(0, 2, "u@d=2");
	content_changes(content, unclear, add_change, NULL, &counts);
	assert_string_equal(buf_str(&changes), "+u@d=hold!u ");
	content_settled(content);
	drop(0, 2);
	expect("+u@d=1", 0);
	template_free(&unclear);
	buf_free(&why);
}

static void changes_that_could_not_be_written_stay(void **state)
{
	struct content_counts counts;

	(void)state;
	put(0, 1, "a=1");
	content_changes(content, NULL, add_change, NULL, &counts);
	assert_int_equal(counts.added, 1);
	put(0, 2, "b=2");
	put(0, 1, "a=3");
	drop(0, 9);
	expect("+a=3 +b=2", 0);
	content_changes(content, NULL, add_change, NULL, &counts);
	assert_int_equal(counts.records, 2);
	put(0, 1, "c=1");
	content_changes(content, NULL, add_change, NULL, &counts);
	assert_int_equal(counts.removed, 1);
	assert_int_equal(counts.added, 1);
	assert_int_equal(counts.changed, 0);
}

static void marks_tell_what_is_left_over(void **state)
{
	struct sync_uuid id;

	(void)state;
	for (unsigned n = 1; n <= 4; n++)
		put(0, n, n == 1 ? "a=1" : n == 2 ? "b=2" : n == 3 ? "c=3" : "d=4");
	put(1, 1, "z=1");
	expect("+a=1 +b=2 +c=3 +d=4 +z=1", 0);
	id = uuid(2);
	content_mark(content, 0, &id, 7);
	id = uuid(3);
	content_mark(content, 0, &id, 7);
	content_drop_unmarked(content, 0, 7);
	content_drop_unmarked(content, 0, 7);
	expect("-a -d", 0);
	content_drop_unmarked(content, 0, 8);
	expect("-b -c", 0);
	assert_true(content_has(content, 1, &(struct sync_uuid){ { 1 } }));
	assert_false(content_has(content, 0, &(struct sync_uuid){ { 1 } }));
}

static void touched_entries_are_told_once(void **state)
{
	(void)state;
	put(0, 1, "a=1");
	put(0, 2, "b=1");
	drop(0, 1);
	content_entries(content, add_entry, NULL);
	assert_string_equal(buf_str(&entries), "0/2:e2(1) 0/1:gone(0) ");
	expect("+b=1", 0);
	buf_clear(&entries);
	content_entries(content, add_entry, NULL);
	assert_string_equal(buf_str(&entries), "");
}

static void found(const char *key, const char *value)
{
	content_found(content, key, strlen(key), value, strlen(value));
}

static void what_the_map_has_is_compared(void **state)
{
	(void)state;
	put(0, 1, "same=1 other=2 missing=3");
	put(0, 2, "both=x");
	put(0, 3, "both=y");
	put(0, 4, "unclear");
	found("same", "1");
	found("other", "9");
	found("stranger", "9");
	found("both", "y");
	found("unclear", "old");
	content_compare(content);
	expect("+missing=3 +other=2 -stranger", 2);
	/* who had a key still has it */
	drop(0, 3);
	expect("+both=x", 1);
}

static void the_one_whose_value_is_there_has_the_key(void **state)
{
	(void)state;
	put(0, 1, "a=1");
	put(0, 2, "a=2");
	found("a", "2");
	content_compare(content);
	/* its change comes before anything was decided */
	put(0, 2, "a=22");
	expect("+a=22", 1);
}

static void an_equal_map_needs_no_decision(void **state)
{
	(void)state;
	put(0, 1, "a=1 b=2");
	found("a", "1");
	found("b", "2");
	content_compare(content);
	assert_false(content_is_touched(content));
	put(0, 1, "a=1");
	expect("-b", 0);
}

static void check_domains(const char *expected)
{
	char **list = content_domains(content);
	struct buf text = { 0 };

	for (size_t i = 0; list[i] != NULL; i++)
		buf_addf(&text, "%s ", list[i]);
	assert_string_equal(buf_str(&text), expected);
	words_free(list);
	buf_free(&text);
}

static void domains_are_gathered(void **state)
{
	(void)state;
	assert_false(content_has_new_domains(content));
	put(0, 1, "a=1 @y @x");
	put(1, 1, "@x");
	assert_true(content_has_new_domains(content));
	check_domains("x y ");
	content_settled(content);
	assert_false(content_has_new_domains(content));
	put(0, 1, "a=2 @y @x");
	assert_false(content_has_new_domains(content));
	drop(0, 1);
	assert_true(content_has_new_domains(content));
	check_domains("x ");
	content_settled(content);
	put(0, 3, "b=1");
	assert_false(content_has_new_domains(content));
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, begin, end)

/* A map was made, and the notes could not be added: what goes before that can be done must be taken out again. */
static void records_that_were_written_are_removed(void **state)
{
	struct content_counts counts;

	(void)state;
	put(0, 1, "a=1 both=x");
	put(0, 2, "b=2 both=y");
	content_changes(content, NULL, add_change, NULL, &counts);
	assert_int_equal(counts.added, 3);
	content_written(content);
	assert_true(content_is_touched(content));
	drop(0, 1);
	put(0, 2, "b=3 both=y");
	expect("+b=3 +both=y -a", 0);
}

/* For another entry with this entryUUID, whose keys are unclear beside what this one wants. */
static void what_an_entry_wants_can_be_added_to(void **state)
{
	struct sync_uuid id = uuid(1), other = uuid(2);
	struct yield yield;

	(void)state;
	put(0, 1, "a=1 b @one.example");
	content_settled(content);
	yield = content_yield(content, 0, &id);
	assert_int_equal(yield.count, 2);
	yield_add_unclear(&yield, "a");
	yield_add_unclear(&yield, "c");
	assert_int_equal(yield.count, 3);
	assert_string_equal(yield.records[0].value, "1");
	assert_string_equal(yield.records[2].key, "c");
	assert_null(yield.records[1].value);
	assert_null(yield.records[2].value);
	assert_string_equal(yield.domains[0], "one.example");
	yield_free(&yield);
	yield = content_yield(content, 0, &other);
	assert_int_equal(yield.count, 0);
	assert_null(yield.domains);
	drop(0, 1);
	yield = content_yield(content, 0, &id);
	assert_int_equal(yield.count, 0);
	yield_free(&yield);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(entries_become_records),
		TEST(what_is_said_twice_touches_nothing),
		TEST(a_key_may_move_between_entries),
		TEST(who_has_a_key_keeps_it),
		TEST(a_key_that_nobody_had_is_unclear),
		TEST(a_value_that_cannot_be_told_leaves_the_key_as_it_was),
		TEST(unclear_keys_may_have_a_value_of_their_own),
		TEST(changes_that_could_not_be_written_stay),
		TEST(marks_tell_what_is_left_over),
		TEST(touched_entries_are_told_once),
		TEST(what_the_map_has_is_compared),
		TEST(the_one_whose_value_is_there_has_the_key),
		TEST(an_equal_map_needs_no_decision),
		TEST(domains_are_gathered),
		TEST(records_that_were_written_are_removed),
		TEST(what_an_entry_wants_can_be_added_to),
	};
	int failed = cmocka_run_group_tests(tests, NULL, NULL);

	buf_free(&changes);
	buf_free(&entries);
	buf_free(&conflicts);
	return failed;
}
