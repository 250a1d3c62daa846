/*
 * Which mail of a queue is meant: the FILTER of zlmtp-queue(8).
 */
#ifndef ZL_CHANNEL_OPERATOR_MAILFILTER_H
#define ZL_CHANNEL_OPERATOR_MAILFILTER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "channel/operator/listing.h"
#include "lib/buf.h"

enum mailfilter_kind { FILTER_ALL, FILTER_ID, FILTER_FROM, FILTER_TO, FILTER_CHANNEL, FILTER_HOST, FILTER_OLDER, FILTER_STATE };

struct mailfilter_condition {
	enum mailfilter_kind kind;
	const char *value;
	int64_t seconds;          /* of FILTER_OLDER */
};

/* All conditions must hold; without any, everything is meant. */
struct mailfilter {
	struct mailfilter_condition *conditions;
	size_t count, capacity;
	const char *id;           /* value of a FILTER_ID, NULL without */
};

/* Adds one word of a command line; it must live as long.  False with a line in `why`. */
bool mailfilter_add(struct mailfilter *f, const char *word, struct buf *why);

/* True for a file or directory that cannot be read, if what is meant may be in it. */
bool mailfilter_may_match(const struct mailfilter *f, const struct listed *e);

/* `now` is in seconds since 1970.  An id is met by its beginning too: see mailfilter_is_exact(). */
bool mailfilter_matches(const struct mailfilter *f, const struct listed *e, int64_t now);

/* True if the whole spool id or the job name is what was given. */
bool mailfilter_is_exact(const struct mailfilter *f, const struct listed *e);

void mailfilter_free(struct mailfilter *f);

/* "90", "45s", "12m", "3h", "2d", "1w" or several, "1d12h": seconds.  False if it is none. */
bool mailfilter_span(const char *text, int64_t *seconds);

#endif
