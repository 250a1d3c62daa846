#include "channel/protocol/caps.h"

#include <stdio.h>
#include <string.h>

#include "lib/parse.h"
#include "lib/text.h"

static const struct {
	const char *keyword;
	unsigned bit;
} keywords[] = {
	{ "8BITMIME", CAP_8BITMIME },
	{ "PIPELINING", CAP_PIPELINING },
	{ "CHUNKING", CAP_CHUNKING },
	{ "BINARYMIME", CAP_BINARYMIME },
	{ "DSN", CAP_DSN },
	{ "SIZE", CAP_SIZE },
	{ "STARTTLS", CAP_STARTTLS },
	{ "AUTH", CAP_AUTH },
	{ "SMTPUTF8", CAP_SMTPUTF8 },
	{ "DELIVERBY", CAP_DELIVERBY },
	{ "IGNOREQUOTA", CAP_IGNOREQUOTA },
	{ "ENHANCEDSTATUSCODES", CAP_ENHANCED },
};

unsigned caps_bit(const char *keyword)
{
	for (size_t i = 0; i < sizeof keywords / sizeof keywords[0]; i++)
		if (ascii_equal(keyword, keywords[i].keyword))
			return keywords[i].bit;
	return 0;
}

void caps_names(const struct caps *caps, struct buf *out)
{
	const char *separator = "";

	for (size_t i = 0; i < sizeof keywords / sizeof keywords[0]; i++) {
		if (!(caps->has & keywords[i].bit))
			continue;
		buf_addf(out, "%s%s", separator, keywords[i].keyword);
		separator = " ";
	}
}

static bool is_ignored(const char *ignore, const char *keyword)
{
	size_t n = strlen(keyword);

	for (const char *p = ignore ? ignore : ""; *p != '\0';) {
		size_t word = strcspn(p, " ");

		if (word == n && strncasecmp(p, keyword, n) == 0)
			return true;
		p += word;
		p += strspn(p, " ");
	}
	return false;
}

static void take_limit(const char *word, const char *name, uint64_t *limit)
{
	size_t n = strlen(name);
	uint64_t value;

	if (strncasecmp(word, name, n) == 0 && word[n] == '=' && parse_number(word + n + 1, UINT64_MAX, &value))
		*limit = value;
}

static void add_mechanism(struct caps *caps, const char *word)
{
	size_t used = strlen(caps->auth);

	if (used + strlen(word) + 2 > sizeof caps->auth)
		return;
	snprintf(caps->auth + used, sizeof caps->auth - used, "%s ", word);
	for (char *p = caps->auth + used; *p != '\0'; p++)
		if (*p >= 'a' && *p <= 'z')
			*p = (char)(*p - 32);
}

static void take_line(struct caps *caps, char *line, const char *ignore)
{
	char *rest, *keyword, *word;
	const char *first_mechanism;
	unsigned bit;

	line += strspn(line, " \t");
	first_mechanism = strncasecmp(line, "AUTH=", 5) == 0 ? line + 5 : NULL;
	keyword = strtok_r(line, " \t", &rest);
	/* "AUTH=LOGIN PLAIN" is the form of servers older than RFC 2554 */
	if (first_mechanism != NULL)
		keyword[4] = '\0';
	if (keyword == NULL || is_ignored(ignore, keyword))
		return;
	bit = caps_bit(keyword);
	caps->has |= bit;
	if (first_mechanism != NULL && *first_mechanism != '\0')
		add_mechanism(caps, first_mechanism);
	while ((word = strtok_r(NULL, " \t", &rest)) != NULL) {
		if (bit == CAP_SIZE)
			parse_number(word, UINT64_MAX, &caps->size_max);
		else if (bit == CAP_AUTH)
			add_mechanism(caps, word);
		else if (ascii_equal(keyword, "X-RCPTLIMIT"))
			parse_number(word, UINT64_MAX, &caps->rcpt_max);
		else if (ascii_equal(keyword, "LIMITS")) {
			take_limit(word, "RCPTMAX", &caps->rcpt_max);
			take_limit(word, "MAILMAX", &caps->mail_max);
		}
	}
}

void caps_parse(struct caps *caps, const struct reply *reply, const char *ignore)
{
	struct buf copy = { 0 };
	char *line, *end;

	*caps = (struct caps){ 0 };
	buf_add(&copy, buf_str(&reply->lines), reply->lines.len);
	line = copy.data;
	for (bool first = true; (end = strchr(line, '\n')) != NULL; line = end + 1, first = false) {
		const char *at;
		struct buf clean = { 0 };
		size_t n;

		*end = '\0';
		/* Cyrus ends its answer with "Ok SESSIONID=<...>": what a postmaster looks for in the server's log. */
		at = strstr(line, "SESSIONID=<");
		if (at != NULL) {
			at += strlen("SESSIONID=<");
			n = strcspn(at, "> ");
			text_add_clean(&clean, at, n, sizeof caps->session - 1);
			memcpy(caps->session, buf_str(&clean), clean.len + 1);
			buf_free(&clean);
		}
		if (!first)
			take_line(caps, line, ignore);
	}
	buf_free(&copy);
}
