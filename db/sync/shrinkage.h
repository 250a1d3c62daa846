/*
 * How much of a map was removed lately: the guard against a source that has lost its content.
 *
 * It is kept in the map, as a note, so that it holds for programs that come one after the other as it does for one that
 * stays.  It knows nothing of directories.
 */
#ifndef ZL_DB_SYNC_SHRINKAGE_H
#define ZL_DB_SYNC_SHRINKAGE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lib/buf.h"

/* The name of the note.  Whichever program keeps the map, it is the same. */
#define SYNC_SHRINKAGE "ldapsync-shrinkage"

/* Removals within so many seconds count together. */
#define SHRINKAGE_PERIOD 600

/* Removals within the same ten seconds are kept as one, of the time of the last of them. */
#define SHRINKAGE_STEP 10
#define SHRINKAGE_STEPS (SHRINKAGE_PERIOD / SHRINKAGE_STEP + 2)

/* Some keys were removed. */
struct removal {
	int64_t since;           /* seconds since 1970 */
	size_t keys;             /* in the map before that */
	size_t gone;
};

/* The removals of the last ten minutes, oldest first.  Zeroed: there were none. */
struct shrinkage {
	struct removal list[SHRINKAGE_STEPS];
	size_t count;
	bool may_be_empty;       /* the map has no key, and the administrator has said that this is meant */
};

/* Seconds since 1970 for this; within a process they go on as time does, whoever sets the clock. */
int64_t shrinkage_now(void);

/* A change of a map. */
struct shrinking {
	int64_t now;             /* shrinkage_now() */
	size_t keys;             /* before it */
	size_t removed;
	size_t left;             /* behind it */
	bool may_shrink;         /* the administrator allows everything */
};

enum shrinkage_verdict {
	SHRINKAGE_FINE,
	SHRINKAGE_TOO_MUCH,      /* would be removed */
	SHRINKAGE_NO_KEYS,       /* there are none, and there would be none: "not found" for every key */
};

/*
 * Whether the change may be made.  *s becomes what the note has to say then: it must be written if something is removed, or
 * may_be_empty has changed.
 */
enum shrinkage_verdict shrinkage_judge(struct shrinkage *s, const struct shrinking *change);

/* Behind SHRINKAGE_TOO_MUCH: what would be removed, and what was before that counts with it. */
void shrinkage_explain(const struct shrinkage *s, const struct shrinking *change, struct buf *why);

/* At `now`, `removed` of the map's `keys` are removed.  Forgets what is older than ten minutes. */
void shrinkage_add(struct shrinkage *s, int64_t now, size_t keys, size_t removed);

/* What was removed in the last ten minutes as of the last shrinkage_add(). */
size_t shrinkage_gone(const struct shrinkage *s);

/*
 * True if that is a mass removal (livemap_is_mass_removal()), measured by what the map held before the first of these
 * removals; `left` is what it will hold.
 */
bool shrinkage_is_too_much(const struct shrinkage *s, size_t left);

/* Adds it to an empty buffer, as text: lines of three numbers, or "empty" for a map that may be that. */
void shrinkage_encode(struct buf *note, const struct shrinkage *s);

/* False if the note is damaged; *s is zeroed then.  A single line is what older versions wrote. */
bool shrinkage_decode(const char *note, size_t n, struct shrinkage *s);

#endif
