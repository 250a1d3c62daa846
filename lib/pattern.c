#include "lib/pattern.h"

#include <stdlib.h>
#include <string.h>

#include "lib/alloc.h"
#include "lib/text.h"

static void add_piece(struct pattern *p, struct pattern_piece piece)
{
	p->pieces = xgrow(p->pieces, p->count, &p->capacity, sizeof *p->pieces);
	p->pieces[p->count++] = piece;
}

static void add_literal(struct pattern *p, struct buf *literal)
{
	if (literal->len > 0)
		add_piece(p, (struct pattern_piece){ .part = KEY_LITERAL, .literal = xstrdup(buf_str(literal)) });
	buf_clear(literal);
}

/* The piece that "%c" stands for; false if it stands for none. */
static bool piece_of(char c, struct pattern_piece *piece)
{
	*piece = (struct pattern_piece){ .upper = ascii_lower(c) != c };
	switch (ascii_lower(c)) {
	case 's': piece->part = KEY_WHOLE; return true;
	case 'u': piece->part = KEY_LOCAL; return true;
	case 'd': piece->part = KEY_DOMAIN; return true;
	}
	piece->part = KEY_LABEL;
	piece->label = (unsigned)(c - '0');
	return c >= '1' && c <= '9';
}

bool pattern_parse(struct pattern *pattern, const char *text, struct buf *why)
{
	struct buf literal = { 0 };
	struct pattern_piece piece;
	const char *p;

	*pattern = (struct pattern){ 0 };
	for (p = text; *p != '\0'; p++) {
		if (*p != '%') {
			buf_addc(&literal, *p);
		} else if (p[1] == '%') {
			buf_addc(&literal, *p++);
		} else if (p[1] != '\0' && piece_of(p[1], &piece)) {
			add_literal(pattern, &literal);
			add_piece(pattern, piece);
			p++;
		} else {
			buf_addf(why, "column %zu: expected %%s, %%u, %%d, %%1 to %%9 or %%%%", (size_t)(p - text) + 1);
			break;
		}
	}
	add_literal(pattern, &literal);
	buf_free(&literal);
	return *p == '\0';
}

void pattern_free(struct pattern *pattern)
{
	for (size_t i = 0; i < pattern->count; i++)
		free(pattern->pieces[i].literal);
	free(pattern->pieces);
	*pattern = (struct pattern){ 0 };
}

bool pattern_uses_key(const struct pattern *pattern)
{
	for (size_t i = 0; i < pattern->count; i++)
		if (pattern->pieces[i].part != KEY_LITERAL)
			return true;
	return false;
}

/* Label number `n` from the end of a domain. */
static bool find_label(const char *domain, size_t length, unsigned n, const char **bytes, size_t *found)
{
	const char *end = domain + length, *start;

	for (;;) {
		const char *dot = memrchr(domain, '.', (size_t)(end - domain));

		start = dot != NULL ? dot + 1 : domain;
		if (--n == 0)
			break;
		if (dot == NULL)
			return false;
		end = dot;
	}
	*bytes = start;
	*found = (size_t)(end - start);
	return *found > 0;
}

bool key_part(const char *key, size_t n, enum key_part part, unsigned label, const char **bytes, size_t *length)
{
	const char *at = memrchr(key, '@', n);
	const char *domain = at != NULL ? at + 1 : NULL;
	size_t domain_length = at != NULL ? (size_t)(key + n - domain) : 0;

	*bytes = key;
	*length = n;
	switch (part) {
	case KEY_LITERAL:
		return false;
	case KEY_WHOLE:
		break;
	case KEY_LOCAL:
		*length = at != NULL ? (size_t)(at - key) : n;
		break;
	case KEY_DOMAIN:
		*bytes = domain;
		*length = domain_length;
		break;
	case KEY_LABEL:
		return domain != NULL && find_label(domain, domain_length, label, bytes, length);
	}
	return *length > 0;
}

bool key_is_in_domains(const char *key, size_t n, char *const *domains)
{
	const char *bytes;
	size_t length;

	if (!key_part(key, n, KEY_LOCAL, 0, &bytes, &length) || !key_part(key, n, KEY_DOMAIN, 0, &bytes, &length))
		return false;
	for (; *domains != NULL; domains++)
		if (strlen(*domains) == length && strncasecmp(*domains, bytes, length) == 0)
			return true;
	return false;
}

bool pattern_fits(const struct pattern *pattern, const char *key, size_t n)
{
	const char *bytes;
	size_t length;

	for (size_t i = 0; i < pattern->count; i++) {
		const struct pattern_piece *p = &pattern->pieces[i];

		if (p->part != KEY_LITERAL && !key_part(key, n, p->part, p->label, &bytes, &length))
			return false;
	}
	return true;
}
