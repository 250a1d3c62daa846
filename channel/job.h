/*
 * What jobs.c and outcome.c know of a job.  Nobody else includes this.
 */
#ifndef ZL_CHANNEL_JOB_H
#define ZL_CHANNEL_JOB_H

#include "channel/jobs.h"
#include "channel/spool/control.h"

struct job_recipient {
	const struct control_recipient *line;
	enum outcome outcome;
	bool under_way;           /* in a transaction now */
	bool retried;             /* was in one that broke before it was answered */
	bool maybe_taken;         /* ... and was on the wire whole */
	unsigned session;         /* on which it is under way */
	uint32_t hash;            /* of the address in lower case */
	struct job_recipient *busy_next;
	char notify[32];          /* value of NOTIFY= */
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
		bool converted;           /* made anew for a server that cannot take the original */
		struct header converted_header;
		struct body converted_body;
	} *forms;
	struct job_recipient *recipients;
	size_t count;
	size_t open;              /* recipients without an outcome */
	size_t next_waiting;      /* no recipient before this one waits to be sent */
	size_t under_way;         /* transactions */
};

#endif
