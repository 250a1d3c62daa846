/*
 * Jobs: the lines a scheduler has fed, the control files behind them, and what
 * becomes of each recipient (transport-agent.md section 6).
 *
 * Jobs are taken in the order they came.  A job gives one transaction after the other, for
 * each group of recipients with one sender and one header; when every recipient
 * has its outcome, its "#hungry" goes out.
 */
#ifndef ZL_CHANNEL_JOBS_H
#define ZL_CHANNEL_JOBS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "channel/message/source.h"
#include "channel/protocol/policy.h"
#include "channel/protocol/transaction.h"
#include "channel/record.h"
#include "lib/buf.h"

struct job;
struct tally;

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

/* Recipients under way, found by address whatever its case. */
#define BUSY_BUCKETS 1024

struct job_recipient;

struct jobs {
	const struct jobs_options *options;
	struct job_recipient *busy[BUSY_BUCKETS];
	struct job *first, *last; /* in the order of arrival */
	struct job *failing;      /* those with failures that are not written down yet */
	int64_t failing_since;    /* the first of them (clock_ms()) */
	uint64_t received;        /* how many there were so far */
	char agent[32];           /* our name in reports, with the process id */
	struct buf answers;       /* for the scheduler: reports, comments, "#hungry" */
};

void jobs_init(struct jobs *jobs, const struct jobs_options *options);
void jobs_free(struct jobs *jobs);

/* A job line: control file and host, NULL if the line had none. */
void jobs_add(struct jobs *jobs, const char *path, const char *host);

/*
 * Walks over the jobs that have something to send: NULL starts, then the job before. Jobs are
 * opened and locked here; those that have nothing are answered and gone.  NULL at the end.
 */
struct job *jobs_next_to_send(struct jobs *jobs, struct job *after);

/* Host of a job, and its number in the order of arrival, from 1; jobs->received is that of the last one. */
const char *job_host(const struct job *job);
uint64_t job_number(const struct job *job);

/* A connection that is made for the transaction. */
#define CONNECTION_NEW UINT64_MAX

/*
 * Its next transaction for session number `session` on that connection (its number, or CONNECTION_NEW), with at most max_recipients and `limit` (0 = none)
 * recipients.  Nobody with a message under way on another session is in it: a store
 * must never work on two messages for one mailbox because of us.  NULL if that leaves
 * nobody.
 */
struct transaction *job_take(struct jobs *jobs, struct job *job, size_t limit, unsigned session, uint64_t connection);

/* Must its first waiting recipient go on a connection that was begun after one that failed it? */
bool job_wants_new(const struct job *job);

/* The session that its first waiting recipient has other mail under way on; UINT_MAX if there is none. */
unsigned job_bound_to(struct jobs *jobs, const struct job *job);

/* Does it have one recipient only? */
bool job_is_for_one(const struct job *job);

/*
 * A transaction is about to be begun on a server with these capabilities: converts its message if
 * the server cannot take it as it is.  False with one line in `why` if that fails.
 */
bool jobs_prepare(struct jobs *jobs, struct transaction *t, const struct caps *caps, struct buf *why);

/* Where the content of a transaction comes from. */
void jobs_content(struct transaction *t, struct source *source);

/* What outcome_conclude() must know besides the result. */
struct settlement {
	const char *remote;       /* field 5 of NOTARY */
	bool server_reports;      /* the server took over the duty of success reports (DSN) */
	const struct record_connection *connection;    /* for the log line */
};

/* The transaction is over: it is freed, what it left open is for the next one. */
void jobs_done(struct jobs *jobs, struct transaction *t);

/* Defers everything of a job that is not under way, without trying. */
void job_fail(struct jobs *jobs, struct job *job, const struct result *result, const struct settlement *how);

/*
 * Refusals wait this long for others, in milliseconds, so that one fdatasync(2) is for all of them: a disk takes some
 * hundred in a second, a server refuses thousands.
 */
#define FAILURES_WAIT 50

/* When jobs_write_failures() wants to be called, CLOCK_NEVER if nothing waits for it. */
int64_t jobs_failures_due(const struct jobs *jobs);

/* Writes d lines of all failures that wait, syncs them, then marks and reports the recipients. */
void jobs_write_failures(struct jobs *jobs);

/* True if no job is open or waiting. */
bool jobs_empty(const struct jobs *jobs);

/* Forgets jobs that were not opened yet; the scheduler will schedule them again. */
void jobs_drop_unopened(struct jobs *jobs);

/* Adds a comment line for the scheduler's log. */
void jobs_comment(struct jobs *jobs, const char *format, ...) __attribute__((format(printf, 2, 3)));

#endif
