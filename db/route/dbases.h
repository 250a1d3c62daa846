/*
 * dbases.conf: which maps make up which relation (maps.md section 3).
 *
 *   RELATION TYPE[,SUBTYPE] PRIV BUILD FILE LOOKUP...
 *
 * Every field means what it says.  What ZMailer would skip or misread without a word (indented lines, unknown types,
 * privileges out of range, "-r" glued to other letters, an option field "-") is an error with its line.
 */
#ifndef ZL_DB_ROUTE_DBASES_H
#define ZL_DB_ROUTE_DBASES_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include "db/build/fault.h"
#include "db/build/text.h"
#include "db/route/relation.h"
#include "lib/zenv.h"

enum dbases_kind {
	DBASES_NONE,           /* NONE: no map, but a script */
	DBASES_BUILT,          /* built from its text: btree, bhash, lmdb */
	DBASES_LIVE,           /* the same types with -r: another program keeps it up to date */
	DBASES_READ,           /* read in place: unordered, ordered, ldap */
	DBASES_FOREIGN,        /* bind, yp: for ZMailer's router only */
};

/* One line. */
struct dbases_map {
	size_t line;
	enum dbases_kind kind;
	char *relation;
	char *type;                    /* as map_open() knows it; "NONE" */
	char *subtype;                 /* or NULL */
	bool default_type;             /* the line says $DBTYPE */
	bool has_privilege;            /* the third field is not "-" */
	uid_t uid;
	gid_t gid;
	mode_t mode;                   /* 0644 if it does not say */
	struct text_syntax syntax;     /* of BUILT: the fourth field */
	bool join;                     /* -A in it */
	char *file;                    /* variables put in, absolute, without suffix; NULL for "-" */
	char *file_written;            /* as it stands in the line */
	char *lookup_written;          /* the sixth field as it stands */
	struct lookup_options lookup;
	char *config;                  /* the file of -C, variables put in, or NULL */
	char *config_written;
};

struct dbases {
	char *path;
	char *directory;               /* for scripts and relative names: $MAILVAR/db, without MAILVAR where the file is */
	struct dbases_map *maps;
	size_t count;
	size_t capacity;
};

/*
 * Reads `path`.  0, or EX_NOINPUT or EX_CONFIG after all that is wrong went to `report`; then nothing is to be freed.
 */
int dbases_read(struct dbases *dbases, const char *path, const struct zenv *zenv, fault_report *report, void *context);

/* The same; the caller has the text, too, and frees it. */
int dbases_read_text(struct dbases *dbases, const char *path, struct buf *text, const struct zenv *zenv,
                     fault_report *report, void *context);

/* The same from `n` bytes of text. */
int dbases_parse(struct dbases *dbases, const char *path, const char *text, size_t n, const struct zenv *zenv,
                 fault_report *report, void *context);

void dbases_free(struct dbases *dbases);

/*
 * Opens a relation: its maps in the order of the file.  NULL with *status and `why` set if a map is refused; a relation
 * that the file does not have gives NULL with EX_UNAVAILABLE.
 */
struct relation *dbases_relation(const struct dbases *dbases, const char *name, int *status, struct buf *why);

/* Adds the names of its relations, or "none". */
void dbases_add_names(const struct dbases *dbases, struct buf *out);

/* True if the file has a line for it. */
bool dbases_has(const struct dbases *dbases, const char *name);

/* The line whose map is the file `path` (with or without suffix); NULL if there is none. */
const struct dbases_map *dbases_find_file(const struct dbases *dbases, const char *path);

#endif
