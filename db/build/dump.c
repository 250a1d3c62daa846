#include "db/build/dump.h"

#include <errno.h>
#include <string.h>
#include <sysexits.h>

#include "db/store/kept.h"
#include "lib/text.h"

#define KEY_CAP 100
#define PATH_CAP 4096

/* What makedb -A, and newdb -A before 0.2, join the values of repeated keys with; one value becomes several lines again. */
#define JOINT ",\n\t"
#define JOINT_LENGTH 3

struct survey {
	bool plain;            /* the syntaxes that hold all records so far */
	bool alias;
	bool alias_upper;
	bool lines;            /* of "dbupdate apply", for want of all these */
	bool joined;           /* -A is needed */
	struct buf why;        /* the first record that none of them holds, or none together with the others */
};

static bool is_text(const struct survey *s)
{
	return s->plain || s->alias || s->alias_upper;
}

/* ---- can it be written? ---------------------------------------------------------------- */

static bool plain_key(const char *key, size_t n)
{
	bool trap = n > 2 && key[n - 1] == ':' && (memchr(key, '@', n) != NULL || memchr(key, '.', n) != NULL);

	return n > 0 && key[0] != '#' && key[n - 1] != '\r' && memchr(key, '\0', n) == NULL && memchr(key, ' ', n) == NULL &&
	       memchr(key, '\t', n) == NULL && memchr(key, '\n', n) == NULL && !trap;
}

/* The key as a whole is taken for a key again: quotes closed, blanks and colons only inside or behind a backslash. */
static bool alias_key(const char *key, size_t n)
{
	bool quoted = false;

	if (n == 0 || key[0] == '#' || key[0] == ' ' || key[0] == '\t' || memchr(key, '\n', n) != NULL ||
	    memchr(key, '\0', n) != NULL)
		return false;
	for (size_t i = 0; i < n; i++) {
		if (key[i] == '\\') {
			if (++i == n)
				return false;
		} else if (key[i] == '"') {
			quoted = !quoted;
		} else if (!quoted && (key[i] == ' ' || key[i] == '\t' || key[i] == ':')) {
			return false;
		}
	}
	return !quoted;
}

static bool has_letters(const char *key, size_t n, char first, char last)
{
	for (size_t i = 0; i < n; i++)
		if (key[i] >= first && key[i] <= last)
			return true;
	return false;
}

/* The length of the part of a joined value that begins here. */
static size_t part_length(const char *value, size_t n)
{
	const char *joint = n >= JOINT_LENGTH ? memmem(value, n, JOINT, JOINT_LENGTH) : NULL;

	return joint != NULL ? (size_t)(joint - value) : n;
}

static bool any_value(const char *value, size_t n, bool *joined)
{
	for (;;) {
		size_t part = part_length(value, n);

		/* a line is neither cut at its start nor taken for one with CR */
		if (memchr(value, '\n', part) != NULL ||
		    (part > 0 && (value[0] == ' ' || value[0] == '\t' || value[part - 1] == '\r')))
			return false;
		if (part == n)
			return true;
		*joined = true;
		value += part + JOINT_LENGTH;
		n -= part + JOINT_LENGTH;
	}
}

static bool survey_record(void *context, const char *key, size_t key_length, const char *value, size_t value_length)
{
	struct survey *s = context;
	bool holds = any_value(value, value_length, &s->joined), alias = holds && alias_key(key, key_length);

	s->plain = s->plain && holds && plain_key(key, key_length);
	s->alias = s->alias && alias && !has_letters(key, key_length, 'A', 'Z');
	s->alias_upper = s->alias_upper && alias && !has_letters(key, key_length, 'a', 'z');
	/* what "dbupdate apply" takes: keys of programs, as those of a cache of probes, are no words of a text */
	s->lines = s->lines && key_length > 0 && !text_has_controls(key, key_length) &&
	           memchr(value, '\n', value_length) == NULL &&
	       (value_length == 0 || value[value_length - 1] != '\r');
	if (is_text(s) || s->lines)
		return true;
	buf_adds(&s->why, "no text can hold the record \"");
	text_add_clean(&s->why, key, key_length, KEY_CAP);
	buf_adds(&s->why, "\", or not together with those before");
	return false;
}

/* ---- writing ------------------------------------------------------------------------------ */

struct writer {
	FILE *out;
	const char *between;
};

static bool write_record(void *context, const char *key, size_t key_length, const char *value, size_t value_length)
{
	const struct writer *w = context;

	for (;;) {
		size_t part = part_length(value, value_length);

		fwrite(key, 1, key_length, w->out);
		if (part > 0 || w->between[0] == ':')
			fputs(part > 0 ? w->between : ":", w->out);
		fwrite(value, 1, part, w->out);
		putc('\n', w->out);
		if (part == value_length)
			return !ferror(w->out);
		value += part + JOINT_LENGTH;
		value_length -= part + JOINT_LENGTH;
	}
}

static bool write_line(void *context, const char *key, size_t key_length, const char *value, size_t value_length)
{
	const struct writer *w = context;

	fprintf(w->out, "+%.*s\t", (int)key_length, key);
	fwrite(value, 1, value_length, w->out);
	putc('\n', w->out);
	return !ferror(w->out);
}

/* In words: what makes such a map of this text, or of the source that it is a copy of. */
static void write_head(const struct map *map, bool is_live, const struct survey *s, FILE *out)
{
	struct buf name = { 0 }, maker = { 0 };

	text_add_clean_string(&name, map->path, PATH_CAP);
	if (kept_add_command(map->path, &maker))
		fprintf(out, "# %s, a copy; \"%s\" makes it again\n", buf_str(&name), buf_str(&maker));
	else if (is_live && !s->joined)
		fprintf(out, "# %s, a live map; \"dbupdate ... replace%s\" makes it again\n", buf_str(&name),
		        s->plain ? "" : " -a");
	else
		fprintf(out, "# %s; newdb%s%s builds it again\n", buf_str(&name), s->plain ? "" : s->alias ? " -a" : " -au",
		        s->joined ? " -A" : "");
	buf_free(&name);
	buf_free(&maker);
}

static int write_all(struct map *map, bool is_live, const struct survey *s, FILE *out, struct buf *why)
{
	struct writer w = { out, s->plain ? " " : ": " };

	if (is_text(s))
		write_head(map, is_live, s, out);
	if (map_walk(map, is_text(s) ? write_record : write_line, &w) != MAP_FOUND) {
		buf_adds(why, map_error(map));
		return EX_TEMPFAIL;
	}
	if (fflush(out) == 0 && !ferror(out))
		return EX_OK;
	buf_addf(why, "cannot write: %s", strerror(errno));
	return EX_IOERR;
}

int dump_map(struct map *map, bool is_live, FILE *out, struct buf *why)
{
	struct survey s = { .plain = true, .alias = true, .alias_upper = true, .lines = true };
	int status;

	if (map_walk(map, survey_record, &s) != MAP_FOUND) {
		buf_adds(why, map_error(map));
		status = EX_TEMPFAIL;
	} else if (s.why.len > 0) {
		buf_addf(why, "%s: %s", map->path, buf_str(&s.why));
		status = EX_DATAERR;
	} else {
		status = write_all(map, is_live, &s, out, why);
	}
	buf_free(&s.why);
	return status;
}
