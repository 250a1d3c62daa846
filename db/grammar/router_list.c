#include "db/grammar/router_list.h"

#include <ctype.h>
#include <string.h>

/* What its scanner makes of the text; comments and blanks are none. */
enum token { T_END, T_ATOM, T_QUOTED, T_LITERAL, T_SPECIAL };

enum fault { ABOVE_ASCII, BACKSLASH, BLANKED, BRACKET, COMMA, DOT, GLUED, GROUP, OTHER, PERCENT, PHRASE, RETURN, ROUTE };

#define FAULT(text) { "ZMailer's router sends mail for this list to root: " text, \
	"ZMailer's router loses the members on this line of the list: " text }

static const struct {
	const char *list, *line;
} faults[] = {
	[ABOVE_ASCII] = FAULT("it takes no word that begins with a byte above ASCII, but in quotes"),
	[BACKSLASH] = FAULT("it takes no backslash in front of a word, but in quotes"),
	[BLANKED] = FAULT("it makes a blank of a backslash at the start and directly after a comma, in quotes too"),
	[BRACKET] = FAULT("it takes no bracket inside of brackets"),
	[COMMA] = FAULT("it takes no comma at the end"),
	[DOT] = FAULT("it takes no dot at an end of a name or domain, or beside another"),
	[GLUED] = FAULT("it takes no name that is in quotes in part"),
	[GROUP] = FAULT("it takes nothing after a group but a comma"),
	[OTHER] = FAULT("it cannot read what stands here"),
	[PERCENT] = FAULT("it takes % and ! between two words alone"),
	[PHRASE] = FAULT("it takes a name with a dot or @ in quotes alone"),
	[RETURN] = FAULT("it takes no carriage return"),
	[ROUTE] = FAULT("it takes no route in front of a name without a domain"),
};

/* A line of the list, cut into tokens one by one. */
struct scan {
	const char *value;
	size_t from, next, end;   /* of the line; `next` is behind the token at hand */
	bool references;
	enum token token;
	char special;             /* what T_SPECIAL is; '\0' for other tokens */
	char before;              /* the same of the token in front */
	size_t start;             /* where the token is */
	size_t mark;              /* the first dot or @ of the member, outside of <> */
	size_t blanked;           /* one more than where the last backslash is that it takes away inside of something; 0: nowhere */
	bool marked, failed;
	enum fault fault;
	size_t offset;
};

static bool fail(struct scan *s, enum fault fault, size_t offset)
{
	if (!s->failed) {
		s->failed = true;
		s->fault = s->blanked > 0 ? BLANKED : fault;
		s->offset = s->blanked > 0 ? s->blanked - 1 : offset;
	}
	return false;
}

/*
 * Before it scans, it makes a blank of a backslash at the start of a line and directly behind any comma, those in quotes too.
 */
static char byte_at(const struct scan *s, size_t i)
{
	char c = s->value[i];

	return c == '\\' && (i == s->from || s->value[i - 1] == ',') ? ' ' : c;
}

/* From an opening byte past the closing one, with what is nested in comments. */
static void skip_to(struct scan *s, char open, char close)
{
	size_t start = s->next, depth = 1;

	while (++s->next < s->end && depth > 0) {
		char c = byte_at(s, s->next);

		if (c == '\\')
			s->next++;
		else if (s->value[s->next] == '\\')
			s->blanked = s->next + 1;
		else if (c == '\r')
			fail(s, RETURN, s->next);
		else if (c == close)
			depth--;
		else if (c == open && open == '(')
			depth++;
		else if (c == open)
			fail(s, BRACKET, s->next);
	}
	/* with its backslash it was no opening byte */
	if (depth > 0)
		fail(s, BLANKED, start > s->from ? start - 1 : start);
}

static bool is_reference(const struct scan *s, size_t i)
{
	return s->references && s->value[i] == '%' && i + 1 < s->end && isdigit((unsigned char)s->value[i + 1]);
}

static bool is_special(char c)
{
	return c != '\0' && strchr("\"(),.:;<>@[\\]!%", c) != NULL;
}

static void scan_atom(struct scan *s)
{
	s->token = T_ATOM;
	if ((unsigned char)s->value[s->next] >= 0x80)
		fail(s, ABOVE_ASCII, s->next);
	while (s->next < s->end) {
		char c = byte_at(s, s->next);

		if (is_reference(s, s->next))
			s->next++;
		else if (is_special(c) || isspace((unsigned char)c))
			break;
		s->next++;
	}
}

static void advance(struct scan *s)
{
	char c = '\0';

	s->before = s->special;
	s->special = '\0';
	for (; s->next < s->end; s->next++) {
		c = byte_at(s, s->next);
		if (c == '\r')
			fail(s, RETURN, s->next);
		if (c == '(') {
			skip_to(s, '(', ')');
			s->next--;
		} else if (!isspace((unsigned char)c)) {
			break;
		}
	}
	s->start = s->next;
	if (s->next >= s->end) {
		s->token = T_END;
	} else if (c == '"' || c == '[') {
		s->token = c == '"' ? T_QUOTED : T_LITERAL;
		skip_to(s, c, c == '"' ? '"' : ']');
	} else if (is_special(c) && !is_reference(s, s->next)) {
		char behind = s->next + 1 < s->end ? s->value[s->next + 1] : '\0';
		bool pair = (c == ':' && behind == ':') || (c == '\\' && is_special(behind));

		/* "::" joins words as ! does, and a backslash in front of a special byte the two together */
		s->token = T_SPECIAL;
		s->special = pair && c == ':' ? '!' : c;
		s->next += pair ? 2 : 1;
	} else {
		scan_atom(s);
	}
}

