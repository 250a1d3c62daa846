/*
 * Jobs: the lines a scheduler has fed, the control files behind them, and what
 * becomes of each recipient (transport-agent.md section 6).
 *
 * Jobs are taken in the order they came.  A job gives one transaction after the other, for
 * each group of recipients with one sender and one header; when every recipient
 * has its outcome, its "#hungry" goes out.
 */
#ifndef ZL_JOBS_H
#define ZL_JOBS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "channel/message/source.h"
#include "channel/protocol/policy.h"
#include "channel/protocol/transaction.h"
#include "lib/buf.h"

struct job;

struct jobs_options {
	const char *channel;      /* -c: recipients of this channel only */
	const char *host;         /* host for job lines without one, NULL if there is none */
	size_t max_recipients;    /* in one transaction */
	pid_t lock_pid;           /* written into locks */
};

struct jobs {
	const struct jobs_options *options;
	struct job *first, *last; /* in the order of arrival */
	struct buf answers;       /* for the scheduler: reports, comments, "#hungry" */
};

void jobs_init(struct jobs *jobs, const struct jobs_options *options);
void jobs_free(struct jobs *jobs);

/* A job line: control file and host, NULL if the line had none. */
void jobs_add(struct jobs *jobs, const char *path, const char *host);

/*
 * The first job that has something to send, opened and locked; jobs before it that
 * have nothing are answered.  NULL if there is none now.
 */
struct job *jobs_first_to_send(struct jobs *jobs);

/* Host and arrival (clock_ms()) of a job. */
const char *job_host(const struct job *job);
int64_t job_received_at(const struct job *job);

/* Its next transaction; recipients beyond max_recipients and `limit` (0 = none) stay for a further one. */
struct transaction *job_take(struct jobs *jobs, struct job *job, size_t limit);

/* Where the content of a transaction comes from. */
void jobs_content(struct transaction *t, struct source *source);

/*
 * One recipient has its outcome: mark it in the control file, then report it.  `remote` is field 5
 * of NOTARY; `server_reports` says that the server took over the duty of success reports (DSN).
 */
void jobs_settled(struct jobs *jobs, struct transaction *t, size_t recipient, const struct result *result,
                  const char *remote, bool server_reports);

/* The transaction is over: it is freed, what it left open is for the next one. */
void jobs_done(struct jobs *jobs, struct transaction *t);

/* Defers everything of a job that is not under way, without trying. */
void job_fail(struct jobs *jobs, struct job *job, const struct result *result, const char *remote);

/* True if no job is open or waiting. */
bool jobs_empty(const struct jobs *jobs);

/* Forgets jobs that were not opened yet; the scheduler will schedule them again. */
void jobs_drop_unopened(struct jobs *jobs);

/* Adds a comment line for the scheduler's log. */
void jobs_comment(struct jobs *jobs, const char *format, ...) __attribute__((format(printf, 2, 3)));

#endif
