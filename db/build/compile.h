/*
 * From the text of a map to the map.
 */
#ifndef ZL_DB_BUILD_COMPILE_H
#define ZL_DB_BUILD_COMPILE_H

#include <stdint.h>
#include <sys/types.h>

#include "db/build/source.h"
#include "db/grammar/value.h"
#include "lib/buf.h"

struct compile {
	const char *type;
	const char *target;            /* with suffix */
	const char *input;             /* "-" is standard input */
	struct text_syntax syntax;
	enum source_duplicates duplicates;
	struct value_check *check;     /* NULL: any value will do */
	uid_t uid;                     /* these three as in build.h */
	gid_t gid;
	mode_t mode;
	fault_report *report;
	void *report_context;
	void (*progress)(void *context, const char *step, size_t done, size_t total);     /* or NULL */
	void *progress_context;
	/* out, as makedb counts: with duplicates and NULs */
	size_t records;
	uint64_t values_size;
	size_t longest;
	struct stamp_text text;        /* what was read */
	bool unsure;                   /* as in build.h */
	bool said;                     /* why there is no map was told by `report` */
};

/*
 * Reads, sorts, builds and publishes.  0, or an exit code; what is wrong with the text went to `report`, all else into
 * `why`.  A map that dbupdate keeps up to date is refused with EX_CANTCREAT.
 */
int compile_map(struct compile *compile, struct buf *why);

/* What is done before and after: is the map live, is it older than its text? */
int compile_refuse_live(const char *target, struct buf *why);

/*
 * Why a map is to be built: its text was written at the moment it was read, which is mostly right before; it answers, but
 * is older than its text or made in another way; it cannot answer.
 */
enum compile_due { COMPILE_NOT_DUE, COMPILE_DOUBTFUL, COMPILE_STALE, COMPILE_UNUSABLE };

/* Is it due?  *reason is a constant text then, else NULL. */
enum compile_due compile_is_due(const struct compile *compile, const char **reason);

#endif
