#include "lib/json.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "lib/text.h"

/* Adds "NAME": and a comma in front where one is needed; the value is the caller's. */
static void json_name(struct buf *out, const char *name)
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

/* The character of "\uXXXX", of which the four digits stand at `s`.  False if they do not. */
static bool add_character(struct buf *out, const char *s)
{
	const unsigned digits = (unsigned)strspn(s, "0123456789abcdefABCDEF");
	char hex[5] = "";
	unsigned long c;

	if (digits < 4)
		return false;
	memcpy(hex, s, 4);
	c = strtoul(hex, NULL, 16);
	if (c < 0x80) {
		buf_addc(out, (char)c);
	} else if (c < 0x800) {
		buf_addc(out, (char)(0xc0 | c >> 6));
		buf_addc(out, (char)(0x80 | (c & 0x3f)));
	} else {
		buf_addc(out, (char)(0xe0 | c >> 12));
		buf_addc(out, (char)(0x80 | (c >> 6 & 0x3f)));
		buf_addc(out, (char)(0x80 | (c & 0x3f)));
	}
	return true;
}

/* A string from behind its first quote; returns what is behind the last one, NULL if it does not end or has other escapes. */
static const char *read_string(const char *s, struct buf *out)
{
	for (; *s != '"'; s++) {
		if (*s == '\0')
			return NULL;
		if (*s != '\\') {
			buf_addc(out, *s);
		} else if (*++s == '"' || *s == '\\') {
			buf_addc(out, *s);
		} else {
			if (*s != 'u' || !add_character(out, s + 1))
				return NULL;
			s += 4;
		}
	}
	return s + 1;
}

static const char *read_value(const char *s, struct buf *out)
{
	const size_t n = strcspn(s, ",}");

	if (*s == '"')
		return read_string(s + 1, out);
	buf_add(out, s, n);
	return s + n;
}

bool json_member(const char *line, const char *name, struct buf *value)
{
	struct buf member = { 0 }, text = { 0 };
	const char *s = line;
	bool found = false;

	while (!found && s != NULL && (*s == '{' || *s == ',') && s[1] == '"') {
		buf_clear(&member);
		buf_clear(&text);
		s = read_string(s + 2, &member);
		s = s != NULL && *s == ':' ? read_value(s + 1, &text) : NULL;
		found = s != NULL && strcmp(buf_str(&member), name) == 0;
	}
	if (found)
		buf_add(value, buf_str(&text), text.len);
	buf_free(&member);
	buf_free(&text);
	return found;
}
