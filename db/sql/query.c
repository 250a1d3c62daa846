#include "db/sql/query.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

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
	BRACKET_NAME,       /* [...] of SQLite */
	LINE_COMMENT,
	BLOCK_COMMENT,
	DOLLAR,             /* PostgreSQL's $tag$...$tag$, to the end for us */
};

/* What may stand here, as far as it matters. */
enum wanted {
	ANYTHING,
	NO_KEY,             /* it is read in parts: a list, a path, a pattern */
	PATTERN,            /* LIKE and similar operators are before it: one constant text, or "_" in an address stands for any letter */
	END_OF_PATTERN,     /* that text was there; nothing may be added to it */
};

#define DEEPEST 64

struct lexer {
	enum sql_dialect dialect;
	enum place place;
	bool behind_backslash;
	unsigned comments;      /* PostgreSQL's, one in another */
	char word[16];          /* the last word before, in lower case; cut; or the last sign */
	size_t word_length;
	bool is_over;           /* the word is complete: the next byte begins another one */
	bool is_prefixed;       /* a word adjoins the quote and changes what the string means: E'', x'', _latin1'' */
	char first;             /* byte of the string; NUL: none yet */
	enum wanted wanted;
	bool passes_one;        /* a word or string that belongs to the pattern: of COLLATE, ESCAPE, :: */
	unsigned depth;         /* of parentheses */
	enum wanted second[DEEPEST];    /* what the second argument of each must be */
	const char *fault;
};

static bool is_word_byte(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '_' || (unsigned char)c >= 0x80;
}

static void refuse(struct lexer *l, const char *fault)
{
	if (l->fault == NULL)
		l->fault = fault;
}

static void refuse_pattern(struct lexer *l)
{
	refuse(l, "LIKE or a similar operator with more than one text in quotes after it, where \"_\" of an address stands for any letter; "
	          "compare by = or lower(column) = lower('%s'), or ask a function of the database");
}

#define IN(dialect) (1u << (dialect))
#define ALL (IN(SQL_PGSQL) | IN(SQL_MYSQL) | IN(SQL_SQLITE))

/* What is wanted behind a word. */
static enum wanted wanted_behind(const struct lexer *l)
{
	static const struct { const char *word; unsigned dialects; enum wanted wanted; } words[] = {
		{ "like", ALL, PATTERN },
		{ "ilike", IN(SQL_PGSQL), PATTERN },
		{ "similar to", IN(SQL_PGSQL), PATTERN },
		{ "rlike", IN(SQL_MYSQL), PATTERN },
		{ "regexp", IN(SQL_MYSQL) | IN(SQL_SQLITE), PATTERN },
		{ "against", IN(SQL_MYSQL), PATTERN },
		{ "glob", IN(SQL_SQLITE), PATTERN },
		{ "match", IN(SQL_SQLITE), PATTERN },
		{ "any", ALL, NO_KEY },
		{ "all", ALL, NO_KEY },
		{ "some", ALL, NO_KEY },
	};

	for (size_t i = 0; i < sizeof words / sizeof words[0]; i++)
		if ((words[i].dialects & IN(l->dialect)) != 0 && strcmp(l->word, words[i].word) == 0)
			return words[i].wanted;
	return ANYTHING;
}

static void end_word(struct lexer *l)
{
	const bool is_new = !l->is_over && l->word_length > 0;
	const enum wanted before = l->wanted;

	l->is_over = true;
	/* its second word is still to come, and must not begin another */
	if (!is_new || strcmp(l->word, "similar") == 0)
		return;
	if (l->passes_one) {
		l->passes_one = false;
		return;
	}
	if (before == END_OF_PATTERN && (strcmp(l->word, "collate") == 0 || strcmp(l->word, "escape") == 0)) {
		l->passes_one = true;
		return;
	}
	if (before == PATTERN && strcmp(l->word, "binary") == 0)
		return;
	if (before == PATTERN)
		refuse_pattern(l);
	l->wanted = wanted_behind(l);
	/* substring(... from pattern) */
	if (strcmp(l->word, "from") == 0 && l->depth > 0 && l->depth < DEEPEST && l->second[l->depth] != ANYTHING)
		l->wanted = l->second[l->depth];
}

