/*
 * The text of a map, read, checked and sorted: what a new map is built from, or a live one compared with.
 */
#ifndef ZL_DB_BUILD_SOURCE_H
#define ZL_DB_BUILD_SOURCE_H

#include "db/store/stamp.h"
#include "db/build/fault.h"
#include "db/build/text.h"
#include "db/store/records.h"

enum source_duplicates {
	DUPLICATES_REFUSE,
	DUPLICATES_KEEP_FIRST,     /* what makedb did without a word; each gives a warning here */
	DUPLICATES_JOIN,           /* -A: values joined by a comma and a blank */
};

struct source {
	const char *path;              /* "-" is standard input */
	struct text_syntax syntax;
	enum source_duplicates duplicates;
	text_check *check;             /* of values; NULL: any value will do */
	void *check_context;
	fault_report *report;
	void *report_context;
	bool replaces;                 /* lines that may be keys or changes ("dbupdate apply") are refused, as all other keys would go */
	/* out, as makedb counts: with duplicates and NULs */
	size_t lines_with_records;
	uint64_t values_size;
	size_t longest;
	struct stamp_text text;        /* out: what was read; unknown for what is no file */
	size_t repeated;               /* keys that were there before, unless they are joined */
};

/* What the text in a file is now; unknown if it cannot be read. */
struct stamp_text source_text_of(const char *path);

/*
 * On success `records`, zeroed by the caller, are sorted and each key is there once.  0, or EX_NOINPUT or
 * EX_DATAERR after everything that is wrong went to `report`.
 */
int source_read(struct source *source, struct records *records);

#endif
