#include "channel/message/parameter.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "channel/message/words.h"
#include "lib/alloc.h"
#include "lib/text.h"

#define LINE_LENGTH 76
/* A name, charset or language beyond this is none. */
#define NAME_MAX_LENGTH 60

static const char hex[] = "0123456789ABCDEF";

/* One parameter as it stands in a field. */
struct parameter {
	const char *raw;        /* from behind its ';' up to the next one */
	size_t length;
	const char *name;       /* with the '*' and numbers of RFC 2231 */
	size_t name_length;
	size_t base_length;     /* without them */
	bool extended;          /* the name ends with '*': the value holds escapes */
	bool section;           /* name*0 ... */
	bool eightbit;
	bool done;
	struct buf value;       /* without quotes */
};

struct parameters {
	struct parameter *all;
	size_t count, capacity;
};

/* ---- taking apart ---- */

/* The next ';' outside of quotes and comments, or `end`. */
static const char *end_of_parameter(const char *p, const char *end)
{
	bool quoted = false;
	int depth = 0;

	for (; p < end; p++) {
		if (*p == '\\' && (quoted || depth > 0) && p + 1 < end)
			p++;
		else if (quoted || (*p == '"' && depth == 0))
			quoted = quoted ? *p != '"' : true;
		else if (*p == '(')
			depth++;
		else if (*p == ')' && depth > 0)
			depth--;
		else if (*p == ';' && depth == 0)
			break;
	}
	return p;
}

/*
 * Where the comment at the end of a value begins, with the blanks in front of it (RFC 2045 section 5.1); `end` without.
 * Parentheses elsewhere are some of a name that was written without quotes, "name (1).txt".
 */
static const char *comment_before(const char *p, const char *end)
{
	const char *at = end;
	int depth = 0;

	while (at > p && (depth > 0 || at[-1] == ')')) {
		at--;
		depth += *at == ')' ? 1 : *at == '(' ? -1 : 0;
		if (depth == 0)
			break;
	}
	if (at == end || depth > 0 || (at > p && !ascii_is_space(at[-1])))
		return end;
	while (at > p && ascii_is_space(at[-1]))
		at--;
	return at;
}

/* A value with its quotes, or as it was written without any though it holds blanks. */
static void take_value(struct buf *value, const char *p, const char *end)
{
	while (p < end && ascii_is_space(*p))
		p++;
	while (end > p && ascii_is_space(end[-1]))
		end--;
	if (p < end && *p == '"') {
		for (p++; p < end && *p != '"'; p++) {
			if (*p == '\\' && p + 1 < end)
				p++;
			if (*p != '\n' && *p != '\r')
				buf_addc(value, *p);
		}
		return;
	}
	end = comment_before(p, end);
	for (; p < end; p++)
		if (*p != '\n' && *p != '\r')
			buf_addc(value, *p);
}

static void take_parameter(struct parameters *list, const char *p, const char *end)
{
	struct parameter *a;
	const char *equals = memchr(p, '=', (size_t)(end - p)), *name = p, *stop = equals;
	size_t n, digits;

	list->all = xgrow(list->all, list->count, &list->capacity, sizeof *list->all);
	a = &list->all[list->count++];
	*a = (struct parameter){ .raw = p, .length = (size_t)(end - p), .eightbit = text_is_eightbit(p, (size_t)(end - p)) };
	if (equals == NULL)
		return;
	while (name < stop && ascii_is_space(*name))
		name++;
	while (stop > name && ascii_is_space(stop[-1]))
		stop--;
	/* "name*", "name*0", "name*0*" (RFC 2231 sections 3 and 4). */
	n = (size_t)(stop - name);
	a->name = name;
	a->name_length = n;
	if (n > 1 && name[n - 1] == '*') {
		a->extended = true;
		n--;
	}
	for (digits = n; digits > 0 && name[digits - 1] >= '0' && name[digits - 1] <= '9';)
		digits--;
	if (digits < n && digits > 1 && name[digits - 1] == '*') {
		a->section = true;
		n = digits - 1;
	}
	a->base_length = n;
	take_value(&a->value, equals + 1, end);
}

/* ---- writing ---- */

/* RFC 2231 section 7: attribute-char. */
static bool is_attribute_char(unsigned char c)
{
	return (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') ||
	       (c != '\0' && strchr("!#$&+-.^_`{|}~", c) != NULL);
}

/* Adds name*=charset'language'value, in lines of their own; in sections where one is not enough. */
static void add_extended(struct buf *out, const char *name, size_t n, const char *charset, const char *language,
                         const struct buf *value)
{
	struct buf line = { 0 }, escaped = { 0 };
	bool whole;

	for (size_t i = 0; i < value->len; i++) {
		unsigned char c = (unsigned char)value->data[i];

		if (is_attribute_char(c))
			buf_addc(&escaped, (char)c);
		else
			buf_addf(&escaped, "%%%c%c", hex[c >> 4], hex[c & 15]);
	}
	whole = n + strlen(charset) + strlen(language) + escaped.len + 6 <= LINE_LENGTH;
	for (size_t at = 0, section = 0; at < escaped.len || section == 0; section++) {
		size_t used;

		buf_clear(&line);
		buf_adds(&line, "\n ");
		/* the name with 8-bit bytes as '_', as there is no way to write them */
		for (size_t i = 0; i < n; i++)
			buf_addc(&line, (unsigned char)name[i] > ' ' && (unsigned char)name[i] < 127 ? name[i] : '_');
		if (!whole)
			buf_addf(&line, "*%zu", section);
		buf_adds(&line, "*=");
		if (section == 0)
			buf_addf(&line, "%s'%s'", charset, language);
		/* a byte at least, so that there is an end to it */
		used = line.len;
		while (at < escaped.len && (whole || line.len == used || line.len + 3 < LINE_LENGTH)) {
			size_t length = escaped.data[at] == '%' ? 3 : 1;

			buf_add(&line, escaped.data + at, length);
			at += length;
		}
		if (at < escaped.len)
			buf_addc(&line, ';');
		buf_add(out, line.data, line.len);
	}
	buf_free(&line);
	buf_free(&escaped);
}

/* Undoes the escapes; bytes that stand there bare stay. */
static void add_unescaped(struct buf *out, const char *p, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		char digits[3] = { 0 }, *rest;
		unsigned long byte;

		if (p[i] == '%' && i + 2 < n) {
			memcpy(digits, p + i + 1, 2);
			byte = strtoul(digits, &rest, 16);
			if (rest == digits + 2 && digits[0] != '+' && digits[0] != '-') {
				buf_addc(out, (char)byte);
				i += 2;
				continue;
			}
		}
		buf_addc(out, p[i]);
	}
}

