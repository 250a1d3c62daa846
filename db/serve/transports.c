#include "db/serve/transports.h"

#include <errno.h>
#include <fnmatch.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sysexits.h>

#include "lib/alloc.h"
#include "lib/clock.h"
#include "lib/file.h"
#include "lib/text.h"

/* Between looks at the file, in milliseconds. */
#define LOOK_PAUSE 1000

struct transport_line {
	const char *pattern, *transport;
};

struct transports {
	char *path;
	struct stat seen;
	int64_t look_again;
	struct buf text;               /* what the lines point into */
	struct transport_line *lines;
	size_t count, capacity;
	struct buf trouble;            /* the file cannot be used as it is now */
};

static bool fail(struct buf *why, const char *path, size_t number, const char *what)
{
	text_add_clean_string(why, path, 300);
	if (number > 0)
		buf_addf(why, ":%zu", number);
	buf_addf(why, ": %s", what);
	return false;
}

/* Cuts up the text of the file in place. */
static bool parse(struct transports *t, struct buf *why)
{
	char *line = t->text.len > 0 ? t->text.data : NULL, *next;

	if (line != NULL)
		line += text_mark(line, t->text.len);
	for (size_t number = 1; line != NULL && *line != '\0'; number++, line = next) {
		size_t n = strcspn(line, "\n"), first, at;

		next = line[n] == '\n' ? line + n + 1 : NULL;
		line[n] = '\0';
		if (n > 0 && line[n - 1] == '\r')
			line[n - 1] = '\0';
		line += strspn(line, " \t");
		if (*line == '\0' || *line == '#')
			continue;
		first = strcspn(line, " \t");
		if (line[first] == '\0' || memchr(line, '/', first) == NULL)
			return fail(why, t->path, number, "expected CHANNEL/HOST and a transport");
		at = 0;
		if (text_invisible(line, strlen(line), &at) != 0) {
			fail(why, t->path, number, "found ");
			text_add_invisible(why, line, strlen(line));
			return false;
		}
		line[first] = '\0';
		t->lines = xgrow(t->lines, t->count, &t->capacity, sizeof *t->lines);
		t->lines[t->count].pattern = line;
		line += first + 1;
		line += strspn(line, " \t");
		for (size_t end = strlen(line); end > 0 && strchr(" \t", line[end - 1]) != NULL; end--)
			line[end - 1] = '\0';
		t->lines[t->count++].transport = line;
	}
	/* its writer may have just begun, and "not found" would send mail elsewhere */
	return t->count > 0 || fail(why, t->path, 0, "no line of CHANNEL/HOST and a transport is in it");
}

/* EX_OK, or a code with a line in `why`; the lines are empty then. */
static int read_file(struct transports *t, struct buf *why)
{
	buf_clear(&t->text);
	t->count = 0;
	if (stat(t->path, &t->seen) < 0 || !file_read_path(t->path, &t->text)) {
		fail(why, t->path, 0, file_error(errno));
		t->seen = (struct stat){ 0 };
		return EX_NOINPUT;
	}
	if (memchr(buf_str(&t->text), '\0', t->text.len) != NULL) {
		fail(why, t->path, 0, "it holds a NUL byte");
		return EX_CONFIG;
	}
	if (parse(t, why))
		return EX_OK;
	t->count = 0;
	return EX_CONFIG;
}

struct transports *transports_open(const char *path, int *status, struct buf *why)
{
	struct transports *t = xcalloc(1, sizeof *t);

	t->path = xstrdup(path);
	*status = read_file(t, why);
	if (*status != EX_OK)
		transports_close(&t);
	return t;
}

void transports_close(struct transports **at)
{
	struct transports *t = *at;

	if (t == NULL)
		return;
	free(t->path);
	free(t->lines);
	buf_free(&t->text);
	buf_free(&t->trouble);
	free(t);
	*at = NULL;
}

static void look_again(struct transports *t)
{
	struct stat st;
	int64_t now = clock_ms();

	if (now < t->look_again)
		return;
	t->look_again = now + LOOK_PAUSE;
	if (stat(t->path, &st) == 0 && file_is_unchanged(&st, &t->seen))
		return;
	buf_clear(&t->trouble);
	read_file(t, &t->trouble);
}

enum map_answer transports_find(struct transports *t, const char *channel, const char *host, struct buf *value)
{
	char *name = xasprintf("%s/%s", channel, host);
	enum map_answer answer = MAP_NOT_FOUND;

	look_again(t);
	if (t->trouble.len > 0) {
		buf_adds(value, buf_str(&t->trouble));
		answer = MAP_COULD_NOT_TELL;
	}
	for (size_t i = 0; answer == MAP_NOT_FOUND && i < t->count; i++) {
		if (fnmatch(t->lines[i].pattern, name, 0) == 0) {
			buf_adds(value, t->lines[i].transport);
			answer = MAP_FOUND;
		}
	}
	free(name);
	return answer;
}
