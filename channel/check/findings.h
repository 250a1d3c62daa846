/*
 * What zlmtp-check has found, and how bad it is.
 */
#ifndef ZL_CHANNEL_CHECK_FINDINGS_H
#define ZL_CHANNEL_CHECK_FINDINGS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lib/buf.h"

/* What monitoring plugins exit with. */
enum severity { FINDING_OK, FINDING_WARNING, FINDING_CRITICAL, FINDING_UNKNOWN };

struct finding {
	enum severity severity;
	char *text;               /* one clean line */
};

struct metrics;

struct findings {
	struct finding *list;
	size_t count, capacity;
	struct buf performance;   /* "label=value[unit];[warn];[crit] ..." */
	struct metrics *metrics;  /* for the same numbers; NULL: none are wanted */
};

/* A limit that was passed is bad news, by two degrees; negative: there is none. */
struct thresholds {
	int64_t warning, critical;
};

void finding_add(struct findings *f, enum severity severity, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

/* What a value is worth. */
enum severity thresholds_judge(const struct thresholds *t, int64_t value);

/*
 * A number for graphs.  `unit` is "", "s" or "ms"; `t` may be NULL.  The label is cleaned, and
 * unique: the second of a kind is LABEL_2.
 */
void performance_add(struct findings *f, const char *label, int64_t value, const char *unit,
                     const struct thresholds *t);

/* The worst: critical before unknown before warning. */
enum severity findings_worst(const struct findings *f);

/*
 * Adds "OK - 12 checks passed | performance", or the state with the findings that make it; with
 * `verbose` a line for each finding behind it.
 */
void findings_print(const struct findings *f, bool verbose, struct buf *out);

void findings_free(struct findings *f);

#endif
