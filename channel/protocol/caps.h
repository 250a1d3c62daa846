/*
 * What a server announced in its reply to LHLO (RFC 2033 section 4.1).
 */
#ifndef ZL_CHANNEL_PROTOCOL_CAPS_H
#define ZL_CHANNEL_PROTOCOL_CAPS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "channel/protocol/reply.h"

enum {
	CAP_8BITMIME = 1 << 0,        /* RFC 6152 */
	CAP_PIPELINING = 1 << 1,      /* RFC 2920 */
	CAP_CHUNKING = 1 << 2,        /* RFC 3030 */
	CAP_BINARYMIME = 1 << 3,      /* RFC 3030 */
	CAP_DSN = 1 << 4,             /* RFC 3461 */
	CAP_SIZE = 1 << 5,            /* RFC 1870 */
	CAP_STARTTLS = 1 << 6,        /* RFC 3207 */
	CAP_AUTH = 1 << 7,            /* RFC 4954 */
	CAP_SMTPUTF8 = 1 << 8,        /* RFC 6531 */
	CAP_DELIVERBY = 1 << 9,       /* RFC 2852 */
	CAP_IGNOREQUOTA = 1 << 10,    /* Cyrus */
	CAP_ENHANCED = 1 << 11,       /* RFC 2034 */
};

struct caps {
	unsigned has;             /* CAP_ bits */
	uint64_t size_max;        /* of SIZE; 0 = none stated */
	uint64_t rcpt_max;        /* of LIMITS RCPTMAX (RFC 9422) or X-RCPTLIMIT; 0 = none stated */
	uint64_t mail_max;        /* of LIMITS MAILMAX; 0 = none stated */
	char auth[512];           /* mechanisms in capitals, each followed by a blank; "" without AUTH */
	char session[128];        /* SESSIONID of Cyrus, clean text, for the log; "" without */
};

/*
 * Reads the lines of a 250 reply to LHLO; the first line is the server's name.  Keywords count in any case;
 * those named in `ignore` (blank separated, capitals, or NULL) do not count at all.
 * A line that is no keyword is passed over.
 */
void caps_parse(struct caps *caps, const struct reply *reply, const char *ignore);

/* Adds the keywords in `caps`, separated by blanks. */
void caps_names(const struct caps *caps, struct buf *out);

/* The CAP_ bit of a keyword, 0 if it is not known. */
unsigned caps_bit(const char *keyword);

#endif
