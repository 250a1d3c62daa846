/*
 * What a file of records is: the kinds of it, and what each can do.  The folders that look keys up (db/map), build maps
 * (db/build) and change them (db/live) stand on this; how each kind finds, walks and changes records is in bdb.h and lmdb.h.
 */
#ifndef ZL_DB_STORE_STORE_H
#define ZL_DB_STORE_STORE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lib/buf.h"

/*
 * What a walk calls for each record; neither key nor value counts its NUL.  A value ends at its first one, as in an answer; a
 * key that has one in it cannot be asked for, and is no shorter one.  False stops the walk.
 */
typedef bool record_each(void *context, const char *key, size_t key_length, const char *value, size_t value_length);

/*
 * True for keys that begin with NUL, counted with their last NUL or without: records of our programs about the map (its
 * stamp, the state of an updater), which no lookup can ask for.  An empty key is none.
 */
bool record_is_note(const char *key, size_t n);

/*
 * The value of a key whose value is not known: that of which the map is a copy says several, or none that can be used.  A
 * lookup cannot tell then.  No text holds it.
 */
#define UNCLEAR_VALUE "\001unclear"
bool record_is_unclear(const char *value, size_t n);

/* The length of a stored key or value of `n` bytes without the NUL at its end; ZMailer accepts values without. */
size_t record_length(const void *bytes, size_t n);

/* The suffixes of files of records, in a build without LMDB as well. */
#define STORE_BTREE ".db"
#define STORE_BHASH ".dbh"
#define STORE_LMDB ".lmdb"

/* The length of a map's path without the suffix of a file of records, if it has one. */
size_t store_base_length(const char *path);

/* Bytes after which a walk in pieces hands over what it has. */
#define STORE_PIECE (256u << 10)

/* The records of a file that is to be made, in ascending order of keys; lengths without NUL. */
struct store_load {
	uint64_t records;
	uint64_t bytes;         /* of keys and values with their NULs */
	bool (*next)(void *context, const char **key, size_t *key_length, const char **value, size_t *value_length);
	void *context;
};

struct store {
	const char *type;       /* "btree", "bhash", "lmdb" */
	const char *suffix;     /* of files of this type */
	size_t longest_key;     /* with its NUL; 0 for no limit */

	/*
	 * Fills the empty file `path`.  0, or an exit code of <sysexits.h> with `why` set.  Nothing is synced, the caller has
	 * the file open anyway.
	 */
	int (*load)(const char *path, const struct store_load *load, struct buf *why);
};

extern const struct store store_btree, store_bhash, store_lmdb;

/* What a file is found to be before its library may trust it. */
enum store_proof {
	STORE_SOUND,
	STORE_DAMAGED,          /* the content is to blame */
	STORE_COULD_NOT_TELL,   /* all else: no memory, no right, a disk that cannot be read, a child that was killed */
};

/*
 * False for a file that has far more bytes than its library knows of.  It is no map that was built here, and may be as good as
 * endless (a sparse file), so that not all of it should be read.
 */
bool store_is_plausible(int64_t size, uint64_t used);

/* What `look` of store_look() returns. */
enum { STORE_LOOKS_SOUND, STORE_LOOKS_DAMAGED, STORE_CANNOT_LOOK };

/*
 * Has look(context, said) read a file of `size` bytes in a child, as damage can crash the library that reads it.  `why` is set
 * unless it is sound.
 */
enum store_proof store_look(int (*look)(void *context, struct buf *said), void *context, int64_t size, struct buf *why);

#endif