static void open_parenthesis(struct lexer *l)
{
	if (l->wanted == END_OF_PATTERN)
		refuse_pattern(l);
	if (++l->depth < DEEPEST) {
		/* what is wanted behind the first comma in the parentheses behind a word */
		if (strncmp(l->word, "regexp_", 7) == 0)
			l->second[l->depth] = PATTERN;
		else
			l->second[l->depth] = strcmp(l->word, "find_in_set") == 0 ||
			        (l->dialect == SQL_PGSQL && strcmp(l->word, "substring") == 0) ? NO_KEY : ANYTHING;
	} else
		refuse(l, "too many parentheses");
}

/* Any other sign. */
static void take_sign(struct lexer *l, char c)
{
	if (c == ')' && l->depth > 0)
		l->depth--;
	if (l->dialect == SQL_PGSQL && c == '~') {
		l->wanted = PATTERN;
	} else if (c == ',' && l->depth > 0 && l->depth < DEEPEST && l->second[l->depth] != ANYTHING) {
		l->wanted = l->second[l->depth];
		l->second[l->depth] = ANYTHING;
	} else if (l->wanted == PATTERN && !(c == '*' && strcmp(l->word, "~") == 0)) {
		refuse_pattern(l);
	} else if (l->wanted == END_OF_PATTERN && c == ':') {
		l->passes_one = true;
	} else if (l->wanted == END_OF_PATTERN && c != ')') {
		if (strchr(",;=<>!", c) == NULL && !(c == '&' && l->dialect == SQL_MYSQL))
			refuse_pattern(l);
		l->wanted = ANYTHING;
	} else if (l->wanted == NO_KEY) {
		l->wanted = ANYTHING;
	}
	l->word[0] = c;
	l->word[1] = '\0';
	l->word_length = 1;
}

/* A string, a name in quotes or a key without quotes begins. */
static void open_text(struct lexer *l)
{
	l->is_prefixed = (!l->is_over && l->word_length > 0) || strcmp(l->word, "&") == 0;
	l->is_over = true;
	l->first = '\0';
	if (l->wanted == END_OF_PATTERN && !l->passes_one)
		refuse_pattern(l);
}

static void close_text(struct lexer *l, bool is_name)
{
	if (l->wanted == PATTERN && is_name)
		refuse_pattern(l);
	l->wanted = l->wanted == PATTERN || (l->wanted == END_OF_PATTERN && l->passes_one) ? END_OF_PATTERN : ANYTHING;
	l->passes_one = false;
	l->word[0] = '\0';
	l->word_length = 0;
	l->is_over = true;
}

static bool opens_dollar_quote(const char *p)
{
	for (p++; is_word_byte(ascii_lower(*p)); p++)
		;
	return *p == '$';
}

static void take_word_byte(struct lexer *l, char c)
{
	if (l->is_over && strcmp(l->word, "similar") == 0)
		l->word[l->word_length++] = ' ';
	else if (l->is_over)
		l->word_length = 0;
	l->is_over = false;
	if (l->word_length + 1 < sizeof l->word)
		l->word[l->word_length++] = c;
	l->word[l->word_length] = '\0';
}

