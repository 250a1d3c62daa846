/*
 * Putting a message into the spool as a ZMailer router would (spool.md
 * sections 2 to 5): names are inode numbers, files appear by link and rename, and when
 * spool_submit() has returned EX_OK both survive a crash.
 */
#ifndef ZL_CHANNEL_SPOOL_WRITE_H
#define ZL_CHANNEL_SPOOL_WRITE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "lib/buf.h"

struct spool_recipient {
	const char *channel;
	const char *host;
	const char *user;
	long privilege;           /* uid */
	const char *dsn;          /* text of the N line after "N ", NULL for none */
};

struct spool_envelope {
	const char *sender_channel;    /* "local", "smtp", "error" */
	const char *sender_host;
	const char *sender;            /* "<>" with channel "error" */
	long sender_privilege;
	const char *ret;               /* "FULL", "HDRS" or NULL */
	const char *envid;             /* xtext or NULL */
	const struct spool_recipient *recipients;
	size_t recipient_count;
};

/*
 * Reads a message (RFC 5322, LF or CRLF lines) from `in`, completes its header (Received, From, Date,
 * Message-ID if missing; Bcc and other envelope fields removed) and puts it with its control file into
 * `postoffice`.  `host` is who we are.  `levels` is the number of hash levels, 0 to 2; directories of the
 * hash are made when they are missing.  On EX_OK *name is the job name ("Y/K/4711002"), allocated.
 * Otherwise nothing of it is left in the spool, `why` holds one line and the result is an exit code:
 * EX_DATAERR (message or envelope cannot be written down), EX_IOERR (reading or writing), EX_CANTCREAT.
 */
int spool_submit(const char *postoffice, unsigned levels, const char *host, const struct spool_envelope *envelope,
                 int in, char **name, struct buf *why);

/* Makes the directories of a POSTOFFICE that are missing (spool.md section 1).  False with a line in `why`. */
bool spool_make(const char *postoffice, struct buf *why);

/* Adds the quad "CHANNEL HOST USER PRIVILEGE"; fields are quoted where the scan of spool.md section 5 needs it. */
void spool_quad_add(struct buf *out, const char *channel, const char *host, const char *user, long privilege);

#endif
