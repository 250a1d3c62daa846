#include "db/grammar/address.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <string.h>
#include <strings.h>

#include "lib/text.h"

bool address_has_specials(const char *local)
{
	for (; *local != '\0'; local++)
		if (*local != '.' && !text_is_atext(*local))
			return true;
	return false;
}

/* Is `local` with `tail` behind it a dot-string (RFC 5321 section 4.1.2)?  Neither need be one of its own. */
static bool is_dot_string(const char *local, const char *tail)
{
	const char *parts[] = { local, tail };
	char last = '.';

	for (size_t i = 0; i < 2; i++) {
		for (const char *p = parts[i]; *p != '\0'; last = *p++)
			if (*p == '.' ? last == '.' : !text_is_atext(*p))
				return false;
	}
	return last != '.';
}

bool address_needs_quotes(const char *local)
{
	return !is_dot_string(local, "");
}

/* Adds text inside of quotes. */
static void add_quoted(struct buf *out, const char *text)
{
	for (; *text != '\0'; text++) {
		if (*text == '"' || *text == '\\')
			buf_addc(out, '\\');
		buf_addc(out, *text);
	}
}

void address_add_local(struct buf *out, const char *local)
{
	address_add(out, local, NULL, NULL);
}

void address_add(struct buf *out, const char *local, const char *tail, const char *domain)
{
	if (tail == NULL)
		tail = "";
	if (is_dot_string(local, tail)) {
		buf_adds(out, local);
		buf_adds(out, tail);
	} else {
		buf_addc(out, '"');
		add_quoted(out, local);
		add_quoted(out, tail);
		buf_addc(out, '"');
	}
	if (domain != NULL) {
		buf_addc(out, '@');
		buf_adds(out, domain);
	}
}

/* As it stands, without quotes: the common case, in one piece of the pool. */
static const char *plain_text(struct pool *pool, const char *local, const char *tail, const char *domain)
{
	size_t l = strlen(local), t = tail != NULL ? strlen(tail) : 0, d = domain != NULL ? strlen(domain) : 0;
	char *text = pool_alloc(pool, l + t + d + 2);

	memcpy(text, local, l);
	if (t > 0)
		memcpy(text + l, tail, t);
	if (domain != NULL) {
		text[l + t] = '@';
		memcpy(text + l + t + 1, domain, d);
	}
	return text;
}

const char *address_text(struct pool *pool, const char *local, const char *tail, const char *domain)
{
	struct buf text = { 0 };
	const char *copy;

	if (is_dot_string(local, tail != NULL ? tail : ""))
		return plain_text(pool, local, tail, domain);
	address_add(&text, local, tail, domain);
	copy = pool_copy(pool, buf_str(&text), text.len);
	buf_free(&text);
	return copy;
}

/* RFC 1035 section 2.3.4, in bytes.  A U-label has at most 59 characters, of up to 4 bytes (RFC 5890 section 4.2). */
#define LONGEST_DOMAIN 255
#define LONGEST_LABEL 63
#define LONGEST_U_LABEL 59

static size_t characters(const char *domain, size_t length)
{
	size_t n = 0;

	for (size_t i = 0; i < length; i++)
		n += !text_is_within_character(domain[i]);
	return n;
}

/* Four decimal numbers of up to three digits; inet_pton(3) knows none with zeros in front, which RFC 5321 permits. */
static bool parse_ipv4(const char *text, unsigned char bytes[4])
{
	for (size_t i = 0; i < 4; i++) {
		unsigned value = 0;
		size_t digits = strspn(text, "0123456789");

		if (digits == 0 || digits > 3)
			return false;
		for (; digits > 0; digits--)
			value = value * 10 + (unsigned)(*text++ - '0');
		if (value > 255 || *text != (i < 3 ? '.' : '\0'))
			return false;
		bytes[i] = (unsigned char)value;
		text++;
	}
	return true;
}

int address_literal(const char *domain, size_t length, unsigned char bytes[16])
{
	static const char tag[] = "IPv6:";
	const size_t before = sizeof tag - 1;
	char text[sizeof tag + INET6_ADDRSTRLEN];

	if (length < 2 || length - 2 >= sizeof text || domain[0] != '[' || domain[length - 1] != ']')
		return AF_UNSPEC;
	memcpy(text, domain + 1, length - 2);
	text[length - 2] = '\0';
	if (strncasecmp(text, tag, before) == 0)
		return inet_pton(AF_INET6, text + before, bytes) == 1 ? AF_INET6 : AF_UNSPEC;
	return parse_ipv4(text, bytes) ? AF_INET : AF_UNSPEC;
}

