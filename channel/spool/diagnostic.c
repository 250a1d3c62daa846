#include "channel/spool/diagnostic.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <sysexits.h>
#include <unistd.h>

#include "lib/log.h"
#include "lib/text.h"

/* Room for a full address, and for as much of a server's words as people will read. */
enum { FIELD_CAP = 4000, TEXT_CAP = 8000 };

static void field_add(struct buf *out, const char *text)
{
	text_add_clean_string(out, text, FIELD_CAP);
}

const char *diagnostic_answer(const char *transcript)
{
	const char *cr = strrchr(transcript, '\r');

	return cr != NULL ? cr + 1 : transcript;
}

void notary_add(struct buf *out, const struct notary *notary)
{
	size_t start = out->len;

	/* the scheduler leaves out of its report whom it finds empty; 0x03 makes it look into the control file */
	if (strcmp(notary->recipient, "\003") != 0)
		field_add(out, notary->recipient);
	if (out->len == start)
		buf_addc(out, '\003');
	buf_addc(out, '\001');
	field_add(out, notary->action);
	buf_addc(out, '\001');
	field_add(out, notary->status);
	if (notary->code != 0) {
		size_t before;

		buf_addf(out, "\001smtp; %d (", notary->code);
		/* parentheses end the comment that the words stand in */
		before = out->len;
		field_add(out, notary->words);
		for (size_t i = before; i < out->len; i++) {
			if (out->data[i] == '(')
				out->data[i] = '[';
			else if (out->data[i] == ')')
				out->data[i] = ']';
		}
		buf_adds(out, ")\001");
	} else {
		buf_adds(out, "\001x-local; ");
		/* a server may have ended the connection by a code without words */
		field_add(out, notary->words[0] != '\0' ? notary->words : "no reason was given");
		buf_addc(out, '\001');
	}
	field_add(out, notary->remote);
	buf_addc(out, '\001');
	field_add(out, notary->agent);
}

/* Lines divided by CR, each of them clean. */
static void text_add(struct buf *out, const char *text)
{
	size_t start = out->len;

	while (*text != '\0') {
		size_t n = strcspn(text, "\r\n");
		size_t used = out->len - start;

		if (used >= TEXT_CAP)
			break;
		text_add_clean(out, text, n, TEXT_CAP - used);
		text += n;
		if (*text != '\0' && out->len - start < TEXT_CAP)
			buf_addc(out, '\r');
		if (*text == '\r' && text[1] == '\n')
			text++;
		text += *text != '\0';
	}
}

/*
 * O_APPEND only for the moment of the write: on Linux pwrite(2) on such a descriptor
 * appends too, and tags are written with pwrite on the same one.
 */
static ssize_t write_at_end(int fd, const struct buf *line)
{
	int flags = fcntl(fd, F_GETFL), saved;
	ssize_t n;

	if (flags < 0 || fcntl(fd, F_SETFL, flags | O_APPEND) < 0)
		return -1;
	do
		n = write(fd, line->data, line->len);
	while (n < 0 && errno == EINTR);
	saved = errno;
	if (fcntl(fd, F_SETFL, flags) < 0)
		die(EX_OSERR, "cannot take O_APPEND off a control file, whose marks would go to its end: %s", strerror(errno));
	errno = saved;
	return n;
}

/* False if a line of an agent whose disk was full has no end. */
static bool ends_in_lf(int fd)
{
	struct stat st;
	char last;

	if (fstat(fd, &st) < 0 || st.st_size == 0 || pread(fd, &last, 1, st.st_size - 1) != 1)
		return true;
	return last == '\n';
}

static void line_begin(struct buf *out, char tag, off_t recipient, off_t header, off_t dsn, int64_t now)
{
	buf_addf(out, "d%c%lld:%lld:%lld::%lld\t", tag, (long long)recipient, (long long)header, (long long)dsn,
	         (long long)now);
}

static void line_end(struct buf *out, const char *text)
{
	buf_addc(out, '\t');
	text_add(out, text);
	buf_addc(out, '\n');
}

void diagnostic_add(struct buf *out, off_t recipient, off_t header, off_t dsn, int64_t now, const struct notary *notary,
                    const char *text)
{
	line_begin(out, ' ', recipient, header, dsn, now);
	notary_add(out, notary);
	line_end(out, text);
}

void diagnostic_add_reported(struct buf *out, off_t recipient, off_t header, off_t dsn, int64_t now, const char *notary,
                             const char *text)
{
	line_begin(out, ' ', recipient, header, dsn, now);
	buf_adds(out, notary);
	line_end(out, text);
}

void diagnostic_add_told(struct buf *out, off_t recipient, off_t header, off_t dsn, int64_t now, const char *notary,
                         const char *text)
{
	line_begin(out, '+', recipient, header, dsn, now);
	buf_adds(out, notary);
	line_end(out, text);
}

bool diagnostic_mark_told(int fd, off_t offset)
{
	char start[2];

	if (pread(fd, start, 2, offset) != 2 || start[0] != 'd' || (start[1] != ' ' && start[1] != '+')) {
		errno = EBADMSG;
		return false;
	}
	return start[1] == '+' || pwrite(fd, "+", 1, offset + 1) == 1;
}

bool diagnostic_write(int fd, const struct buf *lines)
{
	struct buf first = { 0 };
	ssize_t n;

	if (!ends_in_lf(fd)) {
		buf_addc(&first, '\n');
		if (write_at_end(fd, &first) != 1) {
			buf_free(&first);
			return false;
		}
		buf_free(&first);
	}
	n = write_at_end(fd, lines);
	if (n >= 0 && (size_t)n != lines->len)
		errno = ENOSPC;
	return n >= 0 && (size_t)n == lines->len;
}

bool diagnostic_append(int fd, off_t recipient, off_t header, off_t dsn, int64_t now, const struct notary *notary,
                       const char *text)
{
	struct buf line = { 0 };
	bool ok;
	int saved;

	diagnostic_add(&line, recipient, header, dsn, now, notary, text);
	ok = diagnostic_write(fd, &line) && fdatasync(fd) == 0;
	saved = errno;
	buf_free(&line);
	errno = saved;
	return ok;
}

bool notary_is_whole(const char *notary)
{
	unsigned fields = 1;

	for (const char *s = notary; *s != '\0'; s++) {
		if (*s == '\t' || *s == '\n' || *s == '\r')
			return false;
		fields += *s == '\001';
	}
	return fields == 6 && notary[0] != '\001';
}

void report_add(struct buf *out, uint64_t id, off_t offset, const struct notary *notary, enum report_word word,
                const char *text)
{
	static const char *const words[] = {
		[REPORT_OK] = "ok", [REPORT_OK2] = "ok2", [REPORT_OK3] = "ok3",
		[REPORT_ERROR] = "error", [REPORT_ERROR2] = "error2",
		[REPORT_DEFERRED] = "deferred",
		[REPORT_RETRYAT] = "retryat +60",    /* the number must be there; no scheduler obeys it */
	};

	buf_addu(out, id);
	buf_addc(out, '/');
	buf_addu(out, (uint64_t)offset);
	buf_addc(out, '\t');
	if (word != REPORT_OK2 && word != REPORT_OK3 && word != REPORT_ERROR2)
		notary_add(out, notary);
	buf_addc(out, '\t');
	buf_adds(out, words[word]);
	buf_addc(out, ' ');
	text_add(out, text);
	buf_addc(out, '\n');
}
