#include "tests/unit/unit.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "db/route/explain.h"
#include "db/store/stamp.h"

static char *text_file(const char *directory, const char *name, const char *text)
{
	char path[200];
	FILE *out;

	snprintf(path, sizeof path, "%s/%s", directory, name);
	out = fopen(path, "w");
	assert_non_null(out);
	fputs(text, out);
	assert_int_equal(fclose(out), 0);
	return strdup(path);
}

/* A map that was closed and one that was opened then may be at the same address. */
static void lines_are_those_of_the_text_of_the_map_that_is_open(void **state)
{
	char directory[] = "/tmp/zlmtp-explain-XXXXXX";
	struct explain explain = { 0 };
	struct stamp first = { .built = INT64_MAX, .folding = '-', .syntax = 'p' }, second = first;
	struct map map = { .provenance.stamp = &first };
	const char *file = NULL;

	(void)state;
	assert_non_null(mkdtemp(directory));
	first.source = text_file(directory, "first", "a 1\nb 2\n");
	second.source = text_file(directory, "second", "c 1\n\na 2\n");
	assert_int_equal(explain_source(&explain, &map, "a", &file), 1);
	assert_string_equal(file, first.source);
	map.provenance.stamp = &second;
	assert_int_equal(explain_source(&explain, &map, "a", &file), 3);
	assert_string_equal(file, second.source);
	assert_int_equal(explain_source(&explain, &map, "b", &file), 0);
	map.provenance.stamp = NULL;
	assert_int_equal(explain_source(&explain, &map, "a", &file), 0);
	map.provenance.stamp = &first;
	assert_int_equal(explain_source(&explain, &map, "b", &file), 2);
	explain_free(&explain);
	unlink(first.source);
	unlink(second.source);
	rmdir(directory);
	free(first.source);
	free(second.source);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(lines_are_those_of_the_text_of_the_map_that_is_open),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
