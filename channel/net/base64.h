/*
 * Base64 (RFC 4648 section 4) of things that must not stay in memory: every buffer gets its room in one
 * piece, so that buf_wipe() reaches all of it.
 */
#ifndef ZL_CHANNEL_NET_BASE64_H
#define ZL_CHANNEL_NET_BASE64_H

#include <stdbool.h>
#include <stddef.h>

#include "lib/buf.h"

/* True if all of it is base64 with its padding and no blank. */
bool base64_valid(const char *text, size_t n);

/* Adds the bytes that `text` stands for to an empty `out`; false, with nothing added, if it is not valid. */
bool base64_decode(const char *text, size_t n, struct buf *out);

/* Adds the text for n bytes to `out`. */
void base64_encode(const char *bytes, size_t n, struct buf *out);

#endif
