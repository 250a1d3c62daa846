/*
 * The bytes of one message on their way out: a header block from the control
 * file, an empty line, the body from the message file (spool.md sections 3 and 7).
 */
#ifndef ZL_CHANNEL_MESSAGE_SOURCE_H
#define ZL_CHANNEL_MESSAGE_SOURCE_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/stat.h>
#include <sys/types.h>

#include "channel/message/wire.h"
#include "lib/buf.h"
#include "lib/file.h"

/* Bodies up to this size are kept in memory, in wire form. */
#define BODY_KEPT_MAX (64 * 1024)

struct body {
	int fd;               /* -1 when the body is kept */
	off_t start;          /* of the body in the file */
	uint64_t length;      /* in the file */
	uint64_t wire_length; /* on the wire */
	bool eightbit;
	struct stat file;     /* as it was opened */
	struct buf kept;      /* the body in wire form, if it is small */
};

enum body_result {
	BODY_OK,
	BODY_GONE,            /* there is no such file */
	BODY_ENDLESS,         /* it seems to be terabytes large, and is mostly not there (a sparse file) */
	BODY_UNREADABLE,      /* it cannot be read now, or is no regular file; `why` says it */
};

/*
 * Opens a message file and measures the body that begins at `start`.  The caller closes it after BODY_OK.
 */
enum body_result body_open(struct body *body, const char *path, off_t start, struct buf *why);
void body_close(struct body *body);

/*
 * The same for an open file that the body fills from its first byte on; takes over `fd`.  `file` is what
 * body->file is to say: the message file it was made from.
 */
enum body_result body_adopt(struct body *body, int fd, const struct stat *file, struct buf *why);

/*
 * The body in pieces of at most 64 kB, from byte `at` of body_length() on: as in the file, or in wire form
 * if it is kept.  False with `why` set if the file does not give them.
 */
uint64_t body_length(const struct body *body);
bool body_piece(const struct body *body, uint64_t at, struct buf *piece, struct buf *why);

/* A header block in wire form, ready to be sent. */
struct header {
	struct buf wire;      /* with the empty line that ends it */
	bool eightbit;
};

/* Makes the wire form of `n` bytes of header fields with LF line ends. */
void header_init(struct header *header, const char *fields, size_t n);
void header_free(struct header *header);

/* One pass over header and body. */
struct source {
	const struct header *header;
	const struct body *body;
	bool stuffed;         /* dots stuffed and "." at the end (DATA), or the bare bytes (BDAT) */
	bool header_done;
	uint64_t read;        /* bytes of the body taken from the file */
	uint64_t given;       /* wire bytes given out, without stuffing */
	struct wire wire;
	bool line_start;
	struct buf scratch;
};

/* Begins a pass; header and body must live as long.  `stuffed` for DATA, not for BDAT. */
void source_init(struct source *source, const struct header *header, const struct body *body, bool stuffed);
void source_free(struct source *source);

enum source_result {
	SOURCE_MORE,          /* something was added to `out` */
	SOURCE_END,           /* everything is in `out` */
	SOURCE_FAILED,        /* the file cannot be read to its end as measured; `why` says it */
};

/* Adds the next piece, about 64 kB at most, to `out`. */
enum source_result source_next(struct source *source, struct buf *out, struct buf *why);

/* Bytes of the whole message on the wire, without stuffing: SIZE= and BDAT's argument. */
uint64_t source_size(const struct header *header, const struct body *body);

#endif
