#include "lib/json.h"

#include <inttypes.h>
#include <string.h>

#include "lib/text.h"

void json_name(struct buf *out, const char *name)
{
	buf_addf(out, "%s\"%s\":", out->len > 0 && out->data[out->len - 1] == '{' ? "" : ",", name);
}

void json_bytes(struct buf *out, const char *name, const char *value, size_t n)
{
	json_name(out, name);
	if (value == NULL)
		buf_adds(out, "null");
	else
		text_add_json(out, value, n);
}

void json_string(struct buf *out, const char *name, const char *value)
{
	json_bytes(out, name, value, value != NULL ? strlen(value) : 0);
}

void json_number(struct buf *out, const char *name, int64_t value)
{
	json_name(out, name);
	buf_addf(out, "%" PRId64, value);
}

void json_bool(struct buf *out, const char *name, bool value)
{
	json_name(out, name);
	buf_adds(out, value ? "true" : "false");
}

void json_known(struct buf *out, const char *name, int64_t value)
{
	if (value > 0)
		json_number(out, name, value);
	else
		json_bytes(out, name, NULL, 0);
}
