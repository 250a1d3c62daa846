/*
 * TLS by OpenSSL 3: what stream.c puts under a stream.
 */
#ifndef ZL_CHANNEL_NET_TLS_H
#define ZL_CHANNEL_NET_TLS_H

#include <stdbool.h>
#include <stddef.h>

#include "channel/net/result.h"
#include "channel/net/tlsconf.h"
#include "lib/buf.h"

/* The settings of this process, ready for connections. */
struct tls;

/* Loads what `conf` names; NULL with one line in `why`.  `conf` must outlive it. */
struct tls *tls_create(const struct tlsconf *conf, struct buf *why);
void tls_destroy(struct tls **tls);

/*
 * The same for a server: `conf` must have a certificate.  With fingerprints in it clients are asked for certificates, and
 * tls_verified() says whether theirs was one of them; a client without may stay.
 */
struct tls *tls_create_server(const struct tlsconf *conf, struct buf *why);

/* A peer, for all connections to it.  A zeroed struct is one that was never met. */
struct tls_peer {
	struct ssl_session_st *session;    /* to be resumed: later connections need no full handshake */
};

void tls_peer_forget(struct tls_peer *peer);

/* One connection. */
struct tls_connection;

/*
 * Prepares TLS on a connected descriptor, which stays yours.  `name` is what the certificate must be made out
 * for unless the configuration has another: a host name or a numeric address; NULL = there is none.
 * NULL with one line in `why`.
 */
struct tls_connection *tls_connect(struct tls *tls, struct tls_peer *peer, const char *name, int fd, struct buf *why);
void tls_disconnect(struct tls_connection **c);

/* The server's side of a connection. */
struct tls_connection *tls_accept(struct tls *tls, int fd, struct buf *why);

/* Goes on with the handshake; STREAM_OK when it is over and the peer is the right one. */
enum stream_result tls_handshake(struct tls_connection *c, struct buf *error);

/* *more: there is something to read that the descriptor does not show. */
enum stream_result tls_read(struct tls_connection *c, char *bytes, size_t size, size_t *count, bool *more,
                            struct buf *error);
enum stream_result tls_write(struct tls_connection *c, const char *bytes, size_t n, size_t *count, struct buf *error);

/* Says goodbye as far as that is possible without waiting. */
void tls_goodbye(struct tls_connection *c);

/* True if the identity of the peer is proved: by chain and name, or by fingerprint. */
bool tls_verified(const struct tls_connection *c);

/* True if the handshake took up an earlier session. */
bool tls_resumed(const struct tls_connection *c);

/* "TLSv1.3, TLS_AES_256_GCM_SHA384 (256 bits), ..., certificate verified" or why not. */
void tls_describe(const struct tls_connection *c, struct buf *out);

#endif
