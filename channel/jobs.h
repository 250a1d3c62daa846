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
#include "channel/outcome.h"
#include "channel/protocol/policy.h"
#include "channel/protocol/transaction.h"
#include "lib/buf.h"
#include "lib/file.h"

/* Recipients under way, found by address whatever its case. */
#define BUSY_BUCKETS 1024

struct job_recipient;

struct jobs {
	const struct jobs_options *options;
	struct outcomes outcomes; /* what becomes of recipients, and what is reported to the scheduler */
	struct job_recipient *busy[BUSY_BUCKETS];
	struct job *first, *last; /* in the order of arrival */
	uint64_t received;        /* how many there were so far */
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
 * Its next transaction for session number `session` on that connection (its number, or CONNECTION_NEW), with at most
 * max_recipients and `limit` (0 = none) recipients.  No recipient with a message under way on another session is in it: a store
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

#endif
