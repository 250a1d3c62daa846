/*
 * The words of a header field in ASCII: 8-bit words become encoded words (RFC 2047).  `value` is without the LF at its end;
 * `charset` names bytes that are not UTF-8.
 */
#ifndef ZL_CHANNEL_MESSAGE_WORDS_H
#define ZL_CHANNEL_MESSAGE_WORDS_H

#include <stddef.h>

#include "lib/buf.h"

/* A field whose words stand between blanks and mean nothing to us (RFC 5322 section 2.2.1). */
void words_unstructured(struct buf *out, const char *value, size_t n, const char *charset);

/* A field that consists of words, comments, quoted strings and specials (RFC 5322 section 3.2). */
void words_structured(struct buf *out, const char *value, size_t n, const char *charset);

#endif
