#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>

#include "db/store/env.h"
#include "lib/alloc.h"
#include "lib/conf.h"
#include "lib/file.h"
#include "lib/parse.h"
#include "lib/text.h"

/* What is longer than this is cut in two by ZMailer (maps.md section 8). */
#define LONGEST_LINE 248

struct draft {
	struct env_config *config;
	const struct conf_text *text;
	unsigned seen;             /* bits of settings[] */
	bool cdb;                  /* envflags has this word */
};

static int parse_flags(struct draft *d, const char *value)
{
	while (*(value += strspn(value, " \t,")) != '\0') {
		const size_t n = strcspn(value, " \t,");
		char *flag = xstrndup(value, n);
		bool known = true;

		if (ascii_equal(flag, "CDB"))
			d->cdb = true;
		else if (ascii_equal(flag, "CREATE"))
			d->config->create = true;
		else if (!ascii_equal(flag, "RO"))    /* a word to the builder of maps, which leaves them alone in any case */
			known = false;
		free(flag);
		if (!known)
			return conf_expected(d->text, "CDB, CREATE or RO in envflags", value, n);
		value += n;
	}
	return EX_OK;
}

static int parse_envmode(struct draft *d, const char *value)
{
	if (!parse_mode(value, &d->config->mode))
		return conf_expected(d->text, "an octal mode after envmode", value, strlen(value));
	if (d->config->mode == 0 || d->config->mode > 0777)
		return conf_expected(d->text, "envmode between 1 and 777", value, strlen(value));
	return EX_OK;
}

static int parse_path(struct draft *d, char **path, const char *value)
{
	if (value[0] != '/')
		return conf_expected(d->text, "an absolute path", value, strlen(value));
	*path = xstrdup(value);
	return EX_OK;
}

static int parse_home(struct draft *d, const char *value)
{
	return parse_path(d, &d->config->home, value);
}

static int parse_tmpdir(struct draft *d, const char *value)
{
	return parse_path(d, &d->config->tmpdir, value);
}

static const struct {
	const char *name;
	unsigned bit;              /* a setting may stand there once, by either name */
	int (*parse)(struct draft *d, const char *value);
} settings[] = {
	{ "envhome", 1, parse_home }, { "envmode", 2, parse_envmode }, { "envflags", 4, parse_flags },
	{ "tmpdir", 8, parse_tmpdir }, { "tempdir", 8, parse_tmpdir },
};

static int parse_setting(struct draft *d, const char *word, const char *value)
{
	size_t i = 0;

	while (i < sizeof settings / sizeof settings[0] && !ascii_equal(word, settings[i].name))
		i++;
	if (i == sizeof settings / sizeof settings[0])
		return conf_expected(d->text, "envhome, envmode, envflags or tmpdir", word, strlen(word));
	if ((d->seen & settings[i].bit) != 0)
		return conf_error(d->text, "%s: given twice", word);
	d->seen |= settings[i].bit;
	return settings[i].parse(d, value);
}

static bool is_gap(char c)
{
	return c == ' ' || c == '\t' || c == ':' || c == '=';
}

static int parse_line(struct draft *d)
{
	const struct conf_text *text = d->text;
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
	status = parse_setting(d, word, value);
	free(word);
	free(value);
	return status;
}

int env_config_parse(struct env_config *config, const char *path, const char *text, size_t n, struct buf *why)
{
	struct conf_text lines = conf_begin(path, text, n, why);
	struct draft d = { .config = config, .text = &lines };
	int status = EX_OK;

	*config = (struct env_config){ .file = xstrdup(path) };
	while (status == EX_OK && conf_next(&lines))
		status = parse_line(&d);
	if (status == EX_OK && config->home == NULL) {
		buf_addf(why, "%s: no envhome: ZMailer would use its maps without any environment", path);
		status = EX_CONFIG;
	} else if (status == EX_OK && !d.cdb) {
		buf_addf(why, "%s: envflags does not hold CDB: maps cannot be opened in such an environment", path);
		status = EX_CONFIG;
	}
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