/* One byte outside of all quotes and comments; returns how many are done with. */
static size_t pass_plain(struct lexer *l, const char *p)
{
	const bool mysql = l->dialect == SQL_MYSQL;

	if (*p == '\'' || *p == '"' || (*p == '`' && l->dialect != SQL_PGSQL) || (*p == '[' && l->dialect == SQL_SQLITE)) {
		open_text(l);
		l->place = *p == '`' ? TICKED_NAME : *p == '[' ? BRACKET_NAME : *p == '"' ? (mysql ? DOUBLE_STRING : NAME)
			: l->dialect == SQL_PGSQL && l->is_prefixed && strcmp(l->word, "e") == 0 ? ESCAPE_STRING : STRING;
	} else if ((mysql && *p == '#') ||
	           (p[0] == '-' && p[1] == '-' && (!mysql || p[2] == '\0' || strchr(" \t\n\r", p[2]) != NULL))) {
		l->place = LINE_COMMENT;
	} else if (p[0] == '/' && p[1] == '*') {
		if (mysql && (p[2] == '!' || (p[2] == 'M' && p[3] == '!')))
			refuse(l, "a comment that MySQL executes; write its content without /*! and */");
		end_word(l);
		l->place = BLOCK_COMMENT;
		l->comments = 1;
		return 2;
	} else if (*p == '$' && l->dialect == SQL_PGSQL && opens_dollar_quote(p)) {
		l->place = DOLLAR;
	} else if (is_word_byte(ascii_lower(*p))) {
		take_word_byte(l, ascii_lower(*p));
	} else {
		end_word(l);
		if (*p == '(')
			open_parenthesis(l);
		else if (!ascii_is_space(*p))
			take_sign(l, *p);
	}
	return 1;
}

/* One byte or two within a block comment. */
static size_t pass_comment(struct lexer *l, const char *p)
{
	if (p[0] == '*' && p[1] == '/') {
		if (--l->comments == 0)
			l->place = PLAIN;
		return 2;
	}
	if (p[0] != '/' || p[1] != '*' || l->dialect != SQL_PGSQL)
		return 1;
	l->comments++;
	return 2;
}

/* One byte or two within quotes. */
static size_t pass_text(struct lexer *l, const char *p)
{
	static const char ends[] = {
		[STRING] = '\'', [ESCAPE_STRING] = '\'', [DOUBLE_STRING] = '"', [NAME] = '"', [TICKED_NAME] = '`', [BRACKET_NAME] = ']',
	};
	const bool is_name = l->place == NAME || l->place == TICKED_NAME || l->place == BRACKET_NAME;
	const bool has_backslashes = l->place == ESCAPE_STRING || (l->dialect == SQL_MYSQL && !is_name);

	if (l->behind_backslash) {
		l->behind_backslash = false;
	} else if (has_backslashes && *p == '\\') {
		l->behind_backslash = true;
		return 1;
	} else if (*p == ends[l->place]) {
		if (p[1] != *p || l->place == BRACKET_NAME) {
			l->place = PLAIN;
			close_text(l, is_name);
			return 1;
		}
		p++;
		if (l->first == '\0')
			l->first = *p;
		return 2;
	}
	if (l->first == '\0')
		l->first = *p;
	return 1;
}

/* A piece of a key stands here. */
static void take_key(struct lexer *l)
{
	const char *fault = NULL;

	if (l->place == PLAIN)
		open_text(l);
	if (l->behind_backslash)
		refuse(l, "a key stands after a backslash");
	switch (l->place) {
	case PLAIN:
		if (l->is_prefixed)
			fault = "a key right after a word; put it in quotes";
		break;
	case STRING:
	case DOUBLE_STRING:
		if (l->is_prefixed)
			fault = "a key in quotes with a word right before them; use '...'";
		else if (l->first != '\0' && strchr("{[\"$", l->first) != NULL)
			fault = "a key within a list, a path or JSON, which is read in parts; compare by = or with ARRAY['%s']";
		break;
	case ESCAPE_STRING:
		fault = "a key in E'...'; use '...'";
		break;
	case NAME:
	case TICKED_NAME:
	case BRACKET_NAME:
		fault = "a key within the quotes of a name; use '...'";
		break;
	case LINE_COMMENT:
	case BLOCK_COMMENT:
		fault = "a key in a comment";
		break;
	case DOLLAR:
		fault = "a key in or after $...$; use '...'";
		break;
	}
	if (fault == NULL && l->wanted == PATTERN)
		fault = "a key after LIKE or a similar operator would be taken for a pattern; use =";
	else if (fault == NULL && l->wanted == NO_KEY)
		fault = "a key as a list or a pattern, which is read in parts; compare by = or with ARRAY['%s']";
	if (fault != NULL)
		refuse(l, fault);
	if (l->place == PLAIN)
		close_text(l, false);
	else if (l->first == '\0')
		l->first = 'k';
}

