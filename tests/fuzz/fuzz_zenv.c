/*
 * Any bytes as zmailer.conf: a value that is taken stands there behind its name and means nothing to a shell; all else is
 * refused in one line that names file and line.
 *
 * Input: the name of a variable, LF, a file name with variables as in dbases.conf, LF, the file.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>

#include "lib/alloc.h"
#include "lib/text.h"
#include "lib/zenv.h"
#include "tests/fuzz/lines.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_plain(const struct buf *value)
{
	for (size_t i = 0; i < value->len; i++)
		if ((unsigned char)value->data[i] <= ' ' || (unsigned char)value->data[i] > 126 ||
		    strchr("$`\"'\\;&|<>()*?[]{}~!#", value->data[i]) != NULL)
			abort();
}

static void check_why(const struct buf *why)
{
	if (why->len == 0 || memchr(why->data, '\n', why->len) != NULL || memchr(why->data, '\0', why->len) != NULL)
		abort();
}

/* There is a line NAME=VALUE. */
static void check_stands_there(const struct zenv *zenv, const char *name, const struct buf *value)
{
	char *line = xasprintf("\n%s=%s\n", name, value->data), *text = xasprintf("\n%s\n", buf_str(&zenv->text));

	/* bytes behind a NUL are not looked at here */
	if (memchr(zenv->text.data, '\0', zenv->text.len) == NULL && strstr(text, line) == NULL)
		abort();
	free(line);
	free(text);
}

static void check_get(const struct zenv *zenv, const char *name)
{
	struct buf value = { 0 }, why = { 0 };
	bool is_set;

	if (zenv_get(zenv, name, &value, &is_set, &why) != EX_OK) {
		check_why(&why);
		if (strncmp(why.data, "FILE:", 5) != 0)
			abort();
	} else if (is_set) {
		if (value.len == 0)
			abort();
		check_plain(&value);
		check_stands_there(zenv, name, &value);
	} else if (value.len != 0) {
		abort();
	}
	buf_free(&value);
	buf_free(&why);
}

static void check_expand(const struct zenv *zenv, const char *text)
{
	struct buf out = { 0 }, why = { 0 };

	if (zenv_expand(zenv, text, &out, &why) != EX_OK)
		check_why(&why);
	else
		check_plain(&out);
	buf_free(&out);
	buf_free(&why);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char *name = take_line(&data, &size), *text = take_line(&data, &size);
	struct zenv zenv = { .file = xstrdup("FILE") };

	clearenv();
	buf_add(&zenv.text, data, size);
	/* as file_read_text() does */
	if (size > 0)
		zenv.text.len = text_unmark(zenv.text.data, size);
	check_get(&zenv, name);
	check_get(&zenv, "MAILVAR");
	check_expand(&zenv, text);
	zenv_free(&zenv);
	free(name);
	free(text);
	return 0;
}