bool address_domain_ok(const char *domain, size_t length)
{
	unsigned char bytes[16];
	size_t label = 0;
	bool eightbit = false;

	if (length > 0 && domain[0] == '[')
		return address_literal(domain, length, bytes) != AF_UNSPEC;
	/* no option to a program that gets it as an argument */
	if ((length > 0 && domain[0] == '-') || characters(domain, length) > LONGEST_DOMAIN)
		return false;
	for (size_t i = 0; i < length; i++) {
		unsigned char c = (unsigned char)domain[i];

		if (c == '.' && label == 0)
			return false;
		/* a colon would be that of a port, which is no part of a domain */
		if (c < 128 && !isalnum(c) && strchr("-_.", c) == NULL)
			return false;
		eightbit = c != '.' && (eightbit || c >= 128);
		label = c == '.' ? 0 : label + !text_is_within_character((char)c);
		if (label > (eightbit ? LONGEST_U_LABEL : LONGEST_LABEL))
			return false;
	}
	return label > 0;
}

const char *address_at(const char *text, size_t length)
{
	const char *at = NULL;
	bool quoted = false;

	for (size_t i = 0; i < length; i++) {
		if (text[i] == '\\')
			i++;
		else if (text[i] == '"')
			quoted = !quoted;
		else if (text[i] == '@' && !quoted)
			at = text + i;
	}
	return quoted ? NULL : at;
}

const char *address_unquote(struct pool *pool, const char *text, size_t length)
{
	char *out = pool_alloc(pool, length + 1), *p = out;
	bool quoted = false;

	for (size_t i = 0; i < length; i++) {
		if (text[i] == '"') {
			quoted = !quoted;
			continue;
		}
		if (text[i] == '\\' && ++i == length)
			return NULL;
		*p++ = text[i];
	}
	return quoted ? NULL : out;
}

bool address_split_tail(struct pool *pool, const char *local, const char **base, const char **tail)
{
	size_t end = strcspn(local, "+"), skip = 1;
	char *text;

	for (size_t i = end; i >= 3; i--) {
		if (local[i - 1] == '-' && local[i - 2] == '-') {
			end = i - 2;
			skip = 2;
			break;
		}
	}
	if (end == 0 || local[end] == '\0')
		return false;
	*base = pool_copy(pool, local, end);
	text = pool_copy(pool, local + end + skip - 1, strlen(local + end + skip - 1));
	text[0] = '+';
	*tail = text;
	return true;
}

/* ---- taking an address apart ---- */

/* The ':' that ends a source route "@a,@b:"; brackets may hold colons. */
static const char *end_of_route(const char *text, size_t length)
{
	bool literal = false;

	for (size_t i = 0; i < length; i++) {
		if (text[i] == '[' || text[i] == ']')
			literal = text[i] == '[';
		else if (text[i] == ':' && !literal)
			return text + i;
		else if (text[i] == '"')
			return NULL;
	}
	return NULL;
}

/* Removes the brackets of "<u@d>" and source routes in front. */
static void strip_wrapping(const char **text, size_t *length)
{
	const char *colon;

	if (*length >= 2 && (*text)[0] == '<' && (*text)[*length - 1] == '>')
		*text += 1, *length -= 2;
	while (*length > 0 && (*text)[0] == '@' && (colon = end_of_route(*text, *length)) != NULL) {
		*length -= (size_t)(colon + 1 - *text);
		*text = colon + 1;
	}
}

/* A domain, or one with a dot behind it. */
static bool is_domain(const char *text, size_t length)
{
	return address_domain_ok(text, length > 1 && text[length - 1] == '.' ? length - 1 : length);
}

