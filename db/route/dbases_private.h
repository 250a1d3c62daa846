/*
 * What the two parts of the reader of dbases.conf share: lines (dbases.c) and fields (dbases_fields.c).
 */
#ifndef ZL_DB_ROUTE_DBASES_PRIVATE_H
#define ZL_DB_ROUTE_DBASES_PRIVATE_H

#include "db/route/dbases.h"

#define FIELDS 6

struct dbases_reader {
	struct dbases *dbases;
	const struct zenv *zenv;
	fault_report *report;
	void *context;
	size_t line;
	size_t errors;
	char *fields[FIELDS];        /* of the line at hand */
	size_t columns[FIELDS];
};

/* Reports a fault.  `field` is the one it is about, FIELDS for the whole line. */
void dbases_tell(struct dbases_reader *r, bool is_warning, size_t field, const char *format, ...)
	__attribute__((format(printf, 4, 5)));

/* Reads the fields of the line into *m, as far as they are good; the caller frees it by dbases_free_map(). */
void dbases_fields(struct dbases_reader *r, struct dbases_map *m);

void dbases_free_map(struct dbases_map *m);

#endif
