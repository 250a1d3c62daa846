/*
 * The text of a message as it comes over the wire (RFC 5321 sections 2.3.8, 4.1.1.4, 4.5.2; RFC 3030 section 2), with LF
 * line ends.  A bare LF is a line end of the text; a bare CR stays.
 */
#ifndef ZL_CHANNEL_PROTOCOL_RECEIVED_H
#define ZL_CHANNEL_PROTOCOL_RECEIVED_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lib/buf.h"

/* Zeroed for BDAT; received_begin() for DATA. */
struct received {
	bool after_crlf;      /* the last byte ended a line as the standard has it */
	bool cr;              /* a CR at the end of a chunk, which the next one may make a line end */
	bool nul;             /* a NUL was in it */
	uint64_t size;        /* bytes, without the dots of DATA (RFC 1870 section 3) */
};

void received_begin(struct received *r);

/*
 * Takes bytes behind DATA and adds their text to `out`.  Returns how many were used; what is left must come again with
 * more behind it.  *end is set if CR LF . CR LF was reached: no byte behind it is used.
 */
size_t received_dotted(struct received *r, const char *bytes, size_t n, struct buf *out, bool *end);

/* Takes all of n bytes of a chunk; `last`: nothing follows. */
void received_chunk(struct received *r, const char *bytes, size_t n, bool last, struct buf *out);

#endif
