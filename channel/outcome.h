/*
 * What one recipient's outcome leaves behind: the mark and the d line in the control file, the
 * report, the log line (spool.md sections 8 to 10, transport-agent.md section 4).
 */
#ifndef ZL_CHANNEL_OUTCOME_H
#define ZL_CHANNEL_OUTCOME_H

#include "channel/job.h"

/*
 * Marks, then reports: a crash between the two costs a duplicate at most.  `t` and `to` are NULL if
 * the recipient was in no transaction.  A failure is kept for outcome_write_failures().
 */
void outcome_conclude(struct jobs *jobs, struct job *job, struct job_recipient *recipient,
                      const struct result *result, const struct transaction *t,
                      const struct transaction_recipient *to, const struct settlement *how);

/* Appends the d lines of a job's failures. */
void outcome_write_failures(struct jobs *jobs, struct job *job);

/*
 * Syncs them, then marks and reports.  What cannot be written down becomes a deferral: nobody would ever tell the
 * sender of a failure.
 */
void outcome_conclude_failures(struct jobs *jobs, struct job *job);

#endif
