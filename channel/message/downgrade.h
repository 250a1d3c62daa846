/*
 * Header fields in ASCII: 8-bit words become encoded words (RFC 2047), 8-bit parameters of MIME fields become those of
 * RFC 2231.  A reader that decodes them sees what was there.
 */
#ifndef ZL_CHANNEL_MESSAGE_DOWNGRADE_H
#define ZL_CHANNEL_MESSAGE_DOWNGRADE_H

#include <stddef.h>

#include "lib/buf.h"

/*
 * Adds header fields (LF line ends); those without a byte above 127 stay as they are.  `charset` names bytes that are
 * not UTF-8.  Where the standards know no way (field names, Received, boundaries) such bytes become '?'.
 */
void downgrade_header(struct buf *out, const char *fields, size_t n, const char *charset);

#endif
