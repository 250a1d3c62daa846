#include "db/grammar/router_list.h"

#include <ctype.h>
#include <string.h>

#define REFUSED "ZMailer's router sends mail for this list to root: "

struct scan {
	const char *value;
	size_t length, at;
	char before;           /* the byte in front that is no blank and no comment; ',' where a member begins */
	bool in_angle;
	size_t glued;          /* the same for quotes that touch a word: for a phrase that is no fault */
	size_t dotted;         /* one more than where a dot or @ stands in this member, outside quotes and brackets; 0: nowhere */
};

/* From an opening byte to the closing one, with what is nested in comments. */
static void skip_to(struct scan *s, char open, char close)
{
	size_t depth = 1;

	while (++s->at < s->length) {
		char c = s->value[s->at];

		if (c == '\\')
			s->at++;
		else if (c == close && --depth == 0)
			break;
		else if (c == open && open == '(')
			depth++;
	}
}

static bool begins(const struct scan *s)
{
	return strchr(",<:@.", s->before) != NULL;
}

/* What is wrong with the byte at hand, which stands outside quotes, brackets and comments. */
static const char *fault_of(const struct scan *s, char c, bool references, size_t *offset)
{
	char next = s->at + 1 < s->length ? s->value[s->at + 1] : '\0';

	*offset = s->at;
	if ((unsigned char)c >= 0x80)
		return REFUSED "it takes bytes above ASCII in quotes alone";
	if ((c == '.' && begins(s)) || (s->before == '.' && strchr("@>,;", c) != NULL))
		return REFUSED "it takes no dot at an end of a name or domain, or beside another";
	if (c == '%' && begins(s) && !(references && isdigit((unsigned char)next)))
		return REFUSED "it takes no name that begins with %";
	if (s->glued > 0 && strchr("@>,;", c) != NULL) {
		*offset = s->glued - 1;
		return REFUSED "it takes no name that is in quotes in part";
	}
	if (s->in_angle || (c != '<' && c != ':') || s->dotted == 0)
		return NULL;
	*offset = s->dotted - 1;
	return REFUSED "it takes a name with a dot or @ in quotes alone";
}

static void step(struct scan *s, char c)
{
	if (!s->in_angle && (c == '.' || c == '@') && s->dotted == 0)
		s->dotted = s->at + 1;
	if (c == '<' || c == '>')
		s->in_angle = c == '<';
	if (strchr("<:,;", c) != NULL)
		s->glued = 0;
	if (!s->in_angle && (c == ',' || c == ';')) {
		s->dotted = 0;
		c = ',';
	}
	s->before = c;
}

/* Past a quoted string. */
static void skip_quotes(struct scan *s)
{
	static const char apart[] = " \t\r\n,;:<>@.()";
	size_t start = s->at;

	skip_to(s, '"', '"');
	if ((start > 0 && strchr(apart, s->value[start - 1]) == NULL) ||
	    (s->at + 1 < s->length && strchr(apart, s->value[s->at + 1]) == NULL))
		s->glued = start + 1;
	s->before = '"';
}

static const char *look(struct scan *s, bool references, size_t *offset)
{
	char c = s->value[s->at];
	const char *why = NULL;

	if (c == '#' && (s->at == 0 || s->value[s->at - 1] == '\n')) {
		const char *newline = memchr(s->value + s->at, '\n', s->length - s->at);

		s->at = newline != NULL ? (size_t)(newline - s->value) : s->length;
	} else if (c == '(') {
		skip_to(s, c, ')');
	} else if (c == '"') {
		skip_quotes(s);
	} else if (c == '[') {
		skip_to(s, c, ']');
		s->before = c;
	} else if (c == '\\') {
		s->at++;
		s->before = c;
	} else if (c == '\n' || !isspace((unsigned char)c)) {
		c = c == '\n' ? ',' : c;
		why = fault_of(s, c, references, offset);
		step(s, c);
	}
	return why;
}

const char *router_list_refused(const char *value, size_t length, bool references, size_t *offset)
{
	struct scan s = { .value = value, .length = length, .before = ',' };
	const char *why = NULL;

	for (; why == NULL && s.at < length; s.at++)
		why = look(&s, references, offset);
	return why != NULL ? why : fault_of(&s, ',', references, offset);
}
