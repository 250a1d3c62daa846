/* Dumps, and lines of texts: from the map back to where it came from. */
#include "tests/unit/unit.h"

#include <sysexits.h>
#include <time.h>
#include <utime.h>

#include "db/build/compile.h"
#include "db/build/dump.h"
#include "db/build/origin.h"
#include "tests/unit/built.h"

static void ignore(void *context, const struct fault *fault)
{
	(void)context;
	(void)fault;
}

static int compile(const char *name, const char *text, struct text_syntax syntax, enum source_duplicates duplicates)
{
	struct buf why = { 0 };
	const char *input = scratch_text(name, text);
	char *target = xasprintf("%s.db", input);
	struct compile c = { .type = "btree", .target = target, .input = input, .syntax = syntax, .duplicates = duplicates,
	                     .uid = (uid_t)-1, .gid = (gid_t)-1, .report = ignore };
	struct utimbuf old = { 1000000, 1000000 };
	int status;

	/* older than the map by more than the second that cannot be told */
	assert_int_equal(utime(input, &old), 0);
	status = compile_map(&c, &why);
	free(target);
	buf_free(&why);
	return status;
}

/* The dump of a map that is built from `text`, without its first line; "" if it cannot be dumped. */
static char *dump_of(const char *text, struct text_syntax syntax, enum source_duplicates duplicates, char *first_line)
{
	struct buf out = { 0 }, why = { 0 };
	struct map *map;
	FILE *file = fopen(scratch("dump"), "w+");
	char *rest = NULL;

	assert_int_equal(compile("d", text, syntax, duplicates), EX_OK);
	map = open_built("btree", scratch("d.db"));
	if (dump_map(map, false, file, &why) == EX_OK) {
		assert_true(file_read_path(scratch("dump"), &out));
		rest = strchr(out.data, '\n') + 1;
		snprintf(first_line, 200, "%.*s", (int)(rest - out.data) - 1, out.data);
	} else {
		assert_true(why.len > 0);
		assert_true(file_read_path(scratch("dump"), &out));
		assert_int_equal(out.len, 0);
	}
	rest = xstrdup(rest != NULL ? rest : "");
	fclose(file);
	map_close(&map);
	buf_free(&out);
	buf_free(&why);
	return rest;
}

