/*
 * A connected stream of bytes that never blocks, in clear or under TLS.
 */
#ifndef ZL_STREAM_H
#define ZL_STREAM_H

#include <poll.h>
#include <stddef.h>

#include "lib/buf.h"

enum stream_result {
	STREAM_OK,            /* *count bytes were moved, at least one */
	STREAM_WAIT_READ,     /* nothing now: wait until the descriptor is readable */
	STREAM_WAIT_WRITE,    /* ... writable */
	STREAM_END,           /* the peer has closed */
	STREAM_ERROR,         /* `error` says why */
};

struct stream {
	int fd;               /* -1 = closed */
	struct buf error;
};

/* Takes over a connected non-blocking descriptor. */
void stream_open(struct stream *s, int fd);

enum stream_result stream_read(struct stream *s, char *bytes, size_t size, size_t *count);
enum stream_result stream_write(struct stream *s, const char *bytes, size_t n, size_t *count);

/* Closes; the struct can be used again. */
void stream_close(struct stream *s);

#endif