static bool same_base(const struct parameter *a, const struct parameter *b)
{
	return a->base_length == b->base_length && strncasecmp(a->name, b->name, a->base_length) == 0;
}

/* charset'language' in front of an extended value: the length of it, 0 if there is none. */
static size_t take_charset(const struct buf *value, char **charset, char **language)
{
	const char *text = buf_str(value), *first = strchr(text, '\''), *second = first ? strchr(first + 1, '\'') : NULL;

	if (second == NULL || second - text > NAME_MAX_LENGTH || text_is_eightbit(text, (size_t)(second - text)))
		return 0;
	*charset = xstrndup(text, (size_t)(first - text));
	*language = xstrndup(first + 1, (size_t)(second - first) - 1);
	return (size_t)(second + 1 - text);
}

/* Everything that belongs to the name of `first`: one value or sections, escaped or not, as one extended parameter. */
static void add_joined(struct parameters *list, struct parameter *first, struct buf *out, const char *charset)
{
	struct buf value = { 0 };
	char *own_charset = NULL, *language = NULL;

	for (struct parameter *a = first; a < list->all + list->count; a++) {
		size_t skip = 0;

		if (a != first && (!first->section || !a->section || !same_base(first, a)))
			continue;
		if (a == first && a->extended)
			skip = take_charset(&a->value, &own_charset, &language);
		if (a->extended)
			add_unescaped(&value, buf_str(&a->value) + skip, a->value.len - skip);
		else
			buf_add(&value, buf_str(&a->value), a->value.len);
		a->done = true;
	}
	if (own_charset == NULL || own_charset[0] == '\0')
		charset = text_is_utf8(buf_str(&value), value.len) ? "utf-8" : charset;
	else
		charset = own_charset;
	add_extended(out, first->name, first->base_length, charset, language != NULL ? language : "", &value);
	free(own_charset);
	free(language);
	buf_free(&value);
}

/* As it is done to the boundary lines. */
static void add_boundary(struct buf *out, const struct parameter *a)
{
	buf_adds(out, "\n boundary=\"");
	for (size_t i = 0; i < a->value.len; i++) {
		char c = a->value.data[i];

		if (c == '"' || c == '\\')
			buf_addc(out, '\\');
		buf_addc(out, (unsigned char)c > 127 ? '?' : c);
	}
	buf_addc(out, '"');
}

static bool has_extended_twin(const struct parameters *list, const struct parameter *a)
{
	for (size_t i = 0; i < list->count; i++) {
		const struct parameter *b = &list->all[i];

		if (b != a && (b->extended || b->section) && same_base(a, b))
			return true;
	}
	return false;
}

/* Neither name nor value is 8-bit: then it is a comment, or there is no '=' at all. */
static bool is_other(const struct parameter *a)
{
	return a->name == NULL || a->base_length > NAME_MAX_LENGTH ||
	       (!a->section && !text_is_eightbit(a->name, a->name_length) &&
	        !text_is_eightbit(buf_str(&a->value), a->value.len));
}

static void add_parameter(struct parameters *list, struct parameter *a, struct buf *out, const char *charset)
{
	bool changed;

	if (!a->section && !a->extended && a->eightbit && a->name != NULL && has_extended_twin(list, a))
		return;
	buf_addc(out, ';');
	/* it needs to be rewritten, or one of its sections */
	changed = a->eightbit;
	for (size_t i = 0; a->section && i < list->count; i++)
		changed |= list->all[i].section && list->all[i].eightbit && same_base(a, &list->all[i]);
	if (!changed)
		buf_add(out, a->raw, a->length);
	else if (is_other(a))
		words_structured(out, a->raw, a->length, charset);
	else if (a->base_length == 8 && strncasecmp(a->name, "boundary", 8) == 0)
		add_boundary(out, a);
	else
		add_joined(list, a, out, charset);
}

void parameter_downgrade(struct buf *out, const char *value, size_t n, const char *charset)
{
	const char *end = value + n, *p = end_of_parameter(value, end);
	struct parameters list = { 0 };

	words_structured(out, value, (size_t)(p - value), charset);
	while (p < end) {
		const char *next = end_of_parameter(p + 1, end);

		take_parameter(&list, p + 1, next);
		p = next;
	}
	for (size_t i = 0; i < list.count; i++)
		if (!list.all[i].done)
			add_parameter(&list, &list.all[i], out, charset);
	for (size_t i = 0; i < list.count; i++)
		buf_free(&list.all[i].value);
	free(list.all);
}
