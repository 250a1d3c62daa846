#include "channel/protocol/arguments.h"

#include <ctype.h>
#include <string.h>
#include <strings.h>

#include "lib/text.h"

/* The end of a path that begins at s, behind "<": its ">" outside of quotes, NULL without. */
static char *path_end(char *s)
{
	bool quoted = false;

	for (; *s != '\0'; s++) {
		if (*s == '\\' && s[1] != '\0')
			s++;
		else if (*s == '"')
			quoted = !quoted;
		else if (!quoted && *s == '>')
			return s;
		else if (!quoted && (*s == '<' || *s == ' ' || *s == '\t'))
			return NULL;
	}
	return NULL;
}

char *arguments_path(char **at)
{
	char *s = *at + strspn(*at, " \t"), *end;

	if (*s != '<')
		return NULL;
	end = path_end(++s);
	if (end == NULL || (end[1] != '\0' && end[1] != ' ' && end[1] != '\t'))
		return NULL;
	*end = '\0';
	*at = end + 1;
	if (*s == '@') {
		char *colon = strchr(s, ':');

		if (colon == NULL)
			return NULL;
		s = colon + 1;
	}
	return s;
}

char *arguments_parameter(char **at, char **value, bool *bad)
{
	char *name = *at + strspn(*at, " \t"), *end;

	*bad = false;
	*value = NULL;
	if (*name == '\0')
		return NULL;
	end = name + strcspn(name, " \t");
	*at = *end == '\0' ? end : end + 1;
	*end = '\0';
	end = strchr(name, '=');
	if (end != NULL) {
		*end = '\0';
		*value = end + 1;
		*bad = **value == '\0';
	}
	/* esmtp-keyword */
	for (const char *c = name; *c != '\0'; c++)
		*bad |= !isalnum((unsigned char)*c) && (*c != '-' || c == name);
	*bad |= *name == '\0';
	return *bad ? NULL : name;
}

static bool is_hex(char c)
{
	return (c >= '0' && c <= '9') || (c >= 'A' && c <= 'F');
}

bool arguments_is_xtext(const char *s)
{
	if (*s == '\0')
		return false;
	for (; *s != '\0'; s++) {
		if (*s == '+') {
			if (!is_hex(s[1]) || !is_hex(s[2]))
				return false;
			s += 2;
		} else if (*s < '!' || *s > '~' || *s == '=') {
			return false;
		}
	}
	return true;
}

bool arguments_is_notify(const char *s)
{
	static const char *const words[] = { "SUCCESS", "FAILURE", "DELAY" };

	if (strcasecmp(s, "NEVER") == 0)
		return true;
	for (;;) {
		size_t n = strcspn(s, ","), i = 0;

		while (i < 3 && (strlen(words[i]) != n || strncasecmp(s, words[i], n) != 0))
			i++;
		if (i == 3)
			return false;
		if (s[n] == '\0')
			return true;
		s += n + 1;
	}
}

bool arguments_is_orcpt(const char *s, bool utf8)
{
	size_t type = strcspn(s, ";");

	for (size_t i = 0; i < type; i++)
		if (!isalnum((unsigned char)s[i]) && s[i] != '-')
			return false;
	if (type == 0 || s[type] == '\0')
		return false;
	if (!utf8 || type != 5 || strncasecmp(s, "utf-8", type) != 0)
		return arguments_is_xtext(s + type + 1);
	/* characters as they are, or as \x{...} */
	s += type + 1;
	for (size_t i = 0, n = strlen(s), length; i < n; i += length) {
		length = text_utf8_length(s + i, n - i);
		if (length == 0 || (unsigned char)s[i] < '!' || s[i] == '=' || s[i] == '+' || s[i] == 127)
			return false;
	}
	return true;
}
