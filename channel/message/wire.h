/*
 * The two forms of a message's bytes: as they lie in the spool, and as they go
 * over the wire (RFC 5321 sections 2.3.7, 2.3.8, 4.5.2).
 *
 * In the spool a line ends with LF.  On the wire every CR LF, CR and LF is CR LF, so that no
 * server can see an end of message where there is none, and there is no NUL (RFC 5322 section 2.2:
 * Cyrus refuses it, DSPAM swallows it).
 */
#ifndef ZL_CHANNEL_MESSAGE_WIRE_H
#define ZL_CHANNEL_MESSAGE_WIRE_H

#include <stdbool.h>
#include <stddef.h>

#include "lib/buf.h"

/* State between the pieces of one message; zeroed at its start. */
struct wire {
	bool after_cr;       /* the last byte taken was CR: a following LF belongs to it */
	bool in_line;        /* the last byte given out was not the end of a line */
	bool eightbit;       /* a byte above 127 was seen */
};

/* Adds `n` spool bytes to `out` in wire form. */
void wire_add(struct wire *wire, struct buf *out, const char *bytes, size_t n);

/* Ends the last line if it was not ended. */
void wire_end(struct wire *wire, struct buf *out);

/*
 * Dot stuffing of bytes in wire form (RFC 5321 section 4.5.2).  *line_start tells whether the
 * next byte begins a line; true at the start of a message.
 */
void wire_stuff(bool *line_start, struct buf *out, const char *bytes, size_t n);

#endif
