#include "channel/net/tls.h"

#include <arpa/inet.h>
#include <errno.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "lib/alloc.h"
#include "lib/file.h"
#include "lib/process.h"
#include "lib/text.h"

struct tls {
	const struct tlsconf *conf;
	SSL_CTX *context;
};

struct tls_connection {
	const struct tlsconf *conf;
	struct tls_peer *peer;  /* NULL: we are the server */
	SSL *ssl;
	int fd;
	size_t budget;          /* bytes that OpenSSL may still read in this call */
	bool ended;             /* the peer has closed */
	bool named;             /* the name is being checked */
	bool pinned;            /* the fingerprint was compared and is right */
};

/* The first thing that OpenSSL has to say, and an end of it. */
static void add_openssl_error(struct buf *out)
{
	unsigned long code = ERR_peek_error();
	const char *reason = code ? ERR_reason_error_string(code) : NULL;

	if (reason != NULL)
		buf_adds(out, reason);
	else if (code != 0 && ERR_SYSTEM_ERROR(code))
		buf_adds(out, strerror(ERR_GET_REASON(code)));
	else
		buf_addf(out, "OpenSSL error %lx", code);
	ERR_clear_error();
}

/* ---- the settings ---- */

static bool can_read(const char *what, const char *path, struct buf *why)
{
	bool can = file_can_be_read(path);

	if (!can)
		buf_addf(why, "%s %s: %s", what, path, file_error(errno));
	return can;
}

/* A key with a passphrase must not make us ask a terminal that is not there. */
static int no_passphrase(char *buf, int size, int writing, void *context)
{
	(void)buf;
	(void)size;
	(void)writing;
	(void)context;
	return -1;
}

/* A certificate with what is needed of its chain, and the key, by default out of the same file. */
static bool load_pair(SSL_CTX *context, const char *cert, const char *key, struct buf *why)
{
	if (cert == NULL)
		return true;
	if (key == NULL)
		key = cert;
	process_keep_secrets();
	if (!can_read("certificate", cert, why) || !can_read("key", key, why))
		return false;
	if (SSL_CTX_use_certificate_chain_file(context, cert) != 1)
		buf_addf(why, "certificate %s: ", cert);
	else if (SSL_CTX_use_PrivateKey_file(context, key, SSL_FILETYPE_PEM) != 1)
		buf_addf(why, "key %s: ", key);
	else
		return true;
	add_openssl_error(why);
	return false;
}

static bool load_authorities(SSL_CTX *context, const struct tlsconf *conf, struct buf *why)
{
	if (conf->ca_file == NULL && conf->ca_path == NULL)
		return SSL_CTX_set_default_verify_paths(context) == 1;
	if (conf->ca_file != NULL && !can_read("CA file", conf->ca_file, why))
		return false;
	if (conf->ca_file != NULL && SSL_CTX_load_verify_file(context, conf->ca_file) != 1) {
		buf_addf(why, "CA file %s: ", conf->ca_file);
		add_openssl_error(why);
		return false;
	}
	if (conf->ca_path != NULL && SSL_CTX_load_verify_dir(context, conf->ca_path) != 1) {
		buf_addf(why, "CA directory %s: ", conf->ca_path);
		add_openssl_error(why);
		return false;
	}
	return true;
}

/* The server gave us something to resume with; the newest is the best. */
static int keep_session(SSL *ssl, SSL_SESSION *session)
{
	struct tls_peer *peer = SSL_get_app_data(ssl);

	tls_peer_forget(peer);
	peer->session = session;
	return 1;
}

static bool set_up(SSL_CTX *context, const struct tlsconf *conf, struct buf *why)
{
	SSL_CTX_set_min_proto_version(context, conf->min_protocol == TLS_1_3 ? TLS1_3_VERSION : TLS1_2_VERSION);
	SSL_CTX_set_options(context, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION);
	/* the bytes to write move in memory while they wait */
	SSL_CTX_set_mode(context, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER | SSL_MODE_RELEASE_BUFFERS);
	SSL_CTX_set_read_ahead(context, 1);
	SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL);
	SSL_CTX_sess_set_new_cb(context, keep_session);
	SSL_CTX_set_default_passwd_cb(context, no_passphrase);
	if (conf->cipher_list != NULL && SSL_CTX_set_cipher_list(context, conf->cipher_list) != 1) {
		buf_addf(why, "tls-cipher-list %s: ", conf->cipher_list);
		add_openssl_error(why);
		return false;
	}
	return load_authorities(context, conf, why) && load_pair(context, conf->cert_file, conf->key_file, why) &&
	       load_pair(context, conf->dcert_file, conf->dkey_file, why);
}

