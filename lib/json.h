/*
 * Members of a JSON object: text in a buffer that the caller begins with '{' and ends with '}'.  A comma stands in front of
 * each but the first.  And how such a line is read again.
 */
#ifndef ZL_LIB_JSON_H
#define ZL_LIB_JSON_H

#include <stdbool.h>
#include <stdint.h>

#include "lib/buf.h"

/* Adds a member; NULL becomes null. */
void json_string(struct buf *out, const char *name, const char *value);
void json_bytes(struct buf *out, const char *name, const char *value, size_t n);
void json_number(struct buf *out, const char *name, int64_t value);
void json_bool(struct buf *out, const char *name, bool value);

/* A number that is known if it is above 0, else null. */
void json_known(struct buf *out, const char *name, int64_t value);

/*
 * Of a line that was made so: adds the value of a member, a string without its quotes and escapes, all else as it stands.
 * False if there is no such member, or the line is none of ours.
 */
bool json_member(const char *line, const char *name, struct buf *value);

#endif
