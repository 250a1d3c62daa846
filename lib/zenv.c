#include "lib/zenv.h"
#include "lib/parse.h"

#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sysexits.h>
#include <unistd.h>

#include "config.h"
#include "lib/alloc.h"
#include "lib/conf.h"
#include "lib/file.h"
#include "lib/log.h"
#include "lib/text.h"

/* Bytes that a file name of ours may have; ZMailer hands it to shells without quotes. */
static const char plain_bytes[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_./+@%=:,-";

const char *zenv_path(void)
{
	static const char *const usual[] = { ZCONFIG_PATH, "/etc/zmailer.conf" };
	const char *given = getenv("ZCONFIG");

	if (given != NULL && given[0] != '\0')
		return given;
	/* a file that cannot be looked at is for its reader to report */
	for (size_t i = 0; i < sizeof usual / sizeof usual[0]; i++)
		if (access(usual[i], F_OK) == 0 || (errno != ENOENT && errno != ENOTDIR))
			return usual[i];
	return NULL;
}

void zenv_tell(void)
{
	const char *path = zenv_path();

	if (path != NULL)
		complain("settings are those of %s", path);
}

int zenv_read(struct zenv *zenv, struct buf *why)
{
	const char *file = zenv_path();

	*zenv = (struct zenv){ 0 };
	if (file == NULL)
		return EX_OK;
	if (!file_read_text(file, &zenv->text)) {
		buf_addf(why, "ZCONFIG: %s: %s", file, file_error(errno));
		zenv_free(zenv);
		return EX_NOINPUT;
	}
	zenv->file = xstrdup(file);
	return EX_OK;
}

void zenv_free(struct zenv *zenv)
{
	free(zenv->file);
	buf_free(&zenv->text);
	zenv->file = NULL;
}

/* Blanks, quotes and what a shell would expand are read in three ways by three programs. */
static int check_value(const struct conf_text *lines, const char *name, const char *value, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		if (strchr(plain_bytes, value[i]) != NULL && value[i] != '\0')
			continue;
		conf_error(lines, "the value of %s holds a byte that not all programs of ZMailer read the same way: '", name);
		text_add_clean(lines->why, value + i, 1, 4);
		buf_adds(lines->why, "'");
		return EX_CONFIG;
	}
	return EX_OK;
}

static bool is_absolute(const char *value, size_t n)
{
	return n > 0 && value[0] == '/';
}

static bool is_socket(const char *value, size_t n)
{
	size_t prefix = n >= 5 && strncasecmp(value, "UNIX:", 5) == 0 ? 5 : 0;

	return is_absolute(value + prefix, n - prefix);
}

static bool is_level(const char *value, size_t n)
{
	return n == 1 && value[0] >= '0' && value[0] <= '2';
}

/* A path that depends on where a program was started would be another one for each of them. */
static const struct meaning {
	const char *name;
	bool (*fits)(const char *value, size_t n);
	const char *expected;
} meanings[] = {
	{ "POSTOFFICE", is_absolute, "the absolute path of a directory" },
	{ "MAILVAR", is_absolute, "the absolute path of a directory" },
	{ "MAILSHARE", is_absolute, "the absolute path of a directory" },
	{ "MAILBIN", is_absolute, "the absolute path of a directory" },
	{ "INTAKE", is_socket, "the absolute path of a UNIX socket" },
	{ "SCHEDULERDIRHASH", is_level, "0, 1 or 2" },
};

/* What the variable should be if this value of n bytes means nothing; NULL if it may mean something. */
static const char *expected_instead(const char *name, const char *value, size_t n)
{
	const struct meaning *m = PARSE_ROW(meanings, name);

	return m != NULL && !m->fits(value, n) ? m->expected : NULL;
}

/* One that means nothing is an error where it stands. */
static int check_meaning(const struct conf_text *lines, const char *name, const char *value, size_t n)
{
	const char *expected = expected_instead(name, value, n);

	if (expected == NULL)
		return EX_OK;
	conf_error(lines, "%s: expected %s, found ", name, expected);
	conf_add_found(lines->why, value, n);
	return EX_CONFIG;
}

/* The value of a line that sets a variable. */
struct setting {
	const char *value;
	size_t length;
	int status;          /* EX_CONFIG: what is wrong with the line was told */
};

