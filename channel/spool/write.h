/*
 * Putting a message into the spool as a ZMailer router would (spool.md
 * sections 2 to 5): names are inode numbers, files appear by rename, and when
 * spool_commit() has returned true both survive a crash.
 */
#ifndef ZL_SPOOL_WRITE_H
#define ZL_SPOOL_WRITE_H

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
 * Reads a message (RFC 5322, LF or CRLF lines) from `in`, completes its header (Received, Date,
 * Message-ID, From if missing; Bcc and Return-Path removed) and puts it with its control file into
 * `postoffice`.  `levels` is the number of hash levels, 0 to 2.  On success *name is the job name
 * ("Y/K/4711002"), allocated.  On failure nothing of it is left in the spool, the
 * result is false and `why` holds one line.
 */
bool spool_submit(const char *postoffice, unsigned levels, const struct spool_envelope *envelope, int in,
                  char **name, struct buf *why);

/* Adds the quad "CHANNEL HOST USER PRIVILEGE"; fields are quoted where the scan of spool.md section 5 needs it. */
void spool_quad_add(struct buf *out, const char *channel, const char *host, const char *user, long privilege);

#endif
