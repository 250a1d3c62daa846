/*
 * The queue by destinations and age (zlmtp-queue summary): how much waits for whom, since when, and why.
 */
#ifndef ZL_CHANNEL_OPERATOR_SUMMARY_H
#define ZL_CHANNEL_OPERATOR_SUMMARY_H

#include <stdbool.h>
#include <stdint.h>

#include "channel/operator/listing.h"
#include "lib/buf.h"

struct summary;

/* `now` is in seconds since 1970. */
struct summary *summary_create(int64_t now);
void summary_destroy(struct summary **s);

/* Counts an entry of a listing. */
void summary_count(struct summary *s, const struct listed *e);

/*
 * The same between processes: a line for each destination, behind "TAG row", with a TAB between the fields
 *
 *   CHANNEL HOST TOTAL HELD ACTIVE 5m 15m 1h 4h 1d older NEXT ANSWERED REASON
 *
 * and one of them, from CHANNEL on, taken into a summary that has no such destination; it is cut up.  False if it is none.
 */
void summary_rows(struct buf *out, const struct summary *s, const char *tag);
bool summary_take_row(struct summary *s, char *row);

/* Adds a table, most recipients first, with a row for all of them on top; at most `rows` destinations, 0 = all. */
void summary_text(struct buf *out, const struct summary *s, size_t rows);
/* Adds a JSON object on a line of its own for each destination. */
void summary_json(struct buf *out, const struct summary *s);

#endif
