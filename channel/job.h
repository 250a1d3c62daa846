/*
 * What jobs.c and outcome.c know of a job.  No other file includes this.
 */
#ifndef ZL_CHANNEL_JOB_H
#define ZL_CHANNEL_JOB_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "channel/message/source.h"
#include "channel/protocol/policy.h"
#include "channel/protocol/transaction.h"
#include "channel/record.h"
#include "channel/spool/control.h"
#include "lib/buf.h"

struct job_recipient {
	const struct control_recipient *line;
	enum outcome outcome;
	bool under_way;           /* in a transaction now */
	bool retried;             /* was in one that broke before it was answered */
	unsigned offered;         /* how often a used-up connection refused its MAIL (MAIL_OFFERS) */
	uint64_t newer_than;      /* only connections with a higher number may have it */
	bool maybe_taken;         /* ... and was on the wire whole */
	unsigned session;         /* on which it is under way */
	uint64_t hash;            /* of the address in lower case */
	struct job_recipient *busy_next;
	char notify[32];          /* value of NOTIFY= */
};

/* What became of a recipient, and all that is reported of it. */
struct settled {
	struct job_recipient *recipient;
	struct result result;
	struct buf text;
	const char *remote;          /* field 5 of NOTARY */
	struct record_connection connection;    /* peer is NULL without one */
	int64_t begun_at, sent_at;
};

/* A transaction with the strings that were made for it alone. */
struct job_transaction {
	struct transaction transaction;      /* first: both are one address */
	struct own_strings {
		char *sender;
		char *by;
		bool converted;              /* the converted form of the message is sent */
	} own;
};

struct job {
	struct job *next;
	char *name;
	char *host;
	uint64_t number;          /* in the order of arrival, from 1 */
	int64_t received_at;
	bool opened;
	int verbose;              /* descriptor of the v file; -1 = none */
	struct buf spool;         /* spool id */
	struct control *control;
	struct body body;
	struct form {             /* by index of the control file's header blocks; made when first used */
		struct header header;
		bool converted;           /* converted again for a server that cannot take the original */
		struct header converted_header;
		struct body converted_body;
	} *forms;
	struct job_recipient *recipients;
	size_t count;
	size_t open;              /* recipients without an outcome */
	size_t next_waiting;      /* no recipient before this one waits to be sent */
	size_t under_way;         /* transactions */
	struct settled *failures; /* not written down yet: their strings are their own */
	size_t failure_count, failure_capacity;
	struct buf lines;         /* d lines of the failures, not written yet */
	struct job *next_failing;
};

#endif
