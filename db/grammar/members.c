#include "db/grammar/members.h"

#include <string.h>

/* One list being read.  `flat` is the address at hand without comments and blanks round its dots and '@'. */
struct reader {
	struct pool *pool;
	enum address_syntax syntax;
	const char *value;
	size_t at;              /* the byte looked at */
	size_t end;             /* of the line */
	size_t start;           /* where the address at hand begins */
	char *flat;
	size_t flat_length;
	bool words;             /* two words stand side by side: only a phrase may do that */
	bool in_group;
	const char *why;
	struct member *members;
	size_t count;
	size_t capacity;
};

static bool fail(struct reader *r, size_t at, const char *why)
{
	r->at = at;
	r->why = why;
	return false;
}

static bool more(const struct reader *r)
{
	return r->at < r->end;
}

static char here(const struct reader *r)
{
	return r->value[r->at];
}

static void keep(struct reader *r, size_t from, size_t to)
{
	memcpy(r->flat + r->flat_length, r->value + from, to - from);
	r->flat_length += to - from;
}

/* Past a comment with its nested ones. */
static bool skip_comment(struct reader *r)
{
	size_t start = r->at, depth = 0;

	for (; more(r); r->at++) {
		if (here(r) == '\\')
			r->at++;
		else if (here(r) == '(')
			depth++;
		else if (here(r) == ')' && --depth == 0) {
			r->at++;
			return true;
		}
	}
	return fail(r, start, "the comment is not closed; expected )");
}

/* Past blanks and comments; *any tells if there were some. */
static bool skip_space(struct reader *r, bool *any)
{
	size_t start = r->at;

	while (more(r)) {
		if (here(r) == '(') {
			if (!skip_comment(r))
				return false;
		} else if (here(r) == ' ' || here(r) == '\t' || here(r) == '\r') {
			r->at++;
		} else {
			break;
		}
	}
	*any = r->at > start;
	return true;
}

/* A quoted string or a literal in brackets, taken over with its delimiters. */
static bool take_delimited(struct reader *r, char close, const char *why)
{
	size_t start = r->at++;

	for (; more(r); r->at++) {
		if (here(r) == '\\') {
			r->at++;
		} else if (here(r) == close) {
			r->at++;
			keep(r, start, r->at);
			return true;
		}
	}
	return fail(r, start, why);
}

/* Adds the next word, or special that may be part of an address. */
static bool take_word(struct reader *r)
{
	size_t start = r->at;

	switch (here(r)) {
	case '"':
		return take_delimited(r, '"', "the quotes are not closed");
	case '[':
		return take_delimited(r, ']', "the bracket is not closed");
	case ')':
	case '>':
	case ']':
	case ';':
		return fail(r, start, "this closes nothing; expected a comma or the end");
	case '\\':
		r->at++;
		break;
	}
	if (!more(r))
		return fail(r, start, "nothing follows the backslash");
	r->at++;
	keep(r, start, r->at);
	return true;
}

static bool joins(char c)
{
	return c == '@' || c == '.' || c == ':' || c == ',';
}

/* True if a blank at this place parts two words. */
static bool parts_words(const struct reader *r)
{
	return r->flat_length > 0 && !joins(r->flat[r->flat_length - 1]) && !joins(here(r));
}

/* "<address>": what stood in front was a phrase. */
static bool take_angle(struct reader *r)
{
	size_t start = r->at++;
	bool any;

	r->flat_length = 0;
	r->words = false;
	for (;;) {
		if (!skip_space(r, &any))
			return false;
		if (!more(r))
			return fail(r, start, "the address is not closed; expected >");
		if (here(r) == '>')
			break;
		if (any && parts_words(r))
			r->words = true;
		if (here(r) == '<')
			return fail(r, r->at, "expected > first");
		if (!take_word(r))
			return false;
	}
	r->at++;
	if (!skip_space(r, &any))
		return false;
	if (more(r) && here(r) != ',' && !(r->in_group && here(r) == ';'))
		return fail(r, r->at, "expected a comma or the end after >");
	return true;
}

