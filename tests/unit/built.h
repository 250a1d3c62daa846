/* Small maps of every type that can be built, for unit tests. */
#ifndef ZL_TESTS_UNIT_BUILT_H
#define ZL_TESTS_UNIT_BUILT_H

#include <sysexits.h>

#include "config.h"
#include "db/build/build.h"
#include "db/map/map.h"
#include "tests/unit/scratch.h"

/*
 * Read by the sanitizer, where there is one: children of these tests end in the middle of their work on purpose, and libdb does
 * not give back all that it took for a damaged map.
 */
__attribute__((visibility("default"))) const char *__asan_default_options(void);
const char *__asan_default_options(void)
{
	return "detect_leaks=0";
}

static const char *const built_types[] = {
	"btree", "bhash",
#if HAVE_LMDB
	"lmdb",
#endif
};

#define BUILT_TYPES (sizeof built_types / sizeof built_types[0])

/* Sorted, as they are built. */
static const char *const built_records[][2] = {
	{ "@cat.test", "smtp-lmtp!node!C%2" }, { "all@d.test", "" }, { "user+tail@d.test", "x" }, { "user@d.test", "smtp!relay" },
};

#define BUILT_RECORDS 4

/* Builds them as NAME.TYPE; returns its path. */
static inline const char *build_records(const char *type, const char *name, struct records *records)
{
	struct buf why = { 0 };
	char *file = xasprintf("%s%s", name, map_suffix(type));
	const char *path = scratch(file);
	struct build build = {
		.type = type, .target = path, .uid = (uid_t)-1, .gid = (gid_t)-1,
		.stamp = { .source = "/text", .folding = 'l', .syntax = 'a' },
	};

	assert_int_equal(build_map(&build, records, &why), EX_OK);
	assert_string_equal(buf_str(&why), "");
	records_free(records);
	buf_free(&why);
	free(file);
	return path;
}

/* The four records. */
static inline const char *build_small(const char *type, const char *name)
{
	struct records records = { 0 };

	for (size_t i = 0; i < BUILT_RECORDS; i++)
		records_copy(&records, built_records[i][0], strlen(built_records[i][0]), built_records[i][1],
		             strlen(built_records[i][1]), i + 1);
	return build_records(type, name, &records);
}

static inline struct map *open_built(const char *type, const char *path)
{
	struct buf why = { 0 };
	int status;
	struct map *map = map_open(type, path, NULL, &status, &why);

	assert_non_null(map);
	buf_free(&why);
	return map;
}

#endif
