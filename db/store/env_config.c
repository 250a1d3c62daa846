#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>

#include "db/store/env.h"
#include "lib/alloc.h"
#include "lib/file.h"
#include "lib/text.h"

/* What is longer than this is cut in two by ZMailer (maps.md section 8). */
#define LONGEST_LINE 248

struct place {
	const char *file;
	size_t line;
	struct buf *why;
};

static int complain_at(const struct place *place, const char *what, const char *word, size_t n)
{
	struct buf text = { 0 };

	text_add_clean(&text, word, n, 100);
	buf_addf(place->why, "%s:%zu: %s", place->file, place->line, what);
	if (n > 0)
		buf_addf(place->why, " (\"%s\")", buf_str(&text));
	buf_free(&text);
	return EX_CONFIG;
}

static bool is_separator(char c)
{
	return c == ' ' || c == '\t' || c == ',';
}

static int parse_flags(struct env_config *config, const struct place *place, const char *value, bool *cdb)
{
	while (*value != '\0') {
		size_t n = 0;
		char *flag;
		bool known = true;

		while (is_separator(*value))
			value++;
		while (value[n] != '\0' && !is_separator(value[n]))
			n++;
		if (n == 0)
			break;
		flag = xstrndup(value, n);
		if (ascii_equal(flag, "CDB"))
			*cdb = true;
		else if (ascii_equal(flag, "CREATE"))
			config->create = true;
		else if (!ascii_equal(flag, "RO"))    /* a word to the builder of maps, which leaves them alone in any case */
			known = false;
		free(flag);
		if (!known)
			return complain_at(place, "unknown flag in envflags, expected CDB, CREATE or RO", value, n);
		value += n;
	}
	return EX_OK;
}

static int parse_mode(struct env_config *config, const struct place *place, const char *value)
{
	mode_t mode = 0;
	size_t n = strspn(value, "01234567");

	if (n == 0 || n > 5 || value[n] != '\0')
		return complain_at(place, "expected an octal mode after envmode", value, strlen(value));
	for (size_t i = 0; i < n; i++)
		mode = mode * 8 + (mode_t)(value[i] - '0');
	if (mode == 0 || mode > 0777)
		return complain_at(place, "envmode must lie between 1 and 777", value, strlen(value));
	config->mode = mode;
	return EX_OK;
}

static int parse_path(char **path, const struct place *place, const char *value)
{
	if (value[0] != '/')
		return complain_at(place, "expected an absolute path", value, strlen(value));
	*path = xstrdup(value);
	return EX_OK;
}

struct seen {
	bool home, tmpdir, mode, flags, cdb;
};

static int parse_setting(struct env_config *config, const struct place *place, const char *word, const char *value,
                         struct seen *seen)
{
	bool *once;

	if (ascii_equal(word, "envhome"))
		once = &seen->home;
	else if (ascii_equal(word, "tmpdir") || ascii_equal(word, "tempdir"))
		once = &seen->tmpdir;
	else if (ascii_equal(word, "envmode"))
		once = &seen->mode;
	else if (ascii_equal(word, "envflags"))
		once = &seen->flags;
	else
		return complain_at(place, "unknown setting, expected envhome, envmode, envflags or tmpdir", word,
		                   strlen(word));
	if (*once)
		return complain_at(place, "given twice", word, strlen(word));
	*once = true;
	if (once == &seen->home)
		return parse_path(&config->home, place, value);
	if (once == &seen->tmpdir)
		return parse_path(&config->tmpdir, place, value);
	if (once == &seen->mode)
		return parse_mode(config, place, value);
	return parse_flags(config, place, value, &seen->cdb);
}

static bool is_gap(char c)
{
	return c == ' ' || c == '\t' || c == ':' || c == '=';
}

static bool has_control_bytes(const char *line, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (((unsigned char)line[i] < ' ' && line[i] != '\t') || line[i] == 127)
			return true;
	return false;
}

static int parse_line(struct env_config *config, const struct place *place, const char *line, size_t length,
                      struct seen *seen)
{
	size_t n = 0, start;
	char *word, *value;
	int status;

	if (length == 0 || line[0] == '#')
		return EX_OK;
	if (memchr(line, '\0', length) != NULL)
		return complain_at(place, "NUL byte", NULL, 0);
	if (length > LONGEST_LINE)
		return complain_at(place, "line longer than 248 bytes, ZMailer would cut it", line, length);
	if (strchr(" \t\r\f\v", line[length - 1]) != NULL)
		return complain_at(place, "blanks at the end of the line would be part of the value", line, length);
	if (has_control_bytes(line, length))
		return complain_at(place, "control bytes in the line", line, length);
	if (!((line[0] >= 'a' && line[0] <= 'z') || (line[0] >= 'A' && line[0] <= 'Z')))
		return complain_at(place, "expected a setting in column 1, ZMailer would skip this line", line, length);
	while (n < length && !is_gap(line[n]))
		n++;
	for (start = n; start < length && is_gap(line[start]); start++)
		;
	if (start == length)
		return complain_at(place, "expected a value after the name", line, length);
	word = xstrndup(line, n);
	value = xstrndup(line + start, length - start);
	status = parse_setting(config, place, word, value, seen);
	free(word);
	free(value);
	return status;
}

static int check_whole(const struct env_config *config, const struct seen *seen, const char *path, struct buf *why)
{
	if (config->home == NULL)
		buf_addf(why, "%s: no envhome: ZMailer would use its maps without any environment", path);
	else if (!seen->cdb)
		buf_addf(why, "%s: envflags does not hold CDB: maps cannot be opened in such an environment", path);
	else
		return EX_OK;
	return EX_CONFIG;
}

int env_config_parse(struct env_config *config, const char *path, const char *text, size_t n, struct buf *why)
{
	struct place place = { path, 0, why };
	struct seen seen = { false, false, false, false, false };
	const char *p = text, *end = text + n;
	int status = EX_OK;

	*config = (struct env_config){ .file = xstrdup(path) };
	while (status == EX_OK && p < end) {
		const char *newline = memchr(p, '\n', (size_t)(end - p));
		size_t length = (size_t)((newline != NULL ? newline : end) - p);

		place.line++;
		status = parse_line(config, &place, p, length, &seen);
		p += length + 1;
	}
	if (status == EX_OK)
		status = check_whole(config, &seen, path, why);
	if (status != EX_OK)
		env_config_free(config);
	return status;
}

int env_config_read(struct env_config *config, const char *path, struct buf *why)
{
	struct buf text = { 0 };
	int status;

	*config = (struct env_config){ 0 };
	if (!file_read_path(path, &text)) {
		buf_addf(why, "%s: %s", path, file_error(errno));
		buf_free(&text);
		return EX_NOINPUT;
	}
	status = env_config_parse(config, path, buf_str(&text), text.len, why);
	buf_free(&text);
	return status;
}

void env_config_free(struct env_config *config)
{
	free(config->file);
	free(config->home);
	free(config->tmpdir);
	*config = (struct env_config){ 0 };
}
