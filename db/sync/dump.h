/*
 * The first copy of a new machine: what a map of ldapsync holds, its notes with it, as text from which another machine makes
 * the same map.  With the cookie that stands there, ldapsync goes on with what has changed since.
 *
 *   ldapsync-dump 1 FOLDING
 *   +KEY TAB VALUE               a record
 *   !NAME TAB BYTES              a note of the copy (db/live/livemap.h)
 *   =RECORDS NOTES DIGEST        of all bytes before this line
 *
 * Bytes that are control characters, and '\', are written as \XX.
 */
#ifndef ZL_DB_SYNC_DUMP_H
#define ZL_DB_SYNC_DUMP_H

#include <stdbool.h>
#include <stdio.h>

#include "db/grammar/value.h"
#include "db/live/livemap.h"
#include "db/store/records.h"
#include "lib/buf.h"

/* Writes the state of one moment; a program that changes the map waits as long as it is read.  EX_OK, or a code with `why`. */
int sync_dump(const struct livemap_settings *settings, FILE *out, struct buf *why);

struct loading {
	const char *path;
	struct value_check *check;      /* of values; NULL: none */
	bool may_be_empty;
	bool domains;                   /* served domains are written from the map: they are due */
	size_t records;                 /* out: how many it has */
};

/*
 * Reads a dump from `fd`.  EX_OK, or EX_DATAERR or EX_IOERR with `why` naming loading->path and line.  What was read of records
 * and notes is there in either case.
 */
int sync_dump_read(const struct loading *loading, int fd, char folding, struct records *records, struct records *notes,
                   struct buf *why);

/*
 * Makes the map, which must not be there (EX_CANTCREAT): all records at once, then the notes, those that say how far the copy
 * has come last, so that a process that is killed leaves a map for which everything is read.  EX_DATAERR: the dump is damaged,
 * cut off, or does not fit; nothing was made.
 */
int sync_load(const struct livemap_settings *settings, struct loading *loading, struct buf *why);

#endif
