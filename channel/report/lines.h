/*
 * Lines within the limits of mail (RFC 5322 section 2.1.1), whatever comes in.
 */
#ifndef ZL_CHANNEL_REPORT_LINES_H
#define ZL_CHANNEL_REPORT_LINES_H

#include <stdbool.h>
#include <stddef.h>

#include "lib/buf.h"

/* No line becomes longer, its line end not counted. */
#define LINES_LONGEST 998

/* State between the pieces of one text; zeroed but for what is to be chosen. */
struct lines {
	const char *continuation;  /* between the pieces of a line that is too long: "\n", or "\n " in headers */
	bool cr_ends_line;         /* a CR of its own ends a line; else it is a blank */
	bool after_cr;
	size_t column;
};

/* Adds bytes with LF line ends, without NUL and CR; never cut inside a UTF-8 character. */
void lines_add(struct lines *lines, struct buf *out, const char *bytes, size_t n);

/* Ends the last line. */
void lines_end(struct lines *lines, struct buf *out);

/* Clean text in lines of at most `width` bytes where it has blanks, each behind `indent`; nothing if it is empty. */
void lines_add_wrapped(struct buf *out, const char *indent, size_t width, const char *text, size_t n);

/* Adds "Name: text" and a line end, folded at blanks. */
void lines_add_field(struct buf *out, const char *name, const char *text, size_t n);

#endif
