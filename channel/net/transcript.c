#include "channel/net/transcript.h"

#include <fcntl.h>
#include <stdarg.h>
#include <string.h>
#include <unistd.h>

#include "lib/buf.h"
#include "lib/text.h"

#define LINE_MAX_KEPT 8000

bool transcript_open(struct transcript *t, const char *path)
{
	t->started = time(NULL);
	t->lines = 0;
	t->fd = open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NOCTTY, 0644);
	return t->fd >= 0;
}

void transcript_add(struct transcript *t, char kind, const char *bytes, size_t n)
{
	struct buf line = { 0 };

	if (t->fd < 0)
		return;
	buf_addf(&line, "%05d%04X-%04u-%04u%c\t", (int)getpid(), (unsigned)t->started & 0xffff, t->lines++ % 10000,
	         (unsigned)(time(NULL) - t->started) % 10000, kind);
	text_add_clean(&line, bytes, n, LINE_MAX_KEPT);
	buf_addc(&line, '\n');
	/* a full disk must not stop the mail */
	if (write(t->fd, line.data, line.len) < 0)
		line.len = 0;
	buf_free(&line);
}

void transcript_addf(struct transcript *t, const char *format, ...)
{
	struct buf text = { 0 };
	va_list ap;

	if (t->fd < 0)
		return;
	va_start(ap, format);
	buf_vaddf(&text, format, ap);
	va_end(ap);
	transcript_add(t, '#', buf_str(&text), text.len);
	buf_free(&text);
}

void transcript_add_lines(struct transcript *t, char kind, const char *bytes, size_t n)
{
	const char *end = bytes + n;

	if (t->fd < 0)
		return;
	while (bytes < end) {
		const char *lf = memchr(bytes, '\n', (size_t)(end - bytes));
		const char *stop = lf ? lf : end;

		transcript_add(t, kind, bytes, (size_t)(stop - bytes) - (stop > bytes && stop[-1] == '\r'));
		bytes = lf ? lf + 1 : end;
	}
}