static struct tls *create(const struct tlsconf *conf, const SSL_METHOD *method, struct buf *why)
{
	struct tls *tls = xcalloc(1, sizeof *tls);

	ERR_clear_error();
	tls->conf = conf;
	tls->context = SSL_CTX_new(method);
	if (tls->context != NULL && set_up(tls->context, conf, why))
		return tls;
	if (why->len == 0) {
		buf_adds(why, "TLS cannot be used: ");
		add_openssl_error(why);
	}
	tls_destroy(&tls);
	return NULL;
}

struct tls *tls_create(const struct tlsconf *conf, struct buf *why)
{
	return create(conf, TLS_client_method(), why);
}

/* Any certificate may be shown: fingerprints are compared afterwards, and nothing else counts. */
static int accept_any(X509_STORE_CTX *store, void *context)
{
	(void)store;
	(void)context;
	return 1;
}

struct tls *tls_create_server(const struct tlsconf *conf, struct buf *why)
{
	struct tls *tls;

	if (conf->cert_file == NULL) {
		buf_adds(why, "a server needs a certificate: tls-cert-file");
		return NULL;
	}
	tls = create(conf, TLS_server_method(), why);
	if (tls == NULL)
		return NULL;
	SSL_CTX_set_session_cache_mode(tls->context, SSL_SESS_CACHE_OFF);
	if (conf->fingerprint_count > 0) {
		SSL_CTX_set_verify(tls->context, SSL_VERIFY_PEER, NULL);
		SSL_CTX_set_cert_verify_callback(tls->context, accept_any, NULL);
	}
	return tls;
}

void tls_destroy(struct tls **tls)
{
	if (*tls == NULL)
		return;
	SSL_CTX_free((*tls)->context);
	free(*tls);
	*tls = NULL;
}

void tls_peer_forget(struct tls_peer *peer)
{
	SSL_SESSION_free(peer->session);
	peer->session = NULL;
}

/* ---- the socket ---- */

/*
 * There are bytes that OpenSSL takes and then reads on, for as long as more of them come: tickets, new keys, requests for a
 * handshake while one is going on.  A peer that sends nothing else must not keep it, and so all others, for ever.
 */
#define READ_AT_ONCE (256 * 1024)

static void begin_call(struct tls_connection *c)
{
	ERR_clear_error();
	errno = 0;
	c->budget = READ_AT_ONCE;
}

static bool may_be_repeated(void)
{
	return errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR;
}

static int socket_read(BIO *bio, char *bytes, int size)
{
	struct tls_connection *c = BIO_get_data(bio);
	ssize_t n = -1;

	BIO_clear_retry_flags(bio);
	/* poll(2) finds the rest at once */
	errno = EAGAIN;
	if (c->budget > 0)
		n = recv(c->fd, bytes, (size_t)size < c->budget ? (size_t)size : c->budget, 0);
	if (n > 0)
		c->budget -= (size_t)n;
	else if (n == 0)
		c->ended = true;
	else if (may_be_repeated())
		BIO_set_retry_read(bio);
	return (int)n;
}

static int socket_write(BIO *bio, const char *bytes, int n)
{
	struct tls_connection *c = BIO_get_data(bio);
	ssize_t done = send(c->fd, bytes, (size_t)n, MSG_NOSIGNAL);

	BIO_clear_retry_flags(bio);
	if (done < 0 && may_be_repeated())
		BIO_set_retry_write(bio);
	return (int)done;
}

static long socket_control(BIO *bio, int command, long number, void *pointer)
{
	struct tls_connection *c = BIO_get_data(bio);

	(void)number;
	(void)pointer;
	if (command == BIO_CTRL_EOF)
		return c->ended;
	return command == BIO_CTRL_FLUSH;
}

static bool take_socket(struct tls_connection *c, int fd)
{
	static BIO_METHOD *method;
	BIO *bio;

	if (method == NULL && ((method = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "socket")) == NULL ||
	                       BIO_meth_set_read(method, socket_read) != 1 || BIO_meth_set_write(method, socket_write) != 1 ||
	                       BIO_meth_set_ctrl(method, socket_control) != 1))
		return false;
	bio = BIO_new(method);
	if (bio == NULL)
		return false;
	c->fd = fd;
	BIO_set_data(bio, c);
	BIO_set_init(bio, 1);
	SSL_set_bio(c->ssl, bio, bio);
	return true;
}

/* ---- a connection ---- */

