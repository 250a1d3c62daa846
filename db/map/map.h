/*
 * The map interface: one question, three answers.
 *
 * A back end is a constant table of functions; `struct map` is a map with what is known about where it comes from.
 * Only map_open() knows the list of back ends.  Everything here reads; maps are written by db/build/build.h (whole
 * files) and by the live updater (in place).
 */
#ifndef ZL_DB_MAP_MAP_H
#define ZL_DB_MAP_MAP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "db/store/answer.h"
#include "db/store/store.h"
#include "lib/buf.h"

struct map;
struct stamp;
struct stat;

/*
 * Where a map comes from.  `source` and `type` are known from map_open() on; the rest describes the file that
 * answered last and is zero until one was opened.
 */
struct map_provenance {
	const char *source;          /* what is opened: the path with its suffix, or a URI */
	const char *type;            /* "btree", "bhash", "lmdb", "unordered", "ldap", ... */
	uid_t owner;
	mode_t mode;
	dev_t device;
	ino_t inode;
	int64_t modified;            /* nanoseconds since 1970; 0 if it has no such time */
	int64_t changed;             /* the same of its inode, which no program can set back as cp -p does */
	int64_t size;                /* bytes */
	const struct stamp *stamp;   /* how newdb built it (stamp.h), NULL if the map does not say */
};

/* What became of a map since it was opened, or since this was asked last. */
enum map_change {
	MAP_SAME,
	MAP_CHANGED,     /* it may answer otherwise; what is open sees that */
	MAP_REPLACED,    /* it must be opened again */
};

/*
 * A back end.  The functions get a map whose path and config are set; trouble is reported by map_fail() and leaves
 * nothing open.  Only `open`, `find` and `close` must be there.
 */
struct map_operations {
	const char *type;
	const char *suffix;     /* of files of this type: ".db", ".lmdb"; "" where the path is taken as it stands */
	const struct store *store;      /* the files of this type; NULL where none are made here */

	/* Looks at the config file, once; opens no map.  0, or an exit code of <sysexits.h> with map_fail(). */
	int (*prepare)(struct map *map);

	/* Opens for reading and fills in the provenance.  False: the next lookup tries again. */
	bool (*open)(struct map *map);

	/* `key` as it stands, `length` bytes and a NUL that does not count.  Adds the value to `value` without its NUL. */
	enum map_answer (*find)(struct map *map, const char *key, size_t length, struct buf *value) MAP_MUST_LOOK;

	/* NULL where a type cannot be walked (ldap). */
	enum map_answer (*walk)(struct map *map, record_each *each, void *context) MAP_MUST_LOOK;

	/* NULL: it never changes. */
	enum map_change (*changed)(struct map *map);

	void (*close)(struct map *map);

	/* Frees what prepare() made, after close(). */
	void (*forget)(struct map *map);
};

struct map {
	const struct map_operations *operations;
	struct map_provenance provenance;
	char *path;             /* with suffix */
	char *config;           /* the -C file, or NULL */
	struct buf error;       /* why the last answer was MAP_COULD_NOT_TELL */
	bool is_damaged;        /* error is about the content of the file, and not about what we may or can do here */
	bool is_open;
	bool read_once;         /* may be set before it opens: it will be walked, or asked for little */
	int64_t retry;          /* clock_ms() before which a map that could not be opened is not tried again */
	struct stamp *stamp;    /* what provenance.stamp points to */
	void *settings;         /* the back end's own, from prepare() to forget() */
	void *state;            /* the back end's own, from open() to close() */
};

/*
 * Names a map; nothing but its config file is read, it opens at the first lookup.  The type adds its suffix to
 * `path` unless it ends in the suffix of a map type already.  `config` is the -C file or NULL.  Returns NULL with
 * `why` and *status (<sysexits.h>) set: EX_CONFIG for a bad config, EX_NOINPUT for one that cannot be read,
 * EX_UNAVAILABLE for an unknown type.
 */
struct map *map_open(const char *type, const char *path, const char *config, int *status, struct buf *why);

/* The same for a file of any name: `path` is opened as it stands, in no environment. */
struct map *map_open_file(const char *type, const char *path, int *status, struct buf *why);

/*
 * Looks up `key`; on MAP_FOUND its value is added to `value`, on the other answers `value` stays as it was.  A map
 * that is missing, damaged or out of reach answers MAP_COULD_NOT_TELL to every key and never "not found"; it is
 * opened again by a later lookup, at most once a second.
 */
enum map_answer map_find(struct map *map, const char *key, struct buf *value) MAP_MUST_LOOK;

/* map_fail() for a file that cannot be opened (errno), with what to do about one that is missing.  False. */
bool map_fail_open(struct map *map);

/*
 * Calls `each` for all records in the store's order, but for notes.  MAP_FOUND at the end or when `each` stopped
 * it; MAP_COULD_NOT_TELL on trouble or where the type cannot be walked; never MAP_NOT_FOUND.
 */
enum map_answer map_walk(struct map *map, record_each *each, void *context) MAP_MUST_LOOK;

/*
 * The -m check: true if answers given so far may be out of date (caches are to be emptied).  A file that was
 * replaced is opened again by the next lookup.
 */
bool map_refresh(struct map *map);

/* Opens the map now if it is not open.  False with map_error(). */
bool map_ready(struct map *map);

/* One line that names the map and what is wrong; "" if nothing was. */
const char *map_error(const struct map *map);

/* Closes and frees; clears the caller's pointer.  Harmless on NULL. */
void map_close(struct map **map);

/* The table of a type, whatever the case of its name; NULL for an unknown type. */
const struct map_operations *map_type(const char *type);

/* The suffix that files of `type` have, "" if they have none; NULL for an unknown type. */
const char *map_suffix(const char *type);

/* ---- for back ends ---- */

/* Puts "SOURCE: text" into map->error, in printable form.  Returns MAP_COULD_NOT_TELL. */
enum map_answer map_fail(struct map *map, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* True if the file was found sound; else the error says so, with `why`; map->is_damaged if its content is to blame. */
bool map_fail_unless_sound(struct map *map, enum store_proof proof, const struct buf *why);

/*
 * True for a key that a server may be asked for.  Control bytes are in no address; blanks at the ends a server may pass over,
 * and find another key.
 */
bool map_key_is_askable(const char *key, size_t length);

/*
 * True if a lookup may keep a process waiting, or hang it: a directory, a database, a Berkeley DB environment (dbases.conf(5)).
 */
bool map_is_slow(const struct map *map);

/* Fills in the file part of the provenance from an open file; false with map_fail(). */
bool map_provenance_of(struct map *map, int fd);

/* The time of the last change to a file as provenance.modified has it. */
int64_t map_modified(const struct stat *st);

/*
 * True if the file that is open is as the provenance says, so that what was read of it counts.  The time of its inode shows
 * what was written although the other one was set back; it also changes when a newer file takes the name away, which is no
 * harm.
 */
bool map_is_untouched(const struct map *map, const struct stat *opened);

/*
 * Compares the provenance with what the path names now, and brings its times up to date.  A file that was put back is another.
 */
enum map_change map_file_change(struct map *map);

/* Looks up the stamp of a map that is open, for provenance.stamp; none is no trouble.  map_close() frees it. */
void map_read_stamp(struct map *map);

extern const struct map_operations map_btree, map_bhash, map_lmdb, map_ldap, map_pgsql, map_mysql, map_sqlite, map_unordered, map_ordered;
extern const struct map_operations map_inline, map_constant, map_failing, map_failing_nth, map_slow;

#endif
