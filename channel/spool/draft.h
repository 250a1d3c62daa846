/*
 * What write.c, commit.c and restore.c know of a message on its way into the spool.
 */
#ifndef ZL_CHANNEL_SPOOL_DRAFT_H
#define ZL_CHANNEL_SPOOL_DRAFT_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/stat.h>

#include "channel/spool/compose.h"
#include "channel/spool/postoffice.h"
#include "lib/buf.h"
#include "lib/publish.h"

struct spool_envelope;

struct spool_draft {
	const struct spool *spool;
	const struct spool_envelope *envelope;
	struct incoming in;
	struct buf header;         /* as it came, LF lines */
	struct buf out;            /* of the message file, not yet written */
	struct publish message;    /* its temporary, in public/ */
	struct publish control;    /* its temporary, in transport/ */
	struct stat st;            /* of the message file, once it is written */
	off_t body;
	size_t control_size;
	char *job;                 /* "Y/K/4711002" */
	char *queue, *transport;   /* where the two files are to appear */
	struct buf id, message_id;
	size_t hops;
	int status;                /* of the commit */
	struct buf why;
	uint64_t entry;            /* of the journal, in which the message was put; 0 for none */
	bool recorded;             /* ... and is on the disk there: it is never taken back */
	bool linked;               /* the message is in queue/ */
	bool visible;              /* the control file is in transport/ */
	bool durable;              /* ... and its directory is on the disk */
};

/* The name of a job with this number ("Y/K/4711002"), allocated. */
char *spool_job_of(const struct spool *spool, uint64_t number);

/* What the draft is called, and where its two files belong. */
void spool_set_names(struct spool_draft *d, const char *job);

/* The last part of its job name. */
const char *spool_number_of(const struct spool_draft *d);

/* Makes the temporary of the message and, from its inode number, the names.  EX_OK, or EX_CANTCREAT or EX_IOERR with `why`. */
int spool_begin_file(struct spool_draft *d, struct buf *why);

/* Makes the hash directories of both files that are missing, and makes them last.  False with errno. */
bool spool_make_places(const struct spool_draft *d);

#endif
