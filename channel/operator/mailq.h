/*
 * The queue as a table and as JSON.
 */
#ifndef ZL_CHANNEL_OPERATOR_MAILQ_H
#define ZL_CHANNEL_OPERATOR_MAILQ_H

#include <stdint.h>

#include "channel/operator/listing.h"

/*
 * Adds a table with a row for each recipient and each file in trouble, and a line that sums up; nothing if the queue
 * is empty.  `now` is in seconds since 1970.
 */
void mailq_text(struct buf *out, const struct listing *l, int64_t now);

/* The two parts of it: the table with its headings, and the line. */
void mailq_table(struct buf *out, const struct listing *l, int64_t now);
void mailq_sums(struct buf *out, const struct listing *l, int64_t now);

/* Nothing was printed: to a person at a terminal it says so, on standard error; a pipe or a file gets nothing. */
#define MAILQ_EMPTY "The queue is empty."
void mailq_nothing(const char *words);

/* Adds a JSON object on a line of its own for each recipient and each file in trouble. */
void mailq_json(struct buf *out, const struct listing *l);

/* The state of an entry in one word: waiting, due, active, held, report, damaged, unreadable. */
const char *mailq_state(const struct listed *e);

/* Adds when something is tried next: "held", "-" (unknown), "now", or how long it is until then. */
void mailq_add_next(struct buf *out, int64_t next, int64_t now);

/* Adds a time span of two units at most: 45s, 12m, 3h05m, 2d04h. */
void mailq_add_span(struct buf *out, int64_t seconds);

#endif
