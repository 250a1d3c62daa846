#include "db/route/zenv.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>

#include "lib/alloc.h"
#include "lib/file.h"
#include "lib/text.h"
#include "lib/zenv.h"

/* Bytes that a file name of ours may have; ZMailer hands it to shells without quotes. */
static const char plain_bytes[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_./+@%=:,-";

int zenv_read(struct zenv *zenv, struct buf *why)
{
	const char *file = zenv_path();

	*zenv = (struct zenv){ 0 };
	if (file == NULL)
		return EX_OK;
	if (!file_read_path(file, &zenv->text)) {
		buf_addf(why, "ZCONFIG: %s: %s", file, strerror(errno));
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
static int check_value(const struct zenv *zenv, size_t line, const char *name, const char *value, size_t n,
                       struct buf *why)
{
	for (size_t i = 0; i < n; i++) {
		if (strchr(plain_bytes, value[i]) != NULL && value[i] != '\0')
			continue;
		buf_addf(why, "%s:%zu: the value of %s holds a byte that not all programs of ZMailer read the same way: '",
		         zenv->file, line, name);
		text_add_clean(why, value + i, 1, 4);
		buf_adds(why, "'");
		return EX_CONFIG;
	}
	return EX_OK;
}

int zenv_get(const struct zenv *zenv, const char *name, struct buf *value, bool *is_set, struct buf *why)
{
	const char *p = buf_str(&zenv->text), *end = p + zenv->text.len, *from_environment;
	size_t n = strlen(name), before = value->len;
	int status = EX_OK;

	*is_set = false;
	for (size_t line = 1; p < end && status == EX_OK; line++) {
		const char *newline = memchr(p, '\n', (size_t)(end - p));
		size_t length = (size_t)((newline != NULL ? newline : end) - p);

		if (length > n && memcmp(p, name, n) == 0 && p[n] == '=') {
			if (*is_set) {
				buf_addf(why, "%s:%zu: %s is set a second time; some programs take the first, some the last",
				         zenv->file, line, name);
				return EX_CONFIG;
			}
			status = check_value(zenv, line, name, p + n + 1, length - n - 1, why);
			value->len = before;
			buf_add(value, p + n + 1, length - n - 1);
			*is_set = true;
		}
		p += length + 1;
	}
	from_environment = getenv(name);
	if (!*is_set && from_environment != NULL && from_environment[0] != '\0') {
		buf_adds(value, from_environment);
		*is_set = true;
	}
	return status;
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

int zenv_default_type(const char **type, struct buf *why)
{
	static struct buf value;
	struct zenv zenv;
	bool is_set = false;
	int status = zenv_read(&zenv, why);

	if (status == EX_OK) {
		status = zenv_get(&zenv, "DBTYPE", &value, &is_set, why);
		zenv_free(&zenv);
	}
	*type = is_set ? buf_str(&value) : "btree";
	return status;
}