/* The next invisible byte from *at on: a NUL (*code is 0), or a character that looks like a blank or like nothing. */
static bool find_unseen(const struct conf_text *lines, size_t *at, uint32_t *code)
{
	const char *nul = memchr(lines->line + *at, '\0', lines->length - *at);
	size_t end = nul != NULL ? (size_t)(nul - lines->line) : lines->length;

	*code = text_invisible(lines->line, end, at);
	if (*code == 0)
		*at = end;
	return *at < lines->length;
}

static bool sets(const char *line, size_t length, const char *name)
{
	size_t n = strlen(name);

	return length > n && memcmp(line, name, n) == 0 && line[n] == '=';
}

/* With such bytes in the name the line would be skipped, and in the value it would mean something else than is seen. */
static int check_unseen(const struct conf_text *lines, const char *name)
{
	struct buf seen = { 0 };
	uint32_t code, first = 0;
	size_t at = 0, from = 0;
	int status = EX_OK;

	while (find_unseen(lines, &at, &code)) {
		first = from == 0 ? code : first;
		buf_add(&seen, lines->line + from, at - from);
		from = at += code != 0 ? text_utf8_length(lines->line + at, lines->length - at) : 1;
	}
	buf_add(&seen, lines->line + from, lines->length - from);
	if (from > 0 && sets(buf_str(&seen), seen.len, name))
		status = first != 0 ? conf_error(lines,
		                                 "the line of %s holds U+%04X, which looks like a blank or like nothing; "
		                                        "remove it", name, (unsigned)first)
		                    : conf_error(lines, "the line of %s holds a NUL byte; remove it", name);
	buf_free(&seen);
	return status;
}

/* Goes on to the next line that sets `name`, or is meant to.  False at the end. */
static bool next_setting(struct conf_text *lines, const char *name, struct setting *s)
{
	size_t n = strlen(name);

	while (conf_next(lines)) {
		s->status = check_unseen(lines, name);
		if (s->status != EX_OK)
			return true;
		if (sets(lines->line, lines->length, name)) {
			s->value = lines->line + n + 1;
			s->length = lines->length - n - 1;
			return true;
		}
	}
	return false;
}

/* Is there more than blanks or empty quotes? */
static bool has_value(const char *value, size_t n)
{
	while (n > 0 && strchr(" \t\r", *value) != NULL && *value != '\0') {
		value++;
		n--;
	}
	while (n > 0 && strchr(" \t\r", value[n - 1]) != NULL && value[n - 1] != '\0')
		n--;
	return n > 0 && !(n == 2 && (memcmp(value, "\"\"", 2) == 0 || memcmp(value, "''", 2) == 0));
}

int zenv_get(const struct zenv *zenv, const char *name, struct buf *value, bool *is_set, struct buf *why)
{
	struct conf_text lines = conf_begin(zenv->file, buf_str(&zenv->text), zenv->text.len, why);
	const char *from_environment = getenv(name);
	struct setting s = { 0 };

	*is_set = false;
	while (next_setting(&lines, name, &s)) {
		if (s.status != EX_OK)
			return s.status;
		if (!has_value(s.value, s.length))
			continue;
		if (*is_set)
			return conf_error(&lines, "%s is set a second time; some programs take the first, some the last", name);
		if (check_value(&lines, name, s.value, s.length) != EX_OK ||
		    check_meaning(&lines, name, s.value, s.length) != EX_OK)
			return EX_CONFIG;
		buf_add(value, s.value, s.length);
		*is_set = true;
	}
	if (!*is_set && from_environment != NULL && from_environment[0] != '\0') {
		const char *expected = expected_instead(name, from_environment, strlen(from_environment));

		if (expected != NULL) {
			buf_addf(why, "%s of the environment: expected %s, found ", name, expected);
			conf_add_found(why, from_environment, strlen(from_environment));
			return EX_CONFIG;
		}
		buf_adds(value, from_environment);
		*is_set = true;
	}
	return EX_OK;
}

/* The file of zenv(), read once. */
static const struct zenv *own_file(void)
{
	static struct zenv zenv;
	static bool done;
	struct buf why = { 0 };

	/* what it would say is not known, which is not the same as that it says nothing */
	if (!done && zenv_read(&zenv, &why) != EX_OK)
		die(EX_NOINPUT, "%s", buf_str(&why));
	done = true;
	buf_free(&why);
	return &zenv;
}

