/*
 * A connected stream of bytes that never blocks, in clear or under TLS.
 */
#ifndef ZL_CHANNEL_NET_STREAM_H
#define ZL_CHANNEL_NET_STREAM_H

#include <poll.h>
#include <stdbool.h>
#include <stddef.h>

#include "channel/net/result.h"
#include "lib/buf.h"

struct tls;
struct tls_peer;
struct tls_connection;

struct stream {
	int fd;               /* -1 = closed */
	struct tls_connection *tls;    /* NULL = in clear */
	bool more;            /* under TLS: a read has left something that poll(2) does not see; read again */
	struct buf error;
};

/* Takes over a connected non-blocking descriptor. */
void stream_open(struct stream *s, int fd);

/*
 * From here on all bytes go through TLS (tls_connect() says what `peer` and `name` are; stream_accept_tls() is the server's
 * side).  Nothing may be read or written before stream_handshake() has returned STREAM_OK; its STREAM_WAIT answers are those of
 * reading.  False with one line in `error`.
 */
bool stream_start_tls(struct stream *s, struct tls *tls, struct tls_peer *peer, const char *name);
bool stream_accept_tls(struct stream *s, struct tls *tls);
enum stream_result stream_handshake(struct stream *s);

/*
 * Read or write what is possible now, without waiting: see result.h.  After STREAM_END and STREAM_ERROR the stream is only to
 * be closed.
 */
enum stream_result stream_read(struct stream *s, char *bytes, size_t size, size_t *count);
enum stream_result stream_write(struct stream *s, const char *bytes, size_t n, size_t *count);

/* Closes; the struct can be used again. */
void stream_close(struct stream *s);

#endif
