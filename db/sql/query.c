#include "db/sql/query.h"

#include <stdlib.h>
#include <string.h>

#include "lib/alloc.h"
#include "lib/text.h"

/* ---- where in the text of a query we are ---------------------------------------------------- */

enum place {
	PLAIN,
	STRING,             /* in '...' */
	ESCAPE_STRING,      /* PostgreSQL's E'...' */
	DOUBLE_STRING,      /* "..." of MySQL */
	NAME,               /* "..." of the others */
	TICKED_NAME,        /* `...` */
	LINE_COMMENT,
	BLOCK_COMMENT,
	DOLLAR,             /* PostgreSQL's $tag$...$tag$, to the end for us */
};

struct lexer {
	enum sql_dialect dialect;
	enum place place;
	bool behind_backslash;
	char word[16];          /* the last word or operator before, in lower case; cut */
	size_t word_length;
	bool is_over;           /* the word is complete: the next byte begins another one */
	bool is_pattern;        /* the string is what LIKE and its kin compare with */
	bool is_prefixed;       /* a word adjoins the quote and changes what the string means: E'', x'', _latin1'' */
};

static bool is_word_byte(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '_' || c == '~';
}

static void take_plain_byte(struct lexer *l, char c)
{
	c = ascii_lower(c);
	if (c == ' ' || c == '\t' || c == '\n' || c == '(') {
		l->is_over = true;
		return;
	}
	if (l->is_over || !is_word_byte(c))
		l->word_length = 0;
	l->is_over = !is_word_byte(c);
	if (l->word_length + 1 < sizeof l->word)
		l->word[l->word_length++] = c;
	l->word[l->word_length] = '\0';
}

/* True if what follows here is a pattern, in which some bytes stand for others. */
static bool is_behind_like(const struct lexer *l)
{
	static const char *const words[] = { "like", "ilike", "rlike", "regexp", "to", "glob", "match", "~", "~~", "against" };

	for (size_t i = 0; i < sizeof words / sizeof words[0]; i++)
		if (strcmp(l->word, words[i]) == 0)
			return true;
	return strcmp(l->word, "*") == 0;    /* of ~* */
}

