#include "channel/protocol/reply.h"

#include <string.h>

#include "lib/text.h"

static bool is_digit(char c)
{
	return c >= '0' && c <= '9';
}

size_t reply_enhanced_length(const char *s, char class)
{
	size_t n = 1;

	if (s[0] != class || (class != '2' && class != '4' && class != '5'))
		return 0;
	for (int part = 0; part < 2; part++) {
		size_t digits = 0;

		if (s[n++] != '.')
			return 0;
		for (; is_digit(s[n]) && digits < 4; n++)
			digits++;
		if (digits == 0 || digits > 3)
			return 0;
	}
	return s[n] == '\0' || s[n] == ' ' || s[n] == '\t' ? n : 0;
}

/* The line in hand is the whole of what is known. */
static enum reply_result garbage(struct reply_parser *p)
{
	p->reply.lines.limit = 0;
	buf_clear(&p->reply.lines);
	buf_add(&p->reply.lines, buf_str(&p->line), p->line.len);
	return REPLY_GARBAGE;
}

/* One whole line without its line end: part of a reply, its end, or garbage. */
static enum reply_result take_line(struct reply_parser *p)
{
	const char *s, *text;
	int code;
	bool coded, last;
	size_t n, length;

	if (p->line.len > 0 && p->line.data[p->line.len - 1] == '\r')
		p->line.data[--p->line.len] = '\0';
	s = p->line.data;
	coded = p->line.len >= 3 && s[0] >= '2' && s[0] <= '5' && is_digit(s[1]) && is_digit(s[2]) &&
	        (p->line.len == 3 || s[3] == ' ' || s[3] == '-');
	/* text to be read: a NUL must not hide what stands behind it */
	for (char *nul; (nul = memchr(buf_str(&p->line), '\0', p->line.len)) != NULL;)
		*nul = ' ';
	if (!coded)
		return garbage(p);
	code = (s[0] - '0') * 100 + (s[1] - '0') * 10 + (s[2] - '0');
	last = p->line.len == 3 || s[3] == ' ';
	if (p->started && code != p->reply.code)
		return garbage(p);
	p->started = true;
	p->reply.code = code;
	text = p->line.len > 4 ? s + 4 : "";
	n = reply_enhanced_length(text, (char)('0' + p->reply.code / 100));
	if (n > 0) {
		memcpy(p->reply.status, text, n);
		p->reply.status[n] = '\0';
		text += n;
		text += strspn(text, " \t");
	}
	length = strlen(text);
	if (length > REPLY_TEXT_MAX)
		length = REPLY_TEXT_MAX;
	if (buf_reserve(&p->reply.lines, length + 1) == NULL)
		p->reply.lines.limit = p->reply.lines.len;     /* full: nothing shorter may slip in behind */
	else {
		buf_add(&p->reply.lines, text, length);
		buf_addc(&p->reply.lines, '\n');
	}
	buf_clear(&p->line);
	return last ? REPLY_READY : REPLY_MORE;
}

enum reply_result reply_parse(struct reply_parser *p, const char *bytes, size_t n, size_t *used)
{
	enum reply_result result = REPLY_MORE;
	size_t at = 0;

	if (p->ready || p->reply.lines.limit == 0) {
		p->ready = false;
		p->started = false;
		p->bytes = 0;
		p->reply.code = 0;
		p->reply.status[0] = '\0';
		buf_clear(&p->line);
		buf_clear(&p->reply.lines);
		p->reply.lines.limit = REPLY_TEXT_MAX + 1;
	}
	while (result == REPLY_MORE && at < n) {
		const char *end = memchr(bytes + at, '\n', n - at);
		size_t length = end ? (size_t)(end - (bytes + at)) : n - at;
		size_t room = REPLY_TEXT_MAX + 5 - p->line.len;

		buf_add(&p->line, bytes + at, length < room ? length : room);
		length += end != NULL;
		at += length;
		p->bytes += length;
		if (p->bytes > REPLY_BYTES_MAX)
			result = garbage(p);
		else if (end != NULL)
			result = take_line(p);
	}
	*used = at;
	if (result != REPLY_MORE)
		p->ready = true;
	return result;
}

void reply_parser_free(struct reply_parser *p)
{
	buf_free(&p->line);
	buf_free(&p->reply.lines);
	*p = (struct reply_parser){ 0 };
}

void reply_words(const struct reply *reply, struct buf *out, size_t cap)
{
	size_t n = reply->lines.len;

	while (n > 0 && reply->lines.data[n - 1] == '\n')
		n--;
	if (n > 0)
		text_add_clean(out, reply->lines.data, n, cap);
}
