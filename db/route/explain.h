/*
 * Lookups and routing explained: every key tried, in which map, what it answered, from which line of its text, what was
 * put in for references, and why it went on.
 *
 * Lines of text, indented by how many expansions they are inside; bytes from outside are made
 * printable.
 */
#ifndef ZL_DB_ROUTE_EXPLAIN_H
#define ZL_DB_ROUTE_EXPLAIN_H

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>

#include "db/map/map.h"
#include "db/route/relation.h"
#include "lib/buf.h"

struct explain_origin;

/* Zero it before use. */
struct explain {
	struct buf out;            /* grows; its owner prints and clears it */
	unsigned depth;
	const char *relation;      /* being asked */
	struct explain_origin *origins;    /* texts of maps, read when first needed */
	size_t origin_count;
	size_t origin_capacity;
};

/* One free line. */
void explain_line(struct explain *e, const char *format, ...) __attribute__((format(printf, 2, 3)));
void explain_vline(struct explain *e, const char *format, va_list ap) __attribute__((format(printf, 2, 0)));

/* A relation_watch whose context is a struct explain. */
void explain_lookup(void *context, const struct relation_map *from, const char *key, enum map_answer answer,
                    const char *text, bool cached);

/*
 * The line of the text that `key` of an open map comes from, and *file, its name; 0 if that is not known.
 * The text is read once per struct explain.
 */
size_t explain_source(struct explain *e, const struct map *map, const char *key, const char **file);

void explain_free(struct explain *e);

#endif