static bool at(const struct scan *s, char special)
{
	return s->token == T_SPECIAL && s->special == special;
}

/* Past this byte, if it is the token at hand. */
static bool take(struct scan *s, char special)
{
	if (!at(s, special))
		return false;
	advance(s);
	return true;
}

/* Nothing that can be read stands here. */
static bool refuse(struct scan *s)
{
	static const struct {
		char byte;
		enum fault fault;
	} known[] = { { '.', DOT }, { '\\', BACKSLASH }, { '%', PERCENT }, { '!', PERCENT } };

	if (s->marked && (at(s, '<') || at(s, ':')))
		return fail(s, PHRASE, s->mark);
	for (size_t i = 0; i < sizeof known / sizeof known[0]; i++)
		if (at(s, known[i].byte) || s->before == known[i].byte)
			return fail(s, known[i].fault, s->start);
	if (s->before == ',' && (s->token == T_END || at(s, ';')))
		return fail(s, COMMA, s->start);
	return fail(s, s->before == ';' ? GROUP : OTHER, s->start);
}

static bool word(struct scan *s)
{
	if (s->token != T_ATOM && s->token != T_QUOTED && s->token != T_LITERAL)
		return refuse(s);
	advance(s);
	return true;
}

static bool joins_words(const struct scan *s)
{
	return at(s, '.') || at(s, '%') || at(s, '!') || at(s, '\\');
}

static bool domain(struct scan *s)
{
	do {
		if (s->token == T_QUOTED)
			return refuse(s);
		if (!word(s))
			return false;
	} while (take(s, '.'));
	return true;
}

static bool local_part(struct scan *s)
{
	for (;;) {
		if (!word(s))
			return false;
		if (!joins_words(s))
			return true;
		advance(s);
	}
}

static bool user_at_domain(struct scan *s)
{
	return local_part(s) && (!take(s, '@') || domain(s));
}

/* "@a,@b:" */
static bool route(struct scan *s)
{
	while (take(s, '@')) {
		if (!domain(s))
			return false;
		if (take(s, ':'))
			return true;
		while (take(s, ','))
			;
	}
	return refuse(s);
}

static bool angle(struct scan *s)
{
	advance(s);
	if (!at(s, '@')) {
		if (!user_at_domain(s))
			return false;
	} else if (!route(s) || !local_part(s)) {
		return false;
	} else if (!take(s, '@')) {
		return fail(s, ROUTE, s->start);
	} else if (!domain(s)) {
		return false;
	}
	return take(s, '>') || refuse(s);
}

static bool list(struct scan *s, bool in_group);

/* The words behind the first of a member: a phrase, in front of "<" or of a group. */
static bool phrase(struct scan *s, size_t first, bool in_group)
{
	size_t glued = first;

	for (; s->token == T_ATOM || s->token == T_QUOTED; advance(s))
		glued = s->token == T_QUOTED ? s->start : glued;
	if (at(s, '<'))
		return angle(s);
	if (!in_group && take(s, ':'))
		return list(s, true);
	return glued != first || s->value[first] == '"' ? fail(s, GLUED, glued) : refuse(s);
}

static bool member(struct scan *s, bool in_group)
{
	size_t first;

	while (take(s, ','))
		;
	s->marked = false;
	first = s->start;
	if (at(s, '<'))
		return angle(s);
	if (at(s, '@'))
		return route(s) && user_at_domain(s);
	if (!word(s))
		return false;
	s->marked = at(s, '.') || at(s, '@');
	s->mark = s->start;
	if (take(s, '@'))
		return domain(s);
	if (joins_words(s)) {
		advance(s);
		return user_at_domain(s);
	}
	return s->token == T_END || at(s, ',') || at(s, ';') || phrase(s, first, in_group);
}

static bool ends(struct scan *s, bool in_group)
{
	return in_group ? take(s, ';') : s->token == T_END;
}

/* A line, or what stands behind "name:" in it. */
static bool list(struct scan *s, bool in_group)
{
	if (ends(s, in_group))
		return true;
	do
		if (!member(s, in_group))
			return false;
	while (take(s, ','));
	return ends(s, in_group) || refuse(s);
}

const char *router_list_refused(const char *value, size_t length, bool references, size_t *offset)
{
	bool lines = memchr(value, '\n', length) != NULL;

	for (size_t start = 0, end; start < length; start = end + 1) {
		const char *newline = memchr(value + start, '\n', length - start);
		struct scan s = { .value = value, .from = start, .next = start, .references = references };

		end = newline != NULL ? (size_t)(newline - value) : length;
		s.end = end;
		if (value[start] == '#')
			continue;
		advance(&s);
		if (list(&s, false) && !s.failed)
			continue;
		*offset = s.offset;
		return lines ? faults[s.fault].line : faults[s.fault].list;
	}
	return NULL;
}
