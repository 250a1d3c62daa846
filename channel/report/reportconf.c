#include "channel/report/reportconf.h"

#include <errno.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "lib/alloc.h"
#include "lib/conf.h"
#include "lib/file.h"
#include "lib/log.h"
#include "lib/parse.h"
#include "lib/text.h"

/* RFC 5321 section 4.5.3.1: more is no address that others take. */
#define ADDRESS_LONGEST 320

void report_settings_init(struct report_settings *s, const char *host)
{
	*s = (struct report_settings){ .host = xstrdup(host), .max = REPORT_MAX_DEFAULT };
}

/* user@domain and nothing round it: it goes into a header, and into a command. */
static bool is_address(const char *s)
{
	const char *at = strrchr(s, '@');

	if (at == NULL || at == s || at[1] == '\0' || strlen(s) > ADDRESS_LONGEST || !text_is_utf8(s, strlen(s)))
		return false;
	for (const char *p = s; *p != '\0'; p++)
		if ((p > at || *p != '.') && !text_is_atext(*p) && !(p >= at && strchr("@.[]:", *p) != NULL))
			return false;
	return true;
}

/* Each sets a field.  False with what was expected in `why`. */
typedef bool setter(void *field, const char *value, struct buf *why);

static bool set_address(void *field, const char *value, struct buf *why)
{
	char **setting = field;

	if (value[0] != '\0' && !is_address(value)) {
		buf_adds(why, "expected an address like postmaster@example.org, or nothing");
		return false;
	}
	free(*setting);
	*setting = value[0] != '\0' ? xstrdup(value) : NULL;
	return true;
}

/* Bytes, or with k or M behind the number. */
static bool set_max(void *field, const char *value, struct buf *why)
{
	uint64_t *max = field;
	size_t n = strlen(value);
	char last = n > 0 ? ascii_lower(value[n - 1]) : '\0';
	uint64_t unit = last == 'k' ? 1024 : last == 'm' ? 1024 * 1024 : 1;
	char *digits = xstrndup(value, unit > 1 ? n - 1 : n);
	bool ok = parse_number(digits, (uint64_t)1 << 40, max);

	free(digits);
	if (!ok)
		buf_adds(why, "expected a number of bytes, with k or M after it, or nothing");
	else
		*max *= unit;
	return ok;
}

static bool set_host(void *field, const char *value, struct buf *why)
{
	char **host = field;

	(void)why;
	if (value[0] != '\0') {
		free(*host);
		*host = xstrdup(value);
	}
	return true;
}

#define FIELD(name) offsetof(struct report_settings, name)

static const struct {
	const char *name;
	setter *set;
	size_t field;
	bool is_ours;             /* else the router complains of its line */
} settings[] = {
	{ "postmaster", set_address, FIELD(postmaster), true }, { "report-from", set_address, FIELD(from), true },
	{ "report-max", set_max, FIELD(max), true }, { "hostname", set_host, FIELD(host), false },
};

#define SETTINGS (sizeof settings / sizeof settings[0])

static bool take_line(struct report_settings *s, const struct conf_text *text)
{
	const char *equals = memchr(text->line, '=', text->length);
	size_t length = text->length;
	struct buf trouble = { 0 };
	char *name, *value;
	size_t i = 0;
	bool ok;

	if (equals == NULL || text->line[0] == '#')
		return true;
	if (text->line[length - 1] == '\r')
		length--;
	name = xstrndup(text->line, (size_t)(equals - text->line));
	value = xstrndup(equals + 1, length - (size_t)(equals - text->line) - 1);
	while (i < SETTINGS && strcmp(name, settings[i].name) != 0)
		i++;
	ok = !conf_has_nul(text) || i == SETTINGS || !settings[i].is_ours;
	if (!ok)
		buf_adds(&trouble, "the line holds a NUL byte");
	else if (i < SETTINGS)
		ok = settings[i].set((char *)s + settings[i].field, value, &trouble);
	if (!ok && text->why->len > 0)
		buf_addc(text->why, '\n');
	if (!ok)
		conf_error(text, "%s: %s", name, buf_str(&trouble));
	free(name);
	free(value);
	buf_free(&trouble);
	return ok;
}

bool report_settings_parse(struct report_settings *s, const char *path, const char *text, size_t n, struct buf *why)
{
	struct conf_text lines = conf_begin(path, text, n, why);
	bool ok = true;

	while (conf_next(&lines))
		ok &= take_line(s, &lines);
	return ok;
}

void report_settings_take(struct report_settings *s, const char *path, const char *text, size_t n, const char *host)
{
	struct buf why = { 0 };
	char *line, *rest;

	report_settings_init(s, host);
	if (!report_settings_parse(s, path, text, n, &why)) {
		rest = why.data;
		while ((line = strtok_r(rest, "\n", &rest)) != NULL)
			complain("%s; that line is left out", line);
	}
	buf_free(&why);
}

void report_settings_read(struct report_settings *s, const char *dbases, const char *host)
{
	struct buf text = { .limit = 1024 * 1024 };
	char *path = file_beside(dbases, "router.conf");

	if (!file_read_text(path, &text)) {
		if (errno != ENOENT)
			complain("%s: %s; reports have their usual settings", path, file_error(errno));
		buf_clear(&text);
	}
	report_settings_take(s, path, buf_str(&text), text.len, host);
	free(path);
	buf_free(&text);
}

void report_settings_free(struct report_settings *s)
{
	free(s->host);
	free(s->from);
	free(s->postmaster);
	*s = (struct report_settings){ 0 };
}
