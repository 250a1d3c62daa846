/*
 * Quoted-printable (RFC 2045 section 6.7).
 */
#ifndef ZL_CHANNEL_MESSAGE_QUOTED_H
#define ZL_CHANNEL_MESSAGE_QUOTED_H

#include <stdbool.h>
#include <stddef.h>

#include "lib/buf.h"

/*
 * Adds one line, given without its LF, in quoted-printable; soft breaks keep output lines within 76
 * bytes.  With `ended` a hard line break follows, else a soft one.  A CR at the end of the line counts as part of
 * the line break.
 */
void quoted_encode_line(struct buf *out, const char *line, size_t n, bool ended);

/*
 * Adds what one line of quoted-printable stands for, with LF where it ends in a hard break.  False if the line is
 * damaged or stands for bytes that no text line has (NUL, CR, LF); `out` is then as it was.
 */
bool quoted_decode_line(struct buf *out, const char *line, size_t n, bool ended);

#endif
