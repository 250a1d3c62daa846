#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>

#include "db/store/env.h"
#include "lib/alloc.h"
#include "lib/conf.h"
#include "lib/file.h"
#include "lib/text.h"

/* What is longer than this is cut in two by ZMailer (maps.md section 8). */
#define LONGEST_LINE 248

static bool is_separator(char c)
{
	return c == ' ' || c == '\t' || c == ',';
}

static int parse_flags(struct env_config *config, const struct conf_text *text, const char *value, bool *cdb)
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
			return conf_expected(text, "CDB, CREATE or RO in envflags", value, n);
		value += n;
	}
	return EX_OK;
}

static int parse_mode(struct env_config *config, const struct conf_text *text, const char *value)
{
	mode_t mode = 0;
	size_t n = strspn(value, "01234567");

	if (n == 0 || n > 5 || value[n] != '\0')
		return conf_expected(text, "an octal mode after envmode", value, strlen(value));
	for (size_t i = 0; i < n; i++)
		mode = mode * 8 + (mode_t)(value[i] - '0');
	if (mode == 0 || mode > 0777)
		return conf_expected(text, "envmode between 1 and 777", value, strlen(value));
	config->mode = mode;
	return EX_OK;
}

static int parse_path(char **path, const struct conf_text *text, const char *value)
{
	if (value[0] != '/')
		return conf_expected(text, "an absolute path", value, strlen(value));
	*path = xstrdup(value);
	return EX_OK;
}

struct seen {
	bool home, tmpdir, mode, flags, cdb;
};

static int parse_setting(struct env_config *config, const struct conf_text *text, const char *word, const char *value,
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
		return conf_expected(text, "envhome, envmode, envflags or tmpdir", word, strlen(word));
	if (*once)
		return conf_error(text, "%s: given twice", word);
	*once = true;
	if (once == &seen->home)
		return parse_path(&config->home, text, value);
	if (once == &seen->tmpdir)
		return parse_path(&config->tmpdir, text, value);
	if (once == &seen->mode)
		return parse_mode(config, text, value);
	return parse_flags(config, text, value, &seen->cdb);
}

static bool is_gap(char c)
{
	return c == ' ' || c == '\t' || c == ':' || c == '=';
}

static int parse_line(struct env_config *config, const struct conf_text *text, struct seen *seen)
{
	const char *line = text->line;
	size_t length = text->length, n = 0, start;
	char *word, *value;
	int status;

	if (length == 0 || line[0] == '#')
		return EX_OK;
	if (conf_has_nul(text))
		return conf_error(text, "NUL byte");
	if (length > LONGEST_LINE)
		return conf_expected(text, "a line of at most 248 bytes (ZMailer would cut it)", line, length);
	if (strchr(" \t\r\f\v", line[length - 1]) != NULL)
		return conf_expected(text, "no blanks at the end of the line (they would be part of the value)", line, length);
	for (size_t i = 0; i < length; i++)
		if (((unsigned char)line[i] < ' ' && line[i] != '\t') || line[i] == 127)
			return conf_expected(text, "no control bytes", line, length);
	if (!((line[0] >= 'a' && line[0] <= 'z') || (line[0] >= 'A' && line[0] <= 'Z')))
		return conf_expected(text, "a setting in column 1 (ZMailer would skip this line)", line, length);
	while (n < length && !is_gap(line[n]))
		n++;
	for (start = n; start < length && is_gap(line[start]); start++)
		;
	if (start == length)
		return conf_expected(text, "a value after the name", line, length);
	word = xstrndup(line, n);
	value = xstrndup(line + start, length - start);
	status = parse_setting(config, text, word, value, seen);
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
	struct conf_text lines = conf_begin(path, text, n, why);
	struct seen seen = { false, false, false, false, false };
	int status = EX_OK;

	*config = (struct env_config){ .file = xstrdup(path) };
	while (status == EX_OK && conf_next(&lines))
		status = parse_line(config, &lines, &seen);
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