static bool opens_dollar_quote(const char *p)
{
	size_t n = strspn(p + 1, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ_");

	return p[1 + n] == '$';
}

static bool adjoins_word(const struct lexer *l)
{
	return (!l->is_over && l->word_length > 0) || strcmp(l->word, "&") == 0;
}

static void open_string(struct lexer *l, enum place place)
{
	l->is_pattern = is_behind_like(l);
	l->is_prefixed = adjoins_word(l);
	l->place = place;
	if (l->dialect == SQL_PGSQL && l->is_prefixed && strcmp(l->word, "e") == 0)
		l->place = ESCAPE_STRING;
}

/* One byte outside of all quotes and comments; returns how many are done with. */
static size_t pass_plain(struct lexer *l, const char *p)
{
	const bool mysql = l->dialect == SQL_MYSQL;

	if (*p == '\'') {
		open_string(l, STRING);
	} else if (*p == '"') {
		open_string(l, mysql ? DOUBLE_STRING : NAME);
	} else if (*p == '`' && l->dialect != SQL_PGSQL) {
		l->place = TICKED_NAME;
	} else if ((mysql && *p == '#') || (p[0] == '-' && p[1] == '-' && (!mysql || p[2] == ' ' || p[2] == '\0'))) {
		l->place = LINE_COMMENT;
	} else if (p[0] == '/' && p[1] == '*') {
		l->place = BLOCK_COMMENT;
		return 2;
	} else if (*p == '$' && l->dialect == SQL_PGSQL && opens_dollar_quote(p)) {
		l->place = DOLLAR;
	} else {
		take_plain_byte(l, *p);
	}
	return 1;
}

static void pass(struct lexer *l, const char *literal)
{
	static const char ends[] = { [STRING] = '\'', [ESCAPE_STRING] = '\'', [DOUBLE_STRING] = '"', [NAME] = '"', [TICKED_NAME] = '`' };

	for (const char *p = literal; *p != '\0';) {
		const bool has_backslashes = l->place == ESCAPE_STRING
			|| (l->dialect == SQL_MYSQL && (l->place == STRING || l->place == DOUBLE_STRING));

		if (l->place == PLAIN) {
			p += pass_plain(l, p);
			continue;
		}
		if (l->place == BLOCK_COMMENT && p[0] == '*' && p[1] == '/') {
			l->place = PLAIN;
			p += 2;
			continue;
		}
		if (l->behind_backslash) {
			l->behind_backslash = false;
		} else if (has_backslashes && *p == '\\') {
			l->behind_backslash = true;
		} else if ((size_t)l->place < sizeof ends && ends[l->place] == *p) {
			if (p[1] == *p) {
				p++;
			} else {
				l->place = PLAIN;
				take_plain_byte(l, '\'');
			}
		}
		p++;
	}
}

/* Why a piece of a key must not stand here; NULL if it may. */
static const char *fault_of_key(const struct lexer *l)
{
	static const char pattern[] = "a key behind LIKE or its kin would be taken for a pattern; use =";

	if (l->behind_backslash)
		return "a key stands behind a backslash";
	switch (l->place) {
	case PLAIN:
		return is_behind_like(l) ? pattern : adjoins_word(l) ? "a key right behind a word; put it in quotes" : NULL;
	case STRING:
	case DOUBLE_STRING:
		return l->is_pattern ? pattern : l->is_prefixed ? "a key in quotes with a word right before them; use '...'" : NULL;
	case ESCAPE_STRING:
		return "a key in E'...'; use '...'";
	case NAME:
	case TICKED_NAME:
		return "a key within the quotes of a name; use '...'";
	case LINE_COMMENT:
	case BLOCK_COMMENT:
		return "a key in a comment";
	case DOLLAR:
		return "a key in or behind $...$; use '...'";
	}
	return NULL;
}

/* The literal at i without the quotes of the strings beside it that are keys and nothing else; false if one of these is more. */
static bool add_unquoted(const struct sql_query *query, size_t i, struct buf *out)
{
	const struct pattern *p = &query->pattern;
	const char *from = p->pieces[i].literal;
	size_t n = strlen(from);

	if (i > 0 && p->pieces[i - 1].part != KEY_LITERAL && !query->bare[i - 1]) {
		if (from[0] != '\'' || from[1] == '\'')
			return false;
		from++;
		n--;
	}
	if (i + 1 < p->count && p->pieces[i + 1].part != KEY_LITERAL && !query->bare[i + 1]) {
		if (n == 0 || from[n - 1] != '\'' || (n > 1 && from[n - 2] == '\''))
			return false;
		n--;
	}
	buf_add(out, from, n);
	return memchr(from, '?', n) == NULL;
}

/* Makes query->bound. */
static void bind(struct sql_query *query)
{
	const struct pattern *p = &query->pattern;
	struct buf text = { 0 };
	unsigned keys = 0;
	bool good = true;

	for (size_t i = 0; i < p->count && good; i++) {
		if (p->pieces[i].part == KEY_LITERAL) {
			good = add_unquoted(query, i, &text);
			continue;
		}
		/* beside another key it is half a string */
		good = ++keys <= SQL_BOUND_MAX && (i == 0 || p->pieces[i - 1].part == KEY_LITERAL)
			&& (query->bare[i] || (i > 0 && i + 1 < p->count && p->pieces[i + 1].part == KEY_LITERAL));
		buf_addf(&text, "?%u", keys);
	}
	query->bound = good ? xstrdup(buf_str(&text)) : NULL;
	buf_free(&text);
}

bool sql_query_parse(struct sql_query *query, enum sql_dialect dialect, const char *text, struct buf *why)
{
	struct lexer l = { .dialect = dialect };
	const char *fault = NULL;

	*query = (struct sql_query){ 0 };
	if (!pattern_parse(&query->pattern, text, why))
		return false;
	query->bare = xcalloc(query->pattern.count + 1, sizeof *query->bare);
	for (size_t i = 0; i < query->pattern.count && fault == NULL; i++) {
		if (query->pattern.pieces[i].part == KEY_LITERAL) {
			pass(&l, query->pattern.pieces[i].literal);
		} else {
			fault = fault_of_key(&l);
			query->bare[i] = l.place == PLAIN;
			if (l.place == PLAIN)
				take_plain_byte(&l, '\'');
		}
	}
	if (fault == NULL && !pattern_uses_key(&query->pattern))
		fault = "nothing of the key is in it, so every key would be found; expected '%s', '%u' or '%d'";
	if (fault == NULL && l.place != PLAIN && l.place != LINE_COMMENT && l.place != DOLLAR)
		fault = "a quote or a comment has no end";
	if (fault != NULL)
		buf_adds(why, fault);
	else if (dialect == SQL_SQLITE)
		bind(query);
	return fault == NULL;
}

unsigned sql_query_strings(const struct sql_query *query, const char *key, size_t n, const char *strings[SQL_BOUND_MAX],
                           size_t lengths[SQL_BOUND_MAX])
{
	unsigned count = 0;

	for (size_t i = 0; i < query->pattern.count; i++) {
		const struct pattern_piece *p = &query->pattern.pieces[i];

		if (p->part == KEY_LITERAL)
			continue;
		strings[count] = "";
		lengths[count] = 0;
		(void)!key_part(key, n, p->part, p->label, &strings[count], &lengths[count]);
		count++;
	}
	return count;
}

void sql_query_free(struct sql_query *query)
{
	pattern_free(&query->pattern);
	free(query->bare);
	free(query->bound);
	query->bare = NULL;
	query->bound = NULL;
}

bool sql_query_fill(const struct sql_query *query, const char *key, size_t n, const struct sql_driver *driver, void *session,
                    struct buf *out, struct sql_error *error)
{
	for (size_t i = 0; i < query->pattern.count; i++) {
		const struct pattern_piece *p = &query->pattern.pieces[i];
		const char *bytes, *quote = query->bare[i] ? "'" : "";
		size_t length;
		long written;

		if (p->part == KEY_LITERAL) {
			buf_adds(out, p->literal);
			continue;
		}
		if (!key_part(key, n, p->part, p->label, &bytes, &length))
			continue;
		buf_adds(out, quote);
		written = driver->escape(session, buf_reserve(out, 2 * length + 1), bytes, length, error);
		if (written < 0)
			return false;
		out->len += (size_t)written;
		buf_adds(out, quote);
	}
	return true;
}

static bool has_references(const struct pattern *format)
{
	for (size_t i = 0; i < format->count; i++)
		for (const char *p = format->pieces[i].literal; p != NULL && *p != '\0'; p++)
			if (p[0] == '%' && p[1] >= '0' && p[1] <= '9')
				return true;
	return false;
}

bool sql_format_value(const struct pattern *format, const char *key, size_t key_length, const char *value, size_t n, struct buf *out)
{
	const bool doubled = has_references(format);

	for (size_t i = 0; i < format->count; i++) {
		const struct pattern_piece *p = &format->pieces[i];
		const bool of_key = p->upper || p->part == KEY_LABEL;
		const char *bytes;
		size_t length;

		if (p->part == KEY_LITERAL) {
			buf_adds(out, p->literal);
			continue;
		}
		if (!key_part(of_key ? key : value, of_key ? key_length : n, p->part, p->label, &bytes, &length))
			return false;
		for (size_t k = 0; k < length; k++) {
			buf_addc(out, bytes[k]);
			if (doubled && bytes[k] == '%')
				buf_addc(out, '%');
		}
	}
	return true;
}
