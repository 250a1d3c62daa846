#include "db/route/substitute.h"

#include <ctype.h>
#include <string.h>

#include "db/grammar/address.h"

enum {
	CONTENT = 1 << 1 | 1 << 2,
	ALL = 0x3ff,
	SYNTAX = ALL & ~CONTENT,
};

bool substitute_needed(const char *value)
{
	for (const char *p = strchr(value, '%'); p != NULL; p = strchr(p + 1, '%'))
		if (p[1] == '%' || isdigit((unsigned char)p[1]))
			return true;
	return false;
}

/* Adds an argument; with `guard` each '%' in it is doubled against a second pass. */
static void add_argument(struct buf *out, const char *text, bool guard)
{
	for (; guard && *text != '\0'; text++) {
		if (*text == '%')
			buf_addc(out, '%');
		buf_addc(out, *text);
	}
	buf_adds(out, text);
}

/* Puts in the references whose bit is in `which`; `last` if no other pass follows. */
static void fill(struct buf *out, const char *value, const struct arguments *arguments, int which, bool last)
{
	const char *p;

	while ((p = strchr(value, '%')) != NULL) {
		buf_add(out, value, (size_t)(p - value));
		value = p + 2;
		if (isdigit((unsigned char)p[1]) && (which & 1 << (p[1] - '0')) != 0) {
			const char *text = arguments->text[p[1] - '0'];

			add_argument(out, text != NULL ? text : "", !last);
		} else if (p[1] == '%' && last) {
			buf_addc(out, '%');
		} else if (p[1] == '%' || (isdigit((unsigned char)p[1]) && !last)) {
			buf_add(out, p, 2);
		} else {
			buf_addc(out, '%');
			value = p + 1;
		}
	}
	buf_adds(out, value);
}

void substitute(struct buf *out, const char *value, const struct arguments *arguments)
{
	fill(out, value, arguments, ALL, true);
}

void substitute_syntax(struct buf *out, const char *value, const struct arguments *arguments)
{
	fill(out, value, arguments, SYNTAX, false);
}

void substitute_content(struct buf *out, const char *value, const struct arguments *arguments)
{
	fill(out, value, arguments, CONTENT, true);
}

/* True if `value` takes in a user or tail that can only stand inside quotes. */
static bool takes_in_special(const char *value, const struct arguments *arguments)
{
	for (const char *p = strchr(value, '%'); p != NULL && p[1] != '\0'; p = strchr(p + 2, '%')) {
		const char *text = p[1] == '1' || p[1] == '2' ? arguments->text[p[1] - '0'] : NULL;

		if (text != NULL && address_has_specials(text))
			return true;
	}
	return false;
}

static bool is_quoted_string(const char *text, size_t n)
{
	size_t i = 1;

	if (n < 2 || text[0] != '"')
		return false;
	while (i < n && text[i] != '"')
		i += text[i] == '\\' ? 2 : 1;
	return i == n - 1;
}

/*
 * Adds what the references have made, where it is an address: quotes inside of the local part, and dots at its ends
 * or beside each other, are no address (RFC 5321 section 4.1.2).  What is in quotes as a whole, a file and a command
 * stay as they are.
 */
static void add_in_form(struct pool *pool, struct buf *out, const struct buf *text)
{
	const char *user = buf_str(text), *at = address_at(user, text->len), *bare = NULL;
	size_t n = at != NULL ? (size_t)(at - user) : text->len;
	bool other = at == NULL && (user[0] == '/' || user[0] == '|');

	if (n > 0 && !other && !is_quoted_string(user, n) &&
	    (memchr(user, '"', n) != NULL || memchr(user, '\\', n) == NULL))
		bare = address_unquote(pool, user, n);
	if (bare != NULL && (memchr(user, '"', n) != NULL || !address_has_specials(bare))) {
		address_add_local(out, bare);
		buf_adds(out, user + n);
	} else {
		buf_add(out, user, text->len);
	}
}

bool substitute_user(struct pool *pool, struct buf *out, const char *value, const struct arguments *arguments)
{
	struct buf text = { 0 }, content = { 0 };
	const char *at, *local;
	bool ok = true;

	if (!takes_in_special(value, arguments)) {
		substitute(&text, value, arguments);
		add_in_form(pool, out, &text);
		buf_free(&text);
		return true;
	}
	substitute_syntax(&text, value, arguments);
	at = address_at(buf_str(&text), text.len);
	local = at != NULL ? pool_copy(pool, text.data, (size_t)(at - text.data)) : buf_str(&text);
	if (at != NULL && takes_in_special(at, arguments)) {
		ok = false;
	} else {
		const char *bare = local[0] == '"' ? address_unquote(pool, local, strlen(local)) : NULL;

		substitute_content(&content, bare != NULL ? bare : local, arguments);
		address_add_local(out, buf_str(&content));
		if (at != NULL)
			substitute_content(out, at, arguments);
	}
	buf_free(&text);
	buf_free(&content);
	return ok;
}
