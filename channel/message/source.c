#include "channel/message/source.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include <unistd.h>


#define PIECE ((size_t)64 * 1024)

/* The next piece of the file; false with `why` set on an error and at an early end. */
static bool read_piece(const struct body *body, uint64_t at, struct buf *piece, struct buf *why)
{
	uint64_t left = body->length - at;
	size_t want = left < PIECE ? (size_t)left : PIECE;
	char *room;
	ssize_t n;

	buf_clear(piece);
	room = buf_reserve(piece, want);
	do {
		n = pread(body->fd, room, want, body->start + (off_t)at);
	} while (n < 0 && errno == EINTR);
	if (n > 0) {
		piece->len = (size_t)n;
		return true;
	}
	if (n < 0)
		buf_addf(why, "message file cannot be read: %s", strerror(errno));
	else
		buf_addf(why, "message file has become shorter by %" PRIu64 " bytes", left);
	return false;
}

/* Measures an open file from body->start on, and lets go of it if it can be kept. */
static enum body_result take_file(struct body *body, struct buf *why)
{
	struct wire wire = { 0 };
	struct buf piece = { 0 };
	bool keep = body->length <= BODY_KEPT_MAX, ok = true;
	uint64_t at = 0;

	/* reads the body once: keeps it if it is small, else only measures it */
	while (ok && at < body->length) {
		ok = read_piece(body, at, &piece, why);
		if (!ok)
			break;
		wire_add(&wire, &body->kept, piece.data, piece.len);
		at += piece.len;
		body->wire_length += keep ? 0 : body->kept.len;
		if (!keep)
			buf_clear(&body->kept);
	}
	wire_end(&wire, &body->kept);
	body->wire_length += body->kept.len;
	body->eightbit = wire.eightbit;
	if (!keep)
		buf_free(&body->kept);
	buf_free(&piece);
	if (!ok) {
		body_close(body);
		return BODY_UNREADABLE;
	}
	if (body->length <= BODY_KEPT_MAX) {
		close(body->fd);
		body->fd = -1;
	}
	return BODY_OK;
}

enum body_result body_adopt(struct body *body, int fd, const struct stat *file, struct buf *why)
{
	struct stat st;

	*body = (struct body){ .fd = fd };
	if (fd < 0 || fstat(fd, &st) < 0) {
		buf_addf(why, "converted message: %s", strerror(errno));
		body_close(body);
		return BODY_UNREADABLE;
	}
	body->file = *file;
	body->length = (uint64_t)st.st_size;
	return take_file(body, why);
}

uint64_t body_length(const struct body *body)
{
	return body->fd < 0 ? body->kept.len : body->length;
}

bool body_piece(const struct body *body, uint64_t at, struct buf *piece, struct buf *why)
{
	size_t left;

	if (body->fd >= 0)
		return read_piece(body, at, piece, why);
	left = body->kept.len - (size_t)at;
	buf_clear(piece);
	return buf_add(piece, body->kept.data + at, left < PIECE ? left : PIECE);
}

enum body_result body_open(struct body *body, const char *path, off_t start, struct buf *why)
{
	*body = (struct body){ .start = start };
	/* where the post office is another user's, root sends out nothing that this user has put a link to */
	body->fd = file_open_found(path, &body->file);
	if (body->fd < 0) {
		bool gone = errno == ENOENT;

		buf_addf(why, "message file %s: %s", path, file_error(errno));
		return gone ? BODY_GONE : BODY_UNREADABLE;
	}
	if (body->file.st_size < start) {
		buf_addf(why, "message file %s: it ends before its body begins, at byte %jd", path, (intmax_t)start);
		body_close(body);
		return BODY_UNREADABLE;
	}
	/* measuring it would take hours, in which nothing else is done */
	if (file_seems_endless(body->fd, &body->file)) {
		buf_addf(why, "message file %s: %jd bytes, most of them a hole (sparse file)", path,
		         (intmax_t)body->file.st_size);
		body_close(body);
		return BODY_ENDLESS;
	}
	body->length = (uint64_t)(body->file.st_size - start);
	return take_file(body, why);
}

void body_close(struct body *body)
{
	if (body->fd >= 0)
		close(body->fd);
	buf_free(&body->kept);
	*body = (struct body){ .fd = -1 };
}

void header_init(struct header *header, const char *fields, size_t n)
{
	struct wire wire = { 0 };
	struct buf copy = { 0 };

	*header = (struct header){ 0 };
	buf_add(&copy, fields, n);
	/*
	 * A CR of its own would become a line end, and what stands behind it a field that was never looked at:
	 * in a header it is a blank.
	 */
	for (char *p = copy.data; (p = memchr(p, '\r', (size_t)(copy.data + copy.len - p))) != NULL; p++)
		if (p[1] != '\n')
			*p = ' ';
	wire_add(&wire, &header->wire, copy.data, n);
	buf_free(&copy);
	wire_end(&wire, &header->wire);
	header->eightbit = wire.eightbit;
	buf_add(&header->wire, "\r\n", 2);
}

void header_free(struct header *header)
{
	buf_free(&header->wire);
}

uint64_t source_size(const struct header *header, const struct body *body)
{
	return header->wire.len + body->wire_length;
}

void source_init(struct source *s, const struct header *header, const struct body *body, bool stuffed)
{
	struct buf scratch = s->scratch;

	*s = (struct source){ .header = header, .body = body, .stuffed = stuffed, .line_start = true, .scratch = scratch };
}

void source_free(struct source *s)
{
	buf_free(&s->scratch);
}

/*
 * What was announced with SIZE= and BDAT must be what is sent: never more, as the
 * server would take it for commands, and at the `end` not less.
 */
static enum source_result give(struct source *s, struct buf *out, const struct buf *wired, bool end, struct buf *why)
{
	uint64_t left = source_size(s->header, s->body) - s->given;

	if (wired->len > left || (end && wired->len < left)) {
		buf_adds(why, "message file has changed while it was sent");
		return SOURCE_FAILED;
	}
	s->given += wired->len;
	if (s->stuffed)
		wire_stuff(&s->line_start, out, buf_str(wired), wired->len);
	else
		buf_add(out, buf_str(wired), wired->len);
	if (end && s->stuffed)
		buf_adds(out, ".\r\n");
	return end ? SOURCE_END : SOURCE_MORE;
}

enum source_result source_next(struct source *s, struct buf *out, struct buf *why)
{
	struct buf wired = { 0 };
	enum source_result result;
	bool end;

	if (!s->header_done) {
		s->header_done = true;
		give(s, out, &s->header->wire, false, why);
	}
	if (s->body->fd < 0)
		return give(s, out, &s->body->kept, true, why);
	if (!read_piece(s->body, s->read, &s->scratch, why))
		return SOURCE_FAILED;
	s->read += s->scratch.len;
	wire_add(&s->wire, &wired, s->scratch.data, s->scratch.len);
	end = s->read == s->body->length;
	if (end)
		wire_end(&s->wire, &wired);
	result = give(s, out, &wired, end, why);
	buf_free(&wired);
	return result;
}
