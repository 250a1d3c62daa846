/*
 * Replies of a server: incremental, bounded, without any I/O (RFC 5321
 * section 4.2, RFC 2034).
 *
 * A reply is one or more lines that begin with the same three digits, 200 to
 * 599, a '-' on all but the last.  Anything else is garbage, after which the
 * stream can no longer be trusted.  A NUL in the text is text, as other control bytes; in place of the blank behind the code
 * it makes garbage of it.
 */
#ifndef ZL_CHANNEL_PROTOCOL_REPLY_H
#define ZL_CHANNEL_PROTOCOL_REPLY_H

#include <stdbool.h>
#include <stddef.h>

#include "lib/buf.h"

/* What is kept of one reply's text; the rest is read and thrown away. */
#define REPLY_TEXT_MAX 8000
/* A reply longer than this is garbage: its end is not waited for. */
#define REPLY_BYTES_MAX (4 * 1024 * 1024)

struct reply {
	int code;              /* 200 to 599 */
	char status[12];       /* enhanced code "x.y.z" whose class fits the code (RFC 3463), or "" */
	struct buf lines;      /* text of the lines, raw, each ended by LF, without code and enhanced code */
};

struct reply_parser {
	struct reply reply;
	struct buf line;       /* the line being read, as far as it is kept */
	size_t bytes;          /* of this reply so far */
	bool started;          /* the first line was read */
	bool ready;            /* `reply` is complete and was handed out */
};

enum reply_result {
	REPLY_MORE,            /* all bytes used, no end yet */
	REPLY_READY,           /* parser->reply holds a reply until the next call */
	REPLY_GARBAGE,         /* not a reply; parser->reply.lines holds the line that made it so */
};

/*
 * Reads on from `bytes`; *used tells how many were taken: at a READY or GARBAGE
 * the rest belongs to what follows.
 */
enum reply_result reply_parse(struct reply_parser *parser, const char *bytes, size_t n, size_t *used);

/*
 * The length of an enhanced code "c.ddd.ddd" of class `class` at s, which must end there or be followed by a blank
 * (RFC 2034 section 4); 0 if there is none.
 */
size_t reply_enhanced_length(const char *s, char class);

void reply_parser_free(struct reply_parser *parser);

/* The words of a reply as clean text in one line, at most `cap` bytes (lib/text.h). */
void reply_words(const struct reply *reply, struct buf *out, size_t cap);

#endif
