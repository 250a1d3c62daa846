/*
 * Counters in a file, in the text form of Prometheus, for the textfile collector of its node exporter.
 *
 * The file is the memory: each process counts for itself and now and then adds to the file what it has counted
 * since, under a lock (FILE.lock) and by rename.  So counters of all processes add up and go on when a process ends
 * or the system is started again; a process that is killed loses what it had not added yet and damages nothing.
 *
 * Numbers are kept in thousandths, as seconds have fractions.
 */
#ifndef ZL_LIB_METRICS_H
#define ZL_LIB_METRICS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lib/buf.h"

enum metric_kind {
	METRIC_COUNTER,           /* adds up */
	METRIC_GAUGE,             /* is set; what an earlier process has set goes, with all labels */
	METRIC_HISTOGRAM,         /* adds up; see metrics_spread() */
};

struct metric {
	const char *name;
	enum metric_kind kind;
	const char *help;         /* one line without a backslash */
};

struct metrics;

/* Counts for the file `path`.  Nothing is opened. */
struct metrics *metrics_create(const char *path);

/* Adds name="value" to a list of labels; the value is cleaned and quoted. */
void metrics_label(struct buf *labels, const char *name, const char *value);

/* Adds to a counter or sets a gauge.  `labels` is "" or a list; a metric is known by its name. */
void metrics_add(struct metrics *m, const struct metric *metric, const char *labels, uint64_t thousandths);

/*
 * Adds to a histogram: `counts` of observations up to each of n `limits` (in thousandths, rising) and above
 * (counts[n]), and their sum.
 */
void metrics_spread(struct metrics *m, const struct metric *metric, const char *labels, const uint64_t *limits,
                    const uint64_t *counts, size_t n, uint64_t sum);

enum metrics_result {
	METRICS_WRITTEN,          /* and begun again from 0 */
	METRICS_BUSY,             /* another process writes; everything is kept for the next time */
	METRICS_REFUSED,          /* `why` has one line; everything is kept */
};

/*
 * Adds what was counted to the file, which is made if it is not there.  Waits `patience` milliseconds at most for other
 * processes.  A file that is none of ours, or damaged, is left alone.
 */
enum metrics_result metrics_write(struct metrics *m, int64_t patience, struct buf *why);

void metrics_destroy(struct metrics **m);

#endif
