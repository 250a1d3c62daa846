#include "db/ldap/template.h"

#include <stdlib.h>
#include <string.h>

#include "lib/alloc.h"
#include "lib/settings.h"
#include "lib/text.h"

/* A literal, or a part of the value of an attribute or of the key. */
struct piece {
	char *literal;      /* NULL if it is no literal */
	char *attribute;    /* NULL for the key */
	enum key_part part;
	unsigned label;
};

struct template {
	struct piece *pieces;
	size_t count;
	size_t capacity;
	bool has_references;     /* %0 to %9 */
	char *required;          /* an attribute that must have a value though nothing of it is shown; or NULL */
};

/* ---- parsing -------------------------------------------------------------- */

static struct piece *add_piece(struct template *t)
{
	t->pieces = xgrow(t->pieces, t->count, &t->capacity, sizeof *t->pieces);
	t->pieces[t->count] = (struct piece){ 0 };
	return &t->pieces[t->count++];
}

static void add_literal(struct template *t, const char *literal)
{
	if (literal[0] == '\0')
		return;
	add_piece(t)->literal = xstrdup(literal);
	for (const char *p = literal; *p != '\0'; p++)
		if (p[0] == '%' && p[1] >= '0' && p[1] <= '9')
			t->has_references = true;
}

bool template_is_attribute(const char *s, size_t n)
{
	/* keystring or numericoid */
	return n > 0 && strspn(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-.") >= n && s[0] != '-' &&
	       s[0] != '.';
}

/* What stands between the braces. */
static bool add_value_piece(struct template *t, const char *s, size_t n)
{
	const char *colon = memchr(s, ':', n);
	size_t length = colon != NULL ? (size_t)(colon - s) : n;
	enum key_part part = KEY_WHOLE;
	struct piece *p;

	if (colon != NULL) {
		size_t rest = n - length - 1;

		if (rest == 5 && memcmp(colon + 1, "local", 5) == 0)
			part = KEY_LOCAL;
		else if (rest == 6 && memcmp(colon + 1, "domain", 6) == 0)
			part = KEY_DOMAIN;
		else
			return false;
	}
	if (!template_is_attribute(s, length))
		return false;
	p = add_piece(t);
	p->attribute = length == 3 && strncasecmp(s, "key", 3) == 0 ? NULL : xstrndup(s, length);
	p->part = part;
	return true;
}

static bool parse(struct template *t, const char *text, struct buf *literal, struct buf *why)
{
	for (const char *p = text; *p != '\0'; p++) {
		const char *fault = NULL;
		size_t n;

		if ((*p != '{' && *p != '}') || p[1] == p[0]) {
			buf_addc(literal, *p);
			p += *p == '{' || *p == '}';
			continue;
		}
		add_literal(t, buf_str(literal));
		buf_clear(literal);
		n = strcspn(p, "}");
		if (*p == '}')
			fault = "\"}\" without \"{\" before it; \"}}\" stands for itself";
		else if (p[n] == '\0')
			fault = "\"{\" without \"}\" after it; \"{{\" stands for itself";
		else if (!add_value_piece(t, p + 1, n - 1))
			fault = "expected {NAME}, {NAME:local} or {NAME:domain}";
		if (fault != NULL) {
			buf_addf(why, "column %zu: %s", (size_t)(p - text) + 1, fault);
			return false;
		}
		p += n;
	}
	add_literal(t, buf_str(literal));
	return true;
}

struct template *template_parse(const char *text, struct buf *why)
{
	struct template *t = xcalloc(1, sizeof *t);
	struct buf literal = { 0 };

	if (!parse(t, text, &literal, why))
		template_free(&t);
	buf_free(&literal);
	return t;
}

struct template *template_of_pattern(const struct pattern *format, const char *attribute)
{
	struct template *t = xcalloc(1, sizeof *t);

	t->required = xstrdup(attribute);
	for (size_t i = 0; i < format->count; i++) {
		const struct pattern_piece *from = &format->pieces[i];
		struct piece *to;

		if (from->part == KEY_LITERAL) {
			add_literal(t, from->literal);
			continue;
		}
		to = add_piece(t);
		to->attribute = from->upper || from->part == KEY_LABEL ? NULL : xstrdup(attribute);
		to->part = from->part;
		to->label = from->label;
	}
	return t;
}

void template_free(struct template **template)
{
	struct template *t = *template;

	if (t == NULL)
		return;
	for (size_t i = 0; i < t->count; i++) {
		free(t->pieces[i].literal);
		free(t->pieces[i].attribute);
	}
	free(t->pieces);
	free(t->required);
	free(t);
	*template = NULL;
}

void template_attributes(const struct template *template, char ***names)
{
	if (template->required != NULL)
		words_add(names, template->required);
	for (size_t i = 0; i < template->count; i++)
		if (template->pieces[i].attribute != NULL)
			words_add(names, template->pieces[i].attribute);
}

bool template_fits(const struct template *template, const char *key, size_t n)
{
	const char *bytes;
	size_t length;

	for (size_t i = 0; i < template->count; i++) {
		const struct piece *p = &template->pieces[i];

		if (p->literal == NULL && p->attribute == NULL && !key_part(key, n, p->part, p->label, &bytes, &length))
			return false;
	}
	return true;
}

/* ---- expansion ------------------------------------------------------------ */

struct expansion {
	const struct template *template;
	const struct ldap_entry *entry;
	struct ldap_value key;
	const char *culprit;
};

/* Value number `which` of the attribute that has several, and the only one of all others. */
static enum template_outcome expand_one(struct expansion *x, size_t which, struct buf *out)
{
	for (size_t i = 0; i < x->template->count; i++) {
		const struct piece *p = &x->template->pieces[i];
		const struct ldap_attribute *a;
		const struct ldap_value *v = &x->key;
		const char *bytes, *whole;
		size_t n, length;

		if (p->literal != NULL) {
			buf_adds(out, p->literal);
			continue;
		}
		x->culprit = p->attribute != NULL ? p->attribute : "key";
		if (p->attribute != NULL) {
			a = ldap_entry_find(x->entry, p->attribute);
			v = &a->values[a->count > 1 ? which : 0];
		}
		whole = v->bytes;
		length = v->length;
		/* a directory compares without blanks at the ends (RFC 4518 section 2.6.1) */
		text_strip(&whole, &length);
		if (length == 0 || text_has_controls(whole, length))
			return TEMPLATE_BAD_VALUE;
		if (!key_part(whole, length, p->part, p->label, &bytes, &n))
			return TEMPLATE_NO_PART;
		for (size_t k = 0; k < n; k++) {
			buf_addc(out, bytes[k]);
			if (bytes[k] == '%' && x->template->has_references)
				buf_addc(out, '%');
		}
	}
	return TEMPLATE_DONE;
}

/* How many results there will be. */
static enum template_outcome count_values(struct expansion *x, bool many, size_t *count)
{
	const char *multiple = NULL;

	*count = 1;
	x->culprit = x->template->required;
	if (x->culprit != NULL && ldap_entry_find(x->entry, x->culprit) == NULL)
		return TEMPLATE_NO_VALUE;
	for (size_t i = 0; i < x->template->count; i++) {
		const struct piece *p = &x->template->pieces[i];
		const struct ldap_attribute *a;

		if (p->attribute == NULL)
			continue;
		a = ldap_entry_find(x->entry, p->attribute);
		x->culprit = p->attribute;
		if (a == NULL)
			return TEMPLATE_NO_VALUE;
		if (a->count == 1)
			continue;
		if (!many || (multiple != NULL && !ascii_equal(multiple, p->attribute)))
			return TEMPLATE_SEVERAL;
		multiple = p->attribute;
		*count = a->count;
	}
	return TEMPLATE_DONE;
}

enum template_outcome template_expand(const struct template *template, const struct ldap_entry *entry, const char *key,
                                      bool many, struct results *results, const char **attribute)
{
	struct expansion x = { .template = template, .entry = entry };
	struct results made = { 0 };
	struct buf text = { 0 };
	enum template_outcome outcome;
	size_t count;

	if (key != NULL)
		x.key = (struct ldap_value){ xstrdup(key), strlen(key) };
	outcome = count_values(&x, many, &count);
	for (size_t i = 0; outcome == TEMPLATE_DONE && i < count; i++) {
		buf_clear(&text);
		outcome = expand_one(&x, i, &text);
		if (outcome == TEMPLATE_DONE)
			results_add(&made, buf_str(&text));
	}
	for (size_t i = 0; outcome == TEMPLATE_DONE && i < made.count; i++)
		results_add(results, made.list[i]);
	*attribute = x.culprit;
	free(x.key.bytes);
	results_free(&made);
	buf_free(&text);
	return outcome;
}

enum template_outcome template_expand_usable(const struct template *template, const struct ldap_entry *entry,
                                             struct results *results, const char **attribute)
{
	struct expansion x = { .template = template, .entry = entry };
	struct buf text = { 0 };
	size_t count;
	enum template_outcome outcome = count_values(&x, true, &count);
	const bool is_countable = outcome == TEMPLATE_DONE;

	*attribute = x.culprit;
	for (size_t i = 0; is_countable && i < count; i++) {
		enum template_outcome one;

		buf_clear(&text);
		one = expand_one(&x, i, &text);
		if (one == TEMPLATE_DONE) {
			results_add(results, buf_str(&text));
		} else {
			outcome = one;
			*attribute = x.culprit;
		}
	}
	buf_free(&text);
	return outcome;
}

/* ---- results -------------------------------------------------------------- */

void results_add(struct results *results, const char *text)
{
	results->list = xgrow(results->list, results->count, &results->capacity, sizeof *results->list);
	results->list[results->count++] = xstrdup(text);
}

void results_settle(struct results *results)
{
	size_t kept = 0;

	if (results->count == 0)
		return;
	qsort(results->list, results->count, sizeof *results->list, text_compare);
	for (size_t i = 1; i < results->count; i++) {
		if (strcmp(results->list[i], results->list[kept]) == 0)
			free(results->list[i]);
		else
			results->list[++kept] = results->list[i];
	}
	results->count = kept + 1;
}

void results_join(const struct results *results, const char *separator, struct buf *out)
{
	for (size_t i = 0; i < results->count; i++) {
		if (i > 0)
			buf_adds(out, separator);
		buf_adds(out, results->list[i]);
	}
}

void results_free(struct results *results)
{
	for (size_t i = 0; i < results->count; i++)
		free(results->list[i]);
	free(results->list);
	*results = (struct results){ 0 };
}
