#include "channel/spool/fields.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "lib/parse.h"
#include "lib/text.h"

/* The end of the quad field at `s`: its first unquoted blank or TAB, or the NUL.  NULL if a quote has no end. */
static const char *field_end(const char *s)
{
	bool quoted = false;

	for (; *s != '\0'; s++) {
		if (*s == '\\') {
			if (s[1] == '\0')
				return quoted ? NULL : s + 1;
			s++;
		} else if (*s == '"') {
			quoted = !quoted;
		} else if (!quoted && ascii_is_blank(*s)) {
			return s;
		}
	}
	return quoted ? NULL : s;
}

/* Is one of the parts between slashes ".."? */
static bool goes_up(const char *path)
{
	for (;;) {
		size_t n = strcspn(path, "/");

		if (n == 2 && memcmp(path, "..", 2) == 0)
			return true;
		if (path[n] == '\0')
			return false;
		path += n + 1;
	}
}

const char *quad_unfit(const char *field)
{
	if (field[0] == '-' && field[1] != '\0')
		return "it begins with \"-\" and would be an option";
	if (strcmp(field, ".") == 0 || goes_up(field) || (strchr(field, '/') != NULL && strncasecmp(field, "UNIX:/", 6) != 0))
		return "it would name a file of another directory";
	return NULL;
}

/* Takes one field off *text; NULL if there is none or its quote has no end. */
static const char *take_field(char **text)
{
	char *start = *text;
	const char *end;
	size_t n;

	while (ascii_is_blank(*start))
		start++;
	end = field_end(start);
	if (end == NULL || end == start)
		return NULL;
	n = (size_t)(end - start);
	*text = start + n + (start[n] != '\0');
	start[n] = '\0';
	return start;
}

bool quad_parse(char *text, struct quad *quad)
{
	quad->channel = take_field(&text);
	quad->host = quad->channel ? take_field(&text) : NULL;
	quad->user = quad->host ? take_field(&text) : NULL;
	while (ascii_is_blank(*text))
		text++;
	quad->privilege = text;
	return quad->user != NULL;
}

static unsigned notify_word(const char *word, size_t n)
{
	static const struct { const char *name; unsigned bit; } words[] = {
		{ "NEVER", NOTIFY_NEVER }, { "SUCCESS", NOTIFY_SUCCESS }, { "FAILURE", NOTIFY_FAILURE },
		{ "DELAY", NOTIFY_DELAY }, { "TRACE", NOTIFY_TRACE },
	};

	for (size_t i = 0; i < sizeof words / sizeof words[0]; i++)
		if (strlen(words[i].name) == n && strncasecmp(word, words[i].name, n) == 0)
			return words[i].bit;
	return 0;
}

/* Reading stops at the first unknown word, as ZMailer's does. */
static unsigned notify_list(const char *list)
{
	unsigned bits = 0;

	while (*list != '\0') {
		size_t n = strcspn(list, ",");
		unsigned bit = notify_word(list, n);

		if (bit == 0)
			break;
		bits |= bit;
		list += n + (list[n] == ',');
	}
	return bits;
}

void dsn_parse(char *text, struct control_recipient *recipient)
{
	char *rest = text, *word;

	while ((word = strtok_r(rest, " \t", &rest)) != NULL) {
		if (strncasecmp(word, "NOTIFY=", 7) == 0) {
			recipient->notify = notify_list(word + 7);
			recipient->notify_given = recipient->notify != 0;
		} else if (strncasecmp(word, "ORCPT=", 6) == 0) {
			recipient->orcpt = word + 6;
		} else if (strcasecmp(word, "ORCPTFROM=INRCPT") == 0) {
			recipient->orcpt_is_ours = true;
		} else if (strncasecmp(word, "INRCPT=", 7) == 0) {
			recipient->given = word + 7;
		} else if (strncasecmp(word, "BY=", 3) == 0) {
			recipient->by = word + 3;
		} else if (strncasecmp(word, "EZMLM=", 6) == 0) {
			recipient->ezmlm = word + 6;
		}
	}
	if (recipient->given == NULL)
		recipient->given = recipient->orcpt;
}

/* Takes what stands before `stop` off *text and ends it there; NULL if there is no `stop`. */
static char *take_until(char **text, char stop)
{
	char *start = *text, *end = strchr(start, stop);

	if (end == NULL)
		return NULL;
	*end = '\0';
	*text = end + 1;
	return start;
}

bool diagnostic_parse(char *line, struct control_diagnostic *d)
{
	char *rest = line + 2, *recipient, *header, *dsn, *empty, *time, *notary;
	uint64_t offset, seconds;

	if (line[0] != 'd' || (line[1] != TAG_FREE && line[1] != TAG_DONE))
		return false;
	if ((recipient = take_until(&rest, ':')) == NULL || (header = take_until(&rest, ':')) == NULL ||
	    (dsn = take_until(&rest, ':')) == NULL || (empty = take_until(&rest, ':')) == NULL ||
	    (time = take_until(&rest, '\t')) == NULL || (notary = take_until(&rest, '\t')) == NULL)
		return false;
	if (!parse_number(recipient, INT64_MAX, &offset) || !parse_number(time, INT64_MAX, &seconds))
		return false;
	d->reported = line[1] == TAG_DONE;
	d->recipient = (off_t)offset;
	d->time = (int64_t)seconds;
	d->notary = notary;
	d->text = rest;
	return true;
}

static void add_field(struct buf *out, const char *field)
{
	const char *end = field_end(field);
	size_t n = strlen(field), backslashes = 0;

	while (backslashes < n && field[n - 1 - backslashes] == '\\')
		backslashes++;
	if (n == 0) {
		buf_addc(out, '-');
	} else if (end != NULL && *end == '\0' && backslashes % 2 == 0) {
		buf_adds(out, field);
	} else {
		buf_addc(out, '"');
		for (; *field != '\0'; field++) {
			if (*field == '"' || *field == '\\')
				buf_addc(out, '\\');
			buf_addc(out, *field);
		}
		buf_addc(out, '"');
	}
}

void quad_add(struct buf *out, const char *channel, const char *host, const char *user, long privilege)
{
	add_field(out, channel);
	buf_addc(out, ' ');
	add_field(out, host);
	buf_addc(out, ' ');
	add_field(out, user);
	buf_addf(out, " %ld", privilege);
}
