/*
 * What a control file says of one recipient: its r line with the N line above it, and d lines (spool.md sections 4, 5 and 9).
 * The strings point into the file's text.
 */
#ifndef ZL_CHANNEL_SPOOL_RECIPIENT_H
#define ZL_CHANNEL_SPOOL_RECIPIENT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/* NOTIFY= of an N line (RFC 3461 section 4.1; TRACE is ZMailer's own). */
enum {
	NOTIFY_NEVER = 1,
	NOTIFY_SUCCESS = 2,
	NOTIFY_FAILURE = 4,
	NOTIFY_DELAY = 8,
	NOTIFY_TRACE = 16,
};

/* The tag byte of r and d lines (spool.md section 4.3). */
enum { TAG_FREE = ' ', TAG_LOCKED = '~', TAG_DONE = '+', TAG_FAILED = '-' };

#define CONTROL_NONE ((size_t)-1)

struct control_recipient {
	off_t offset;             /* of the 'r' byte: OFFSET of reports */
	char tag;                 /* as read; look again when locking */
	pid_t locker;             /* of a '~' line: the pid in it; else 0 */
	const char *channel;
	const char *host;
	const char *user;
	const char *privilege;
	size_t sender;            /* index into senders; CONTROL_NONE if no s line stands above */
	size_t header;            /* index into headers; always there, a file without is damaged */
	off_t dsn_offset;         /* of the 'N' letter of its line, -1 without */
	unsigned notify;          /* NOTIFY_ bits; NOTIFY_FAILURE without an N line or NOTIFY= */
	bool notify_given;        /* NOTIFY= was there and named at least one known word */
	const char *orcpt;        /* "type;xtext" as it stands, or NULL */
	bool orcpt_is_ours;       /* the client gave none: it is whom it named in RCPT */
	const char *given;        /* whom the client named in RCPT, in that form: INRCPT, or ORCPT where the line has none */
	const char *by;           /* RFC 2852 "[-]digits;letters", or NULL */
	const char *ezmlm;        /* EZMLM= tail, or NULL */
};

/* A d line (spool.md section 9). */
struct control_diagnostic {
	off_t offset;             /* of the 'd' byte */
	bool reported;            /* its tag is '+' */
	off_t recipient;          /* offset of the 'r' byte it speaks of */
	int64_t time;
	const char *notary;       /* up to the next TAB, with its 0x01 bytes */
	const char *text;
};

#endif
