/*
 * The header of a message on its way into the spool: cut off what comes in,
 * completed as a router would (RFC 5322, RFC 5321 section 4.4, spool.md section 7).
 */
#ifndef ZL_CHANNEL_SPOOL_COMPOSE_H
#define ZL_CHANNEL_SPOOL_COMPOSE_H

#include <stdbool.h>
#include <stddef.h>
#include <time.h>

#include "lib/buf.h"

struct incoming {
	struct buf bytes;       /* added and not yet used */
	size_t header;          /* so many of them are the header, without the empty line; LF line ends */
	size_t at, line;        /* where its next line begins in `bytes`, and how many are before it */
	size_t searched;        /* up to here no end of that line was found */
	bool begun;             /* whatever stood in front of it is gone */
	bool blank;             /* an empty line stood between header and body */
	bool crlf;              /* lines come with CRLF: the header's are converted, the body's are to be */
	bool complete;          /* incoming_header() has said INCOMING_COMPLETE */
	bool eof;               /* to be set behind the last byte */
};

enum incoming_result {
	INCOMING_COMPLETE,
	INCOMING_MORE,          /* the header may go on: add bytes, or set eof, and ask again */
	INCOMING_REFUSED,       /* NUL or bare CR in the header, or a header beyond 16 MB; a line in `why` */
};

/* What came, in pieces of any size. */
void incoming_add(struct incoming *in, const char *bytes, size_t n);

/*
 * The length of the field name at the beginning of a line, also with blanks before the colon (RFC 5322 section 4.5); 0 if it is
 * no field.
 */
size_t incoming_field_name(const char *line, size_t n);

/*
 * How many bytes of a text that is all there stand in front of the message: the "From " lines of mailbox files, a byte order
 * mark.
 */
size_t incoming_front(const char *text, size_t n);

/*
 * Finds the end of the header.  What stands in front of it is dropped (incoming_front()); a line that cannot belong
 * to a header begins the body.
 */
enum incoming_result incoming_header(struct incoming *in, struct buf *why);

/*
 * Adds what can be used of the body by now to `out`, with LF line ends; a CR at the end waits for what follows.  The
 * header is dropped by the first call; only to be called once the header is complete.
 */
void incoming_body(struct incoming *in, struct buf *out);

void incoming_free(struct incoming *in);

struct completion {
	const char *host;       /* who we are: "by HOST" */
	const char *client;     /* "NAME (ADDRESS)" for Received, clean text; NULL if it was a program here */
	const char *with;       /* how it came, "ESMTP"; NULL if it was a program here */
	const char *id;         /* spool id */
	const char *sender;     /* for From: if there is none; "<>" counts as MAILER-DAEMON@host */
	time_t now;
};

/*
 * Adds the fields of `header` (LF lines, no empty line) with Received in front, without Bcc and
 * other envelope fields, and with From, Date and Message-ID where they are missing.  The value of the Message-ID
 * goes into `message_id`, cleaned.
 */
void header_complete(struct buf *out, const char *header, size_t length, const struct completion *completion,
                     struct buf *message_id);

/* How many fields of this name a header has (LF lines). */
size_t header_count(const char *header, size_t length, const char *name);

#endif