/* Whom the certificate must name; the answer is looked at even if nothing depends on it, for the log. */
static bool expect_name(struct tls_connection *c, const char *name)
{
	X509_VERIFY_PARAM *param = SSL_get0_param(c->ssl);
	unsigned char address[sizeof(struct in6_addr)];

	c->named = name != NULL && c->conf->verify != TLS_VERIFY_CHAIN;
	if (name == NULL)
		return true;
	if (inet_pton(AF_INET, name, address) == 1 || inet_pton(AF_INET6, name, address) == 1)
		return !c->named || X509_VERIFY_PARAM_set1_ip_asc(param, name) == 1;
	SSL_set_hostflags(c->ssl, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS);
	return (!c->named || SSL_set1_host(c->ssl, name) == 1) && SSL_set_tlsext_host_name(c->ssl, name) == 1;
}

static bool prepare(struct tls_connection *c, const char *name, int fd)
{
	bool demanded = c->conf->verify == TLS_VERIFY_CHAIN || c->conf->verify == TLS_VERIFY_NAME;

	SSL_set_app_data(c->ssl, c->peer);
	SSL_set_connect_state(c->ssl);
	SSL_set_verify(c->ssl, demanded ? SSL_VERIFY_PEER : SSL_VERIFY_NONE, NULL);
	if (c->peer->session != NULL)
		SSL_set_session(c->ssl, c->peer->session);
	return expect_name(c, name) && take_socket(c, fd);
}

struct tls_connection *tls_connect(struct tls *tls, struct tls_peer *peer, const char *name, int fd, struct buf *why)
{
	struct tls_connection *c;

	ERR_clear_error();
	if (tls->conf->peer_name != NULL)
		name = tls->conf->peer_name;
	if (name == NULL && tls->conf->verify == TLS_VERIFY_NAME) {
		buf_adds(why, "a socket has no name that a certificate could be checked for: tls-peer-name is needed");
		return NULL;
	}
	c = xcalloc(1, sizeof *c);
	c->conf = tls->conf;
	c->peer = peer;
	c->ssl = SSL_new(tls->context);
	if (c->ssl != NULL && prepare(c, name, fd))
		return c;
	buf_adds(why, "TLS cannot be started: ");
	add_openssl_error(why);
	tls_disconnect(&c);
	return NULL;
}

struct tls_connection *tls_accept(struct tls *tls, int fd, struct buf *why)
{
	struct tls_connection *c = xcalloc(1, sizeof *c);

	ERR_clear_error();
	c->conf = tls->conf;
	c->ssl = SSL_new(tls->context);
	if (c->ssl != NULL && take_socket(c, fd)) {
		SSL_set_accept_state(c->ssl);
		return c;
	}
	buf_adds(why, "TLS cannot be started: ");
	add_openssl_error(why);
	tls_disconnect(&c);
	return NULL;
}

void tls_disconnect(struct tls_connection **c)
{
	if (*c == NULL)
		return;
	SSL_free((*c)->ssl);
	free(*c);
	*c = NULL;
}

/* Why OpenSSL's call returned `ret`: to be repeated, or the end. */
static enum stream_result why_not(struct tls_connection *c, int ret, struct buf *error)
{
	int system_error = errno;

	buf_clear(error);
	switch (SSL_get_error(c->ssl, ret)) {
	case SSL_ERROR_WANT_READ:
		return STREAM_WAIT_READ;
	case SSL_ERROR_WANT_WRITE:
		return STREAM_WAIT_WRITE;
	case SSL_ERROR_ZERO_RETURN:
		return STREAM_END;
	case SSL_ERROR_SYSCALL:
		buf_adds(error, system_error ? strerror(system_error) : "connection lost");
		ERR_clear_error();
		return STREAM_ERROR;
	default:
		break;
	}
	/* closed without a word: replies have ends of their own, so nothing can be cut off unseen */
	if (ERR_GET_REASON(ERR_peek_error()) == SSL_R_UNEXPECTED_EOF_WHILE_READING) {
		ERR_clear_error();
		return STREAM_END;
	}
	add_openssl_error(error);
	return STREAM_ERROR;
}

static bool has_right_fingerprint(const struct tls_connection *c)
{
	const X509 *certificate = SSL_get0_peer_certificate(c->ssl);
	unsigned char digest[EVP_MAX_MD_SIZE];
	unsigned size;

	if (certificate == NULL || X509_digest(certificate, EVP_sha256(), digest, &size) != 1)
		return false;
	for (size_t i = 0; i < c->conf->fingerprint_count; i++)
		if (size == FINGERPRINT_SIZE && memcmp(digest, c->conf->fingerprints[i].bytes, size) == 0)
			return true;
	return false;
}