static struct member *new_member(struct reader *r)
{
	if (r->count == r->capacity) {
		size_t capacity = r->capacity ? r->capacity * 2 : 8;
		struct member *members = pool_alloc(r->pool, capacity * sizeof *members);

		if (r->count > 0)
			memcpy(members, r->members, r->count * sizeof *members);
		r->members = members;
		r->capacity = capacity;
	}
	return &r->members[r->count++];
}

/* True for a quoted string that is no local part: a command, a file, an include. */
static bool add_special(struct reader *r, bool *done)
{
	const char *text;
	struct member *m;

	*done = false;
	if (r->flat[0] == '|')
		return fail(r, r->start, "a command must stand in quotes");
	if ((r->flat[0] != '"' && r->flat[0] != '/') || address_at(r->flat, r->flat_length) != NULL)
		return true;
	text = address_unquote(r->pool, r->flat, r->flat_length);
	if (text != NULL && strncmp(text, ":include:", 9) == 0)
		return fail(r, r->start, "includes are not expanded");
	if (text == NULL || r->flat[1] == '\\' || (text[0] != '|' && text[0] != '/'))
		return true;
	m = new_member(r);
	m->kind = text[0] == '|' ? MEMBER_PIPE : MEMBER_FILE;
	m->text = text;
	*done = true;
	return true;
}

static bool add_member(struct reader *r)
{
	struct address address;
	const char *why;
	bool done;

	if (r->words)
		return fail(r, r->start, "two words side by side; expected a comma, or <address> after a name");
	if (!add_special(r, &done) || done)
		return done;
	if (!address_parse(r->pool, r->flat, r->flat_length, r->syntax, &address, &why))
		return fail(r, r->start, why);
	if (address_at(address.written, strlen(address.written)) != NULL)
		return fail(r, r->start, "more than one @");
	new_member(r)->address = address;
	return true;
}

/* A ':' outside brackets: the name of a group stood in front of it. */
static bool open_group(struct reader *r)
{
	if (r->flat_length == 0)
		return fail(r, r->at, "expected an address; includes are not expanded");
	if (r->in_group || address_at(r->flat, r->flat_length) != NULL)
		return fail(r, r->at, "a colon is no part of an address");
	r->in_group = true;
	r->flat_length = 0;
	r->words = false;
	r->at++;
	return true;
}

/* Reads up to the comma, ';' or end behind one address. */
static bool read_mailbox(struct reader *r)
{
	bool space, angle = false;

	r->flat_length = 0;
	r->words = false;
	if (!skip_space(r, &space))
		return false;
	r->start = r->at;
	while (more(r) && here(r) != ',' && !(here(r) == ';' && r->in_group)) {
		if (space && parts_words(r))
			r->words = true;
		if (here(r) == '<') {
			angle = true;
			if (!take_angle(r))
				return false;
			break;
		}
		if (here(r) == ':' ? !open_group(r) : !take_word(r))
			return false;
		if (!skip_space(r, &space))
			return false;
	}
	if (angle && r->flat_length == 0)
		return fail(r, r->start, "the address is empty");
	return r->flat_length == 0 || add_member(r);
}

static bool read_line(struct reader *r)
{
	while (more(r)) {
		if (!read_mailbox(r))
			return false;
		if (!more(r))
			break;
		if (here(r) == ';')
			r->in_group = false;
		r->at++;
	}
	return !r->in_group || fail(r, r->end, "the group is not closed; expected ;");
}

bool members_parse(struct pool *pool, const char *value, size_t length, enum address_syntax syntax,
                   struct member **members, size_t *count, size_t *offset, const char **why)
{
	struct reader r = { .pool = pool, .syntax = syntax, .value = value };

	for (size_t i = 0; i < length; i++) {
		char c = value[i];

		if (((unsigned char)c < ' ' && c != '\t' && c != '\r' && c != '\n') || c == 127) {
			*offset = i;
			*why = "the list holds control bytes";
			return false;
		}
	}
	r.flat = pool_alloc(pool, length + 1);
	for (size_t start = 0; start < length; start = r.end + 1) {
		const char *newline = memchr(value + start, '\n', length - start);

		r.at = start;
		r.end = newline != NULL ? (size_t)(newline - value) : length;
		if (value[start] != '#' && !read_line(&r)) {
			*offset = r.at;
			*why = r.why;
			return false;
		}
	}
	*members = r.members;
	*count = r.count;
	return true;
}
