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
	int fd;
	struct buf bytes;       /* read and not yet used */
	size_t header;          /* so many of them are the header, without the empty line; LF line ends */
	bool blank;             /* an empty line stood between header and body */
	bool crlf;              /* lines come with CRLF: the header's are converted, the body's are to be */
	bool eof;
};

/*
 * Reads from `in->fd` until the header is complete.  A line that cannot belong to a header begins
 * the body.  False with a line in `why` on read errors (errno set), NUL or bare CR in the header
 * (errno EBADMSG), or a header beyond 16 MB (EFBIG).
 */
bool incoming_header(struct incoming *in, struct buf *why);

/*
 * The next piece of the body, with LF line ends, into `piece` (replaced); empty at the end.
 * False with errno.
 */
bool incoming_body(struct incoming *in, struct buf *piece);

void incoming_free(struct incoming *in);

struct completion {
	const char *host;       /* who we are: "by HOST" */
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

#endif