/* The reason in words that say what to do about it. */
static void explain_failure(struct tls_connection *c, struct buf *error)
{
	long result = SSL_get_verify_result(c->ssl);
	struct buf reason = { 0 };

	if (result != X509_V_OK && SSL_get_verify_mode(c->ssl) == SSL_VERIFY_PEER)
		buf_addf(&reason, "certificate not accepted: %s%s", X509_verify_cert_error_string(result),
		         result == X509_V_ERR_IP_ADDRESS_MISMATCH || result == X509_V_ERR_HOSTNAME_MISMATCH ?
		         "; if it is the right server, give the name in its certificate as tls-peer-name (tls.conf(5))" : "");
	else
		buf_add(&reason, buf_str(error), error->len);
	buf_clear(error);
	buf_add(error, buf_str(&reason), reason.len);
	buf_free(&reason);
}

enum stream_result tls_handshake(struct tls_connection *c, struct buf *error)
{
	enum stream_result result;
	int ret;

	begin_call(c);
	ret = SSL_do_handshake(c->ssl);
	if (ret != 1) {
		result = why_not(c, ret, error);
		if (result == STREAM_ERROR)
			explain_failure(c, error);
		if (c->peer != NULL && (result == STREAM_ERROR || result == STREAM_END))
			tls_peer_forget(c->peer);
		return result;
	}
	if (c->conf->fingerprint_count == 0)
		return STREAM_OK;
	c->pinned = has_right_fingerprint(c);
	/* of a client it is a right more if it is known, no condition */
	if (c->pinned || c->peer == NULL)
		return STREAM_OK;
	tls_peer_forget(c->peer);
	buf_clear(error);
	buf_adds(error, "certificate not accepted: its fingerprint is none of those in tls-fingerprint");
	return STREAM_ERROR;
}

/* Takes all records that have come in: what OpenSSL holds back, poll(2) does not see. */
enum stream_result tls_read(struct tls_connection *c, char *bytes, size_t size, size_t *count, bool *more,
                            struct buf *error)
{
	enum stream_result result;
	size_t n;
	int ret;

	*count = 0;
	begin_call(c);
	do {
		ERR_clear_error();
		errno = 0;
		n = 0;
		ret = SSL_read_ex(c->ssl, bytes + *count, size - *count, &n);
		*count += n;
	} while (ret == 1 && *count < size && SSL_has_pending(c->ssl));
	*more = ret == 1 && SSL_has_pending(c->ssl);
	if (ret == 1)
		return STREAM_OK;
	result = why_not(c, ret, error);
	if (*count == 0)
		return result;
	/* an end behind the data stays what it is until the next call */
	*more = result == STREAM_END || result == STREAM_ERROR;
	return STREAM_OK;
}

enum stream_result tls_write(struct tls_connection *c, const char *bytes, size_t n, size_t *count, struct buf *error)
{
	int ret;

	begin_call(c);
	*count = 0;
	ret = SSL_write_ex(c->ssl, bytes, n, count);
	if (ret == 1)
		return STREAM_OK;
	return why_not(c, ret, error);
}

void tls_goodbye(struct tls_connection *c)
{
	ERR_clear_error();
	if (SSL_is_init_finished(c->ssl))
		SSL_shutdown(c->ssl);
	ERR_clear_error();
}

/* ---- for the log ---- */

bool tls_verified(const struct tls_connection *c)
{
	return c->pinned || (c->named && SSL_get_verify_result(c->ssl) == X509_V_OK &&
	                     SSL_get0_peer_certificate(c->ssl) != NULL);
}

bool tls_resumed(const struct tls_connection *c)
{
	return SSL_session_reused(c->ssl) == 1;
}

void tls_describe(const struct tls_connection *c, struct buf *out)
{
	const X509 *certificate = SSL_get0_peer_certificate(c->ssl);
	char *name = certificate ? X509_NAME_oneline(X509_get_subject_name(certificate), NULL, 0) : NULL;
	long result = SSL_get_verify_result(c->ssl);

	buf_addf(out, "%s, %s (%d bits), %s handshake", SSL_get_version(c->ssl), SSL_get_cipher_name(c->ssl),
	         SSL_get_cipher_bits(c->ssl, NULL), tls_resumed(c) ? "resumed" : "full");
	if (name != NULL) {
		buf_adds(out, ", certificate of ");
		text_add_clean_string(out, name, 200);
		OPENSSL_free(name);
	}
	if (c->pinned)
		buf_adds(out, ", verified by fingerprint");
	else if (result != X509_V_OK)
		buf_addf(out, ", not verified: %s", X509_verify_cert_error_string(result));
	else if (!c->named)
		buf_adds(out, ", name not verified");
	else
		buf_adds(out, ", verified");
}