/*
 * The literal at i without the quotes of the strings beside it that are keys and nothing else; false if one of these is more,
 * or if `sign` is in it, which stands for a key.
 */
static bool add_unquoted(const struct sql_query *query, size_t i, char sign, struct buf *out)
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
	return memchr(from, sign, n) == NULL;
}

/* Makes query->bound. */
static void bind(struct sql_query *query, char sign)
{
	const struct pattern *p = &query->pattern;
	struct buf text = { 0 };
	unsigned keys = 0;
	bool good = true;

	for (size_t i = 0; i < p->count && good; i++) {
		if (p->pieces[i].part == KEY_LITERAL) {
			good = add_unquoted(query, i, sign, &text);
			continue;
		}
		/* beside another key it is half a string */
		good = ++keys <= SQL_BOUND_MAX && (i == 0 || p->pieces[i - 1].part == KEY_LITERAL)
			&& (query->bare[i] || (i > 0 && i + 1 < p->count && p->pieces[i + 1].part == KEY_LITERAL));
		buf_addf(&text, "%c%u", sign, keys);
	}
	query->bound = good ? xstrdup(buf_str(&text)) : NULL;
	buf_free(&text);
}

const char *sql_query_change(const char *text)
{
	static const char *const words[] = {
		"insert", "update", "delete", "replace", "merge", "truncate", "drop", "alter", "create", "grant", "revoke",
	};
	const char *word = text + strspn(text, " \t\r\n(");
	size_t n = strcspn(word, " \t\r\n(;");

	for (size_t i = 0; i < sizeof words / sizeof words[0]; i++)
		if (strlen(words[i]) == n && strncasecmp(words[i], word, n) == 0 && strcasestr(text, "returning") == NULL)
			return "it would change the database with each question, and gives no rows; expected SELECT";
	return NULL;
}

bool sql_query_parse(struct sql_query *query, enum sql_dialect dialect, const char *text, struct buf *why)
{
	/* the rest of a comment, and what PostgreSQL quotes by $, ends with the query */
	static size_t (*const passes[])(struct lexer *l, const char *p) = {
		[PLAIN] = pass_plain, [STRING] = pass_text, [ESCAPE_STRING] = pass_text, [DOUBLE_STRING] = pass_text,
		[NAME] = pass_text, [TICKED_NAME] = pass_text, [BRACKET_NAME] = pass_text, [BLOCK_COMMENT] = pass_comment,
		[LINE_COMMENT] = NULL, [DOLLAR] = NULL,
	};
	struct lexer l = { .dialect = dialect };

	*query = (struct sql_query){ 0 };
	l.fault = sql_query_change(text);
	if (!pattern_parse(&query->pattern, text, why))
		return false;
	query->bare = xcalloc(query->pattern.count + 1, sizeof *query->bare);
	for (size_t i = 0; i < query->pattern.count; i++) {
		if (query->pattern.pieces[i].part == KEY_LITERAL) {
			for (const char *p = query->pattern.pieces[i].literal; *p != '\0' && passes[l.place] != NULL;)
				p += passes[l.place](&l, p);
		} else {
			query->bare[i] = l.place == PLAIN;
			take_key(&l);
		}
	}
	if (l.place == PLAIN)
		end_word(&l);
	if (!pattern_uses_key(&query->pattern))
		refuse(&l, "nothing of the key is in it, so every key would be found; expected '%s', '%u' or '%d'");
	if (l.place != PLAIN && l.place != LINE_COMMENT && l.place != DOLLAR)
		refuse(&l, "a quote or a comment has no end");
	if (l.fault != NULL)
		buf_adds(why, l.fault);
	else if (dialect != SQL_MYSQL)
		bind(query, dialect == SQL_SQLITE ? '?' : '$');
	return l.fault == NULL;
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

bool sql_format_value(const struct pattern *format, const char *key, size_t key_length, const char *value, size_t n,
                      struct buf *out)
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
