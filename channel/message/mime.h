/*
 * Walks over the MIME structure of a message, line by line (RFC 2045, 2046).
 * Knows where entities begin and end; changes nothing.
 */
#ifndef ZL_CHANNEL_MESSAGE_MIME_H
#define ZL_CHANNEL_MESSAGE_MIME_H

#include <stdbool.h>
#include <stddef.h>

#include "lib/buf.h"

/* Entities inside entities; a message nested deeper is passed on as one plain part. */
#define MIME_DEPTH_MAX 40
/* The header of a part is not looked into beyond this; such a part is passed on as it stands. */
#define MIME_HEADER_MAX (1024 * 1024)

#define MIME_NONE ((size_t)-1)

enum mime_encoding { MIME_7BIT, MIME_8BIT, MIME_BINARY, MIME_QUOTED, MIME_BASE64, MIME_OTHER };

enum mime_kind {
	MIME_LEAF,          /* text, image ...: its lines are content */
	MIME_MULTIPART,
	MIME_MESSAGE,       /* message/rfc822: a header follows as its content */
};

struct mime_entity {
	size_t number;              /* from 0, in the order of their headers */
	size_t parent;              /* number of the entity that it stands in, MIME_NONE for the message itself */
	bool sealed;                /* somewhere inside of a multipart/signed (RFC 1847) */
	enum mime_kind kind;
	enum mime_encoding encoding;
	bool text;                  /* text/... or no Content-Type */
	bool has_type;              /* there is a Content-Type field */
};

struct mime_walker;

/* What a walk finds, in order; every byte appears in exactly one call, but for the CR of CR LF in headers. */
struct mime_events {
	/* The fields of an entity's header, LF line ends, without the empty line behind them. */
	void (*header)(void *context, const struct mime_entity *entity, const char *fields, size_t n);

	/* The empty line that ends a header. */
	void (*end_of_header)(void *context);

	/* A line of a leaf's content, without its LF; `ended` tells whether it had one. */
	void (*line)(void *context, const struct mime_entity *entity, const char *line, size_t n, bool ended);

	/* A boundary line, or one outside all parts; `of` is the number of its multipart, or MIME_NONE. */
	void (*outside)(void *context, size_t of, bool sealed, const char *line, size_t n, bool ended);
};

struct mime_walker *mime_walk_start(const struct mime_events *events, void *context);

/* The message from its first header byte on, LF line ends, in pieces of any size. */
void mime_walk(struct mime_walker *walker, const char *bytes, size_t n);

/* Ends the walk and frees the walker. */
void mime_walk_end(struct mime_walker *walker);

/*
 * The value of field `name` in a header block (LF line ends), unfolded, comments kept; allocated, NULL
 * if there is none.  The first one counts.
 */
char *mime_field(const char *fields, size_t n, const char *name);

/* Where the field at `p` ends, with its continuation lines and last LF. */
const char *mime_end_of_field(const char *p, const char *end);

#endif
