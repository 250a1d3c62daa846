/*
 * Making an 8-bit message fit for a server that takes 7 bits only, and the
 * other way round where it is asked for (RFC 6152 section 3; transport-agent.md section 8).
 *
 * Nothing here happens to a message that its server can take as it is, and never to a
 * signed one.
 */
#ifndef ZL_CHANNEL_MESSAGE_CONVERT_H
#define ZL_CHANNEL_MESSAGE_CONVERT_H

#include <stdbool.h>
#include <stddef.h>

#include "channel/message/source.h"
#include "lib/buf.h"

enum {
	CONVERT_TO_7BIT = 1,      /* 8-bit content becomes quoted-printable */
	CONVERT_HEADERS = 2,      /* 8-bit words in headers become encoded words */
	CONVERT_DECODE = 4,       /* quoted-printable text becomes 8-bit */
};

/*
 * May this message be changed?  Not with a DKIM-Signature, and not with "Content-Conversion: prohibited" (RFC 1496).
 * `fields` is the header block as it stands in the control file.
 */
bool convert_allowed(const char *fields, size_t n);

/*
 * Makes the converted form of header `fields` and `body`.  `charset` names 8-bit text that says nothing of its own and
 * is not UTF-8.  True: *header and *converted are the caller's, to be freed by header_free() and
 * body_close().  False with one line in `why`: a deferral.
 */
bool convert_message(const char *fields, size_t n, const struct body *body, unsigned conversions, const char *charset,
                     struct header *header, struct body *converted, struct buf *why);

#endif
