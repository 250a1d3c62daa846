/*
 * Routing explained: every key tried, in which map, what it answered, what was put in for references, and why it went on.
 *
 * Lines of text, indented by how many expansions they are inside; bytes from outside are made
 * printable.
 */
#ifndef ZL_EXPLAIN_H
#define ZL_EXPLAIN_H

#include <stdarg.h>
#include <stddef.h>

#include "db/map/map.h"
#include "db/route/relation.h"
#include "lib/buf.h"

struct explain {
	struct buf out;            /* grows; whoever made it prints and clears it */
	unsigned depth;
	const char *relation;      /* being asked */
};

/* One free line. */
void explain_line(struct explain *e, const char *format, ...) __attribute__((format(printf, 2, 3)));
void explain_vline(struct explain *e, const char *format, va_list ap) __attribute__((format(printf, 2, 0)));

/* A relation_watch whose context is a struct explain. */
void explain_lookup(void *context, const struct relation_map *from, const char *key, enum map_answer answer,
                    const char *text, bool cached);

void explain_free(struct explain *e);

#endif
