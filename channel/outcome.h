/*
 * What one recipient's outcome leaves behind: the mark and the d line in the control file, the
 * report, the log line (spool.md sections 8 to 10, transport-agent.md section 4).
 */
#ifndef ZL_CHANNEL_OUTCOME_H
#define ZL_CHANNEL_OUTCOME_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "channel/protocol/policy.h"
#include "channel/protocol/transaction.h"
#include "channel/record.h"
#include "lib/buf.h"

struct job;
struct job_recipient;
struct tally;

/* How jobs are taken, and their outcomes told. */
struct jobs_options {
	const char *channel;      /* -c: recipients of this channel only */
	const char *host;         /* host for job lines without one, NULL if there is none */
	size_t max_recipients;    /* in one transaction */
	pid_t lock_pid;           /* written into locks */
	struct record *record;    /* the log of outcomes */
	struct tally *tally;      /* and their number */
	bool relays;              /* the server is a relay: it has passed on, not delivered, what it took (RFC 3464) */
	bool ignore_ezmlm;        /* no return path of its own for each EZMLM= recipient */
	bool ignore_quota;        /* ask for delivery over quota */
	bool seven_bit;           /* treat every server as one without 8BITMIME (-7) */
	bool eight_bit;           /* ... as one with it, and decode quoted-printable text (-8) */
	bool plain_headers;       /* leave 8-bit header fields alone (-H) */
	const char *charset;      /* of 8-bit text that does not say what it is */
	bool sync_marks;          /* a mark in the control file is on the disk before it is reported */
};

struct outcomes {
	const struct jobs_options *options;
	char agent[32];           /* our name in reports, with the process id */
	struct buf answers;       /* for the scheduler: reports, comments, "#hungry" */
	struct job *failing;      /* those with failures that are not written down yet */
	int64_t failing_since;    /* the first of them (clock_ms()) */
};

void outcomes_init(struct outcomes *outcomes, const struct jobs_options *options);
void outcomes_free(struct outcomes *outcomes);

/* Adds a comment line for the scheduler's log. */
void outcomes_comment(struct outcomes *outcomes, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* What outcome_conclude() must know besides the result. */
struct settlement {
	const char *remote;       /* field 5 of NOTARY */
	bool server_reports;      /* the server took over the duty of success reports (DSN) */
	const struct record_connection *connection;    /* for the log line */
};

/*
 * Marks, then reports: a crash between the two costs a duplicate at most.  `t` and `to` are NULL if
 * the recipient was in no transaction.  A failure is kept for outcome_write_failures().
 */
void outcome_conclude(struct outcomes *outcomes, struct job *job, struct job_recipient *recipient,
                      const struct result *result, const struct transaction *t,
                      const struct transaction_recipient *to, const struct settlement *how);

/* Appends the d lines of a job's failures. */
void outcome_write_failures(struct outcomes *outcomes, struct job *job);

/*
 * Syncs them, unless they are `synced` already, then marks and reports.  What cannot be written down becomes a deferral:
 * the sender would never hear of a failure.
 */
void outcome_conclude_failures(struct outcomes *outcomes, struct job *job, bool synced);

#endif