static void a_dump_builds_the_same_map(void **state)
{
	static const struct { const char *text; struct text_syntax syntax; const char *options, *dump; } rows[] = {
		{ "b  2 x \na\n", { false, '-' }, "; newdb builds", "a\nb 2 x \n" },
		{ "\"q w\": 1\nb: 2\nc:\n", { true, 'l' }, "; newdb -a builds", "\"q w\": 1\nb: 2\nc:\n" },
		{ "\"q w\": 1\nb: 2\n", { true, 'u' }, "; newdb -au builds", "\"Q W\": 1\nB: 2\n" },
		{ "a: x\nb: y\na: z\n", { true, 'l' }, "; newdb builds", "a x, z\nb y\n" },
		{ "\"q w\": x\n\"q w\":\n", { true, 'l' }, "; newdb -a builds", "\"q w\": x\n" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		char first_line[200];
		char *dump = dump_of(rows[i].text, rows[i].syntax, DUPLICATES_JOIN, first_line), *again;
		struct text_syntax syntax = { strstr(rows[i].options, "-a") != NULL, strstr(rows[i].options, "-au") ? 'u' : '-' };

		assert_string_equal(dump, rows[i].dump);
		assert_non_null(strstr(first_line, rows[i].options));
		again = dump_of(dump, syntax, DUPLICATES_JOIN, first_line);
		assert_string_equal(again, dump);
		free(dump);
		free(again);
	}
}

/* makedb -A joins by comma, newline and tab. */
static void what_makedb_joined_becomes_lines_again(void **state)
{
	struct records records = { 0 };
	struct buf why = { 0 };
	struct build build = { .type = "btree", .target = scratch("joined.db"), .uid = (uid_t)-1, .gid = (gid_t)-1,
	                       .stamp = { .source = "-", .folding = '-', .syntax = '-' } };
	FILE *file = fopen(scratch("dump"), "w+");
	char text[200];
	struct map *map;

	(void)state;
	records_copy(&records, "a", 1, "x,\n\ty", 5, 1);
	assert_int_equal(build_map(&build, &records, &why), EX_OK);
	map = open_built("btree", scratch("joined.db"));
	assert_int_equal(dump_map(map, false, file, &why), EX_OK);
	rewind(file);
	assert_non_null(fgets(text, sizeof text, file));
	assert_non_null(strstr(text, "; newdb -A builds"));
	text[fread(text, 1, sizeof text - 1, file)] = '\0';
	assert_string_equal(text, "a x\na y\n");
	fclose(file);
	map_close(&map);
	records_free(&records);
	buf_free(&why);
}

static void a_dump_keeps_to_the_syntax_that_fits(void **state)
{
	char first_line[200];
	char *dump = dump_of("k\\:ey: x\nb: y\n", (struct text_syntax){ true, '-' }, DUPLICATES_REFUSE, first_line);

	(void)state;
	assert_string_equal(dump, "b y\nk\\:ey x\n");
	free(dump);
	dump = dump_of("Mixed x\nmixed: y\n", (struct text_syntax){ false, '-' }, DUPLICATES_REFUSE, first_line);
	assert_string_equal(dump, "Mixed x\nmixed: y\n");
	free(dump);
}

/* Records as an updater can store them, but no text has them. */
static void what_no_text_can_hold_is_told(void **state)
{
	static const char *const rows[][2] = {
		{ "", "x" }, { "key", "x\ny" }, { "key", "x\r" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		struct records records = { 0 };
		struct buf why = { 0 };
		struct build build = { .type = "btree", .target = scratch("odd.db"), .uid = (uid_t)-1, .gid = (gid_t)-1,
		                       .stamp = { .source = "-", .folding = '-', .syntax = '-' } };
		FILE *file = fopen(scratch("dump"), "w+");
		struct map *map;

		records_copy(&records, rows[i][0], strlen(rows[i][0]), rows[i][1], strlen(rows[i][1]), 1);
		assert_int_equal(build_map(&build, &records, &why), EX_OK);
		map = open_built("btree", scratch("odd.db"));
		assert_int_equal(dump_map(map, false, file, &why), EX_DATAERR);
		assert_non_null(strstr(buf_str(&why), "no text can hold the record"));
		assert_int_equal(ftell(file), 0);
		fclose(file);
		map_close(&map);
		records_free(&records);
		buf_free(&why);
	}
}

/* dblookup --dump printed "+a<TAB>x,", and "<TAB>y" in a line of its own, which no dbupdate apply takes, and said it was well. */
static void records_that_only_different_texts_can_hold_are_told(void **state)
{
	static const struct { const char *keys[2], *values[2]; } rows[] = {
		{ { "a", "two words" }, { "x,\n\ty", "z" } }, { { "a\001", "two words" }, { "x", "z" } },
		{ { "#two words", "a" }, { "z", "x,\n\ty" } },
	};

	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		struct records records = { 0 };
		struct buf why = { 0 };
		struct build build = { .type = "btree", .target = scratch("apart.db"), .uid = (uid_t)-1, .gid = (gid_t)-1,
		                       .stamp = { .source = "-", .folding = '-', .syntax = '-' } };
		FILE *file = fopen(scratch("dump"), "w+");
		struct map *map;

		for (size_t k = 0; k < 2; k++)
			records_copy(&records, rows[i].keys[k], strlen(rows[i].keys[k]), rows[i].values[k], strlen(rows[i].values[k]), 1);
		assert_int_equal(build_map(&build, &records, &why), EX_OK);
		map = open_built("btree", scratch("apart.db"));
		assert_int_equal(dump_map(map, false, file, &why), EX_DATAERR);
		assert_non_null(strstr(buf_str(&why), rows[i].keys[1]));
		assert_int_equal(ftell(file), 0);
		fclose(file);
		map_close(&map);
		records_free(&records);
		buf_free(&why);
	}
}

static void what_no_text_can_hold_is_printed_as_changes(void **state)
{
	static const char *const rows[][2] = {
		{ "Mixed Case", "x" }, { "two words", "x" }, { "#key", "x" }, { "key", " x" }, { "user@d.test:", "x" },
		{ "unix:/run/lmtp 0 <> bob@d.test bob", "1795982400 250 2.1.5 ok" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		struct records records = { 0 };
		struct buf why = { 0 };
		struct build build = { .type = "btree", .target = scratch("odd.db"), .uid = (uid_t)-1, .gid = (gid_t)-1,
		                       .stamp = { .source = "-", .folding = '-', .syntax = '-' } };
		FILE *file = fopen(scratch("dump"), "w+");
		char line[100] = "", wanted[100];
		struct map *map;

		records_copy(&records, rows[i][0], strlen(rows[i][0]), rows[i][1], strlen(rows[i][1]), 1);
		assert_int_equal(build_map(&build, &records, &why), EX_OK);
		map = open_built("btree", scratch("odd.db"));
		assert_int_equal(dump_map(map, false, file, &why), EX_OK);
		rewind(file);
		assert_non_null(fgets(line, sizeof line, file));
		snprintf(wanted, sizeof wanted, "+%s\t%s\n", rows[i][0], rows[i][1]);
		assert_string_equal(line, wanted);
		fclose(file);
		map_close(&map);
		records_free(&records);
		buf_free(&why);
	}
}

static void a_key_leads_back_to_its_line(void **state)
{
	struct map *map;
	struct origin *origin;

	(void)state;
	assert_int_equal(compile("o", "# c\nB: x,\n y\n\na: z\n", (struct text_syntax){ true, 'l' }, DUPLICATES_REFUSE), EX_OK);
	map = open_built("btree", scratch("o.db"));
	assert_null(origin_open(map));
	assert_true(map_ready(map));
	origin = origin_open(map);
	assert_non_null(origin);
	assert_int_equal(origin_line(origin, "b"), 2);
	assert_int_equal(origin_line(origin, "a"), 5);
	assert_int_equal(origin_line(origin, "c"), 0);
	origin_close(&origin);
	assert_null(origin);
	map_close(&map);
}

static void a_changed_text_is_noticed_and_not_believed(void **state)
{
	struct utimbuf future;
	struct map *map;
	char *text;

	(void)state;
	assert_int_equal(compile("n", "a z\n", (struct text_syntax){ false, '-' }, DUPLICATES_REFUSE), EX_OK);
	map = open_built("btree", scratch("n.db"));
	assert_true(map_ready(map));
	assert_false(origin_is_newer(map, &text));
	future.actime = future.modtime = time(NULL) + 100;
	assert_int_equal(utime(scratch("n"), &future), 0);
	assert_true(origin_is_newer(map, &text));
	assert_string_equal(text, scratch("n"));
	free(text);
	assert_null(origin_open(map));
	unlink(scratch("n"));
	assert_false(origin_is_newer(map, &text));
	assert_null(origin_open(map));
	map_close(&map);
}

static void maps_are_due_when_something_is_amiss(void **state)
{
	struct utimbuf past = { time(NULL) - 100, time(NULL) - 100 }, future = { time(NULL) + 100, time(NULL) + 100 };
	struct compile c = { .type = "btree", .target = xstrdup(scratch("due.db")), .input = xstrdup(scratch("due")),
	                     .syntax = { false, 'l' } };
	const char *reason;

	(void)state;
	assert_int_equal(compile_is_due(&c, &reason), COMPILE_UNUSABLE);
	assert_string_equal(reason, "it is missing");
	assert_int_equal(compile("due", "a z\n", c.syntax, DUPLICATES_REFUSE), EX_OK);
	assert_int_not_equal(compile_is_due(&c, &reason), COMPILE_STALE);
	assert_int_equal(utime(c.input, &past), 0);
	assert_int_equal(compile_is_due(&c, &reason), COMPILE_NOT_DUE);
	c.syntax.folding = '-';
	assert_int_equal(compile_is_due(&c, &reason), COMPILE_STALE);
	assert_string_equal(reason, "it was built with other options");
	c.syntax.folding = 'l';
	assert_int_equal(utime(c.input, &future), 0);
	assert_int_equal(compile_is_due(&c, &reason), COMPILE_STALE);
	assert_string_equal(reason, "its text is newer");
	assert_int_equal(truncate(c.target, 5000), 0);
	assert_int_equal(compile_is_due(&c, &reason), COMPILE_UNUSABLE);
	assert_string_equal(reason, "it is damaged or cannot be read");
	free((char *)(uintptr_t)c.target);
	free((char *)(uintptr_t)c.input);
}

static void live_maps_are_not_built_over(void **state)
{
	struct buf why = { 0 };

	(void)state;
	assert_int_equal(compile_refuse_live(scratch("live.db"), &why), EX_OK);
	scratch_text("live.db.journal", "");
	assert_int_equal(compile_refuse_live(scratch("live.db"), &why), EX_CANTCREAT);
	assert_non_null(strstr(buf_str(&why), "dbupdate replace"));
	unlink(scratch("live.db.journal"));
	scratch_text("live.db.lock", "");
	assert_int_equal(compile_refuse_live(scratch("live.db"), &why), EX_CANTCREAT);
	buf_free(&why);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_dump_builds_the_same_map),
		cmocka_unit_test(what_makedb_joined_becomes_lines_again),
		cmocka_unit_test(a_dump_keeps_to_the_syntax_that_fits),
		cmocka_unit_test(what_no_text_can_hold_is_told), cmocka_unit_test(what_no_text_can_hold_is_printed_as_changes),
		cmocka_unit_test(records_that_only_different_texts_can_hold_are_told),
		cmocka_unit_test(a_key_leads_back_to_its_line),
		cmocka_unit_test(a_changed_text_is_noticed_and_not_believed),
		cmocka_unit_test(maps_are_due_when_something_is_amiss),
		cmocka_unit_test(live_maps_are_not_built_over),
	};

	return cmocka_run_group_tests(tests, scratch_begin, scratch_end);
}
