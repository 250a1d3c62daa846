/*
 * Parameters of MIME fields: Content-Type, Content-Disposition (RFC 2045 section 5.1, RFC 2183), in ASCII by RFC 2231.
 */
#ifndef ZL_CHANNEL_MESSAGE_PARAMETER_H
#define ZL_CHANNEL_MESSAGE_PARAMETER_H

#include <stddef.h>

#include "lib/buf.h"

/*
 * Adds the value of such a field, without the LF at its end.  An 8-bit parameter becomes name*=charset''..., in
 * sections where that is long; where the field has an extended form of it already, that one is left.  Parameters in
 * ASCII stay as they are.
 */
void parameter_downgrade(struct buf *out, const char *value, size_t n, const char *charset);

#endif