/* "host!rest" to rest@host.  False if it is no such path; *why is set if it is one that leads nowhere. */
static bool turn_path(struct pool *pool, const char **text, size_t *length, const char **why)
{
	const char *mark = memchr(*text, '!', *length);
	size_t host = mark != NULL ? (size_t)(mark - *text) : 0, rest = *length - host - 1;
	char *turned;

	if (host == 0 || memchr(*text, '"', *length) != NULL)
		return false;
	if (memchr(*text, '.', host - 1) == NULL || !is_domain(*text, host) || rest == 0) {
		*why = "a path of hosts without a domain is no address";
		return false;
	}
	turned = pool_alloc(pool, *length + 1);
	memcpy(turned, mark + 1, rest);
	turned[rest] = '@';
	memcpy(turned + rest + 1, *text, host);
	*text = turned;
	return true;
}

/* "user%host" to user@host, at the last '%', if it is that. */
static void turn_percent(struct pool *pool, const char **text, size_t *length, enum address_syntax syntax)
{
	const char *mark = memrchr(*text, '%', *length);
	size_t user = mark != NULL ? (size_t)(mark - *text) : 0, host = *length - user - 1;
	char *turned;

	if (user == 0 || host == 0 || memchr(*text, '"', *length) != NULL || !is_domain(mark + 1, host))
		return;
	if (syntax == ADDRESS_TEMPLATE && (isdigit((unsigned char)mark[1]) || mark[-1] == '%'))
		return;
	turned = pool_copy(pool, *text, *length);
	turned[user] = '@';
	*text = turned;
}

static bool quotes_closed(const char *text, size_t length)
{
	bool quoted = false;

	for (size_t i = 0; i < length; i++) {
		if (text[i] == '"')
			quoted = !quoted;
		else if (text[i] == '\\' && ++i == length)
			return false;
	}
	return !quoted;
}

/* The domain without its dot at the end; in a template it may hold references. */
static const char *parse_domain(struct pool *pool, const char *text, size_t length, enum address_syntax syntax)
{
	if (length > 1 && text[length - 1] == '.')
		length--;
	if (syntax == ADDRESS_TEMPLATE && memchr(text, '%', length) != NULL)
		return pool_copy(pool, text, length);
	return address_domain_ok(text, length) ? pool_copy(pool, text, length) : NULL;
}

/* "a@x.test,b" is what is left in front of the last '@' of two addresses with a comma, semicolon or blank between. */
static bool holds_another(const char *text, size_t length)
{
	const char *at = address_at(text, length);

	for (const char *p = at; at != NULL && p < text + length; p++)
		if (*p == ',' || *p == ';' || *p == ' ')
			return true;
	return false;
}

static bool parse_local(struct pool *pool, const char *text, size_t length, struct address *address)
{
	address->written = pool_copy(pool, text, length);
	address->no_alias = text[0] == '\\' || (length > 1 && text[0] == '"' && text[1] == '\\' &&
	                                        text[2] != '"' && text[2] != '\\');
	address->local = address_unquote(pool, text, length);
	return address->local != NULL && address->local[0] != '\0';
}

bool address_parse(struct pool *pool, const char *text, size_t length, enum address_syntax syntax,
                   struct address *address, const char **why)
{
	const char *at;

	*why = NULL;
	*address = (struct address){ 0 };
	if (length == 0)
		*why = "the address is empty";
	else if (length > ADDRESS_MAX)
		*why = "the address is longer than 16384 bytes";
	else if (text_has_controls(text, length))
		*why = "the address holds control bytes";
	else if (!quotes_closed(text, length))
		*why = "the quotes are not closed";
	if (*why != NULL)
		return false;

	strip_wrapping(&text, &length);
	at = address_at(text, length);
	if (at == NULL) {
		if (!turn_path(pool, &text, &length, why) && *why == NULL)
			turn_percent(pool, &text, &length, syntax);
		if (*why != NULL)
			return false;
		at = address_at(text, length);
	}
	if (at != NULL) {
		address->domain = parse_domain(pool, at + 1, length - (size_t)(at + 1 - text), syntax);
		if (address->domain == NULL) {
			*why = at[1] == '[' ? "what stands after the @ is no address like [192.0.2.1] or [IPv6:2001:db8::1]"
			                    : "what stands after the @ is no domain";
			return false;
		}
		length = (size_t)(at - text);
		if (holds_another(text, length)) {
			*why = "two addresses where one is expected; give each by itself";
			return false;
		}
	}
	if (length == 0 || !parse_local(pool, text, length, address)) {
		*why = "nothing stands in front of the @";
		return false;
	}
	return true;
}