const char *zenv(const char *name)
{
	static struct known {
		char *name, *value;
	} *known;
	static size_t count, capacity;
	const struct zenv *file = own_file();
	struct buf why = { 0 };
	struct conf_text lines = conf_begin(file->file, buf_str(&file->text), file->text.len, &why);
	struct setting s = { 0 };
	size_t blanks;

	for (size_t i = 0; i < count; i++)
		if (strcmp(known[i].name, name) == 0)
			return known[i].value;
	known = xgrow(known, count, &capacity, sizeof *known);
	known[count] = (struct known){ .name = xstrdup(name) };
	if (next_setting(&lines, name, &s) && s.status != EX_OK)
		die(EX_CONFIG, "%s", buf_str(&why));
	if (s.value != NULL && has_value(s.value, s.length)) {
		for (blanks = 0; s.value[blanks] == ' ' || s.value[blanks] == '\t'; blanks++)
			continue;
		if (check_meaning(&lines, name, s.value + blanks, s.length - blanks) != EX_OK)
			die(EX_CONFIG, "%s", buf_str(&why));
		known[count].value = xstrndup(s.value + blanks, s.length - blanks);
	}
	return known[count++].value;
}

/* The name behind '$' at *p, with or without braces; *p ends behind it.  NULL if it is none that newdb knows. */
static const char *variable(const char **p)
{
	static const char *const names[] = { "MAILVAR", "MAILBIN", "MAILSHARE" };
	const char *start = *p + 1;
	bool braces = *start == '{';

	if (braces)
		start++;
	for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
		size_t n = strlen(names[i]);

		if (strncmp(start, names[i], n) != 0)
			continue;
		if (braces ? start[n] != '}' : strchr("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_",
		                                      start[n]) != NULL && start[n] != '\0')
			continue;
		*p = start + n + braces;
		return names[i];
	}
	return NULL;
}

int zenv_expand(const struct zenv *zenv, const char *text, struct buf *out, struct buf *why)
{
	const char *p = text;

	while (*p != '\0') {
		const char *name;
		bool is_set;
		int status;

		if (*p != '$') {
			if (strchr(plain_bytes, *p) == NULL) {
				buf_addf(why, "the byte at column %zu of \"%s\" means something to a shell, which ZMailer gives this name to",
				         (size_t)(p - text) + 1, text);
				return EX_CONFIG;
			}
			buf_addc(out, *p++);
			continue;
		}
		name = variable(&p);
		if (name == NULL) {
			buf_addf(why, "\"%s\": only $MAILVAR, $MAILBIN and $MAILSHARE can be used", text);
			return EX_CONFIG;
		}
		status = zenv_get(zenv, name, out, &is_set, why);
		if (status != EX_OK)
			return status;
		if (!is_set) {
			buf_addf(why, "\"%s\": %s is not set; let ZCONFIG name your zmailer.conf", text, name);
			return EX_CONFIG;
		}
	}
	return EX_OK;
}

unsigned zenv_levels(void)
{
	const char *hash = zenv("SCHEDULERDIRHASH");

	return hash != NULL ? (unsigned)(hash[0] - '0') : 0;
}

bool zenv_has_router(const struct zenv *zenv)
{
	static const struct { const char *variable, *file; } signs[] = { { "MAILSHARE", "router.cf" },
	                                                                 { "MAILBIN", "router" } };
	bool found = false;

	for (size_t i = 0; i < sizeof signs / sizeof signs[0]; i++) {
		struct buf path = { 0 }, why = { 0 };
		bool is_set;

		if (zenv_get(zenv, signs[i].variable, &path, &is_set, &why) == EX_OK && is_set) {
			buf_addf(&path, "/%s", signs[i].file);
			found = found || access(buf_str(&path), F_OK) == 0;
		}
		buf_free(&path);
		buf_free(&why);
	}
	return found;
}

bool zenv_router_is_here(void)
{
	struct zenv zenv;
	struct buf why = { 0 };
	bool found = zenv_read(&zenv, &why) == EX_OK;

	if (found) {
		found = zenv_has_router(&zenv);
		zenv_free(&zenv);
	}
	buf_free(&why);
	return found;
}

const char *zenv_default_type(void)
{
	static struct buf value;
	struct buf why = { 0 };
	struct zenv zenv;
	bool is_set = false;
	int status = zenv_read(&zenv, &why);

	if (status == EX_OK) {
		status = zenv_get(&zenv, "DBTYPE", &value, &is_set, &why);
		zenv_free(&zenv);
	}
	if (status != EX_OK)
		die(status, "%s", buf_str(&why));
	return is_set ? buf_str(&value) : "btree";
}

char *zenv_below(const char *variable, const char *name)
{
	const char *directory = zenv(variable);

	return directory != NULL ? xasprintf("%s/%s", directory, name) : NULL;
}
