#include "channel/net/transcript.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/buf.h"
#include "lib/clock.h"
#include "lib/file.h"
#include "lib/text.h"

#define LINE_MAX_KEPT 8000

/* Between looks for a file of that name, in milliseconds. */
#define LOOK_PAUSE 500

/* A pipe without a reader must not stop the mail.  Senders and recipients are not for all users to read. */
static int open_log(const char *path)
{
	/* where another user could lead root to any file */
	const bool follow = geteuid() != 0 || file_is_of_root_alone(path);
	int fd = open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NOCTTY | O_NONBLOCK | (follow ? 0 : O_NOFOLLOW),
	              0600);
	struct stat st;

	if (fd < 0 || follow || (fstat(fd, &st) == 0 && st.st_nlink == 1))
		return fd;
	close(fd);
	errno = EMLINK;
	return -1;
}

bool transcript_open(struct transcript *t, const char *path)
{
	t->started = time(NULL);
	t->lines = 0;
	t->path = path;
	t->look_again = clock_ms() + LOOK_PAUSE;
	t->fd = open_log(path);
	return t->fd >= 0;
}

/* A program that rotates logs moves ours away and tells no process. */
static void follow_name(struct transcript *t)
{
	struct stat named, ours;
	int64_t now = clock_ms();
	int fd;

	if (now < t->look_again)
		return;
	t->look_again = now + LOOK_PAUSE;
	if (fstat(t->fd, &ours) < 0 || (stat(t->path, &named) == 0 && file_is_same(&named, &ours)))
		return;
	fd = open_log(t->path);
	if (fd < 0)
		return;
	close(t->fd);
	t->fd = fd;
}

/* UTC: in local time an hour comes twice each autumn, and sort(1) mixes its lines. */
static void add_time(struct buf *line)
{
	struct timespec now;
	struct tm tm;
	char text[32];

	clock_gettime(CLOCK_REALTIME, &now);
	gmtime_r(&now.tv_sec, &tm);
	strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%S", &tm);
	buf_addf(line, "%s.%03ldZ", text, now.tv_nsec / 1000000);
}

static void add_tag(struct buf *line, struct transcript *t)
{
	buf_addf(line, "%05d%04X-%04u-%04u", (int)getpid(), (unsigned)t->started & 0xffff, t->lines++ % 10000,
	         (unsigned)(time(NULL) - t->started) % 10000);
}

static void add_line(struct transcript *t, struct buf *line)
{
	buf_addc(line, '\n');
	/* a full disk must not stop the mail */
	if (write(t->fd, line->data, line->len) < 0)
		line->len = 0;
	buf_free(line);
}

void transcript_add(struct transcript *t, char kind, const char *bytes, size_t n)
{
	if (t->fd < 0)
		return;
	follow_name(t);
	if (t->json) {
		struct buf line = { 0 }, clean = { 0 };

		text_add_clean(&clean, bytes, n, LINE_MAX_KEPT);
		buf_adds(&line, "{\"time\":\"");
		add_time(&line);
		buf_adds(&line, "\",\"tag\":\"");
		add_tag(&line, t);
		buf_addf(&line, "\",\"kind\":\"%c\",\"text\":", kind);
		text_add_json(&line, buf_str(&clean), clean.len);
		buf_addc(&line, '}');
		buf_free(&clean);
		add_line(t, &line);
	} else {
		struct buf line = { 0 };

		add_time(&line);
		buf_addc(&line, ' ');
		add_tag(&line, t);
		buf_addf(&line, "%c\t", kind);
		text_add_clean(&line, bytes, n, LINE_MAX_KEPT);
		add_line(t, &line);
	}
}

void transcript_add_record(struct transcript *t, const struct buf *record)
{
	struct buf line = { 0 };

	if (t->fd < 0 || !t->json) {
		transcript_add(t, '#', record->data, record->len);
		return;
	}
	follow_name(t);
	buf_adds(&line, "{\"time\":\"");
	add_time(&line);
	buf_adds(&line, "\",\"tag\":\"");
	add_tag(&line, t);
	/* behind its brace */
	buf_addf(&line, "\",%s", record->data + 1);
	add_line(t, &line);
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
