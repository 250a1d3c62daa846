#include "tests/unit/unit.h"

#include <fcntl.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>
#include <signal.h>
#include <sys/socket.h>
#include <unistd.h>

#include "channel/net/stream.h"
#include "channel/net/tls.h"

/* A server in this process, at the other end of a socket pair, with a self-signed certificate. */
struct pair {
	int fds[2];            /* ours, the server's */
	SSL_CTX *context;
	SSL *server;
	struct tlsconf conf;
	struct tls *tls;
	struct tls_peer peer;
	struct stream stream;
};

static SSL_CTX *server_context(void)
{
	SSL_CTX *context = SSL_CTX_new(TLS_server_method());
	EVP_PKEY *key = EVP_EC_gen("P-256");
	X509 *certificate = X509_new();
	X509_NAME *name = X509_get_subject_name(certificate);

	X509_set_version(certificate, X509_VERSION_3);
	ASN1_INTEGER_set(X509_get_serialNumber(certificate), 1);
	X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_ASC, (const unsigned char *)"test", -1, -1, 0);
	X509_set_issuer_name(certificate, name);
	X509_gmtime_adj(X509_getm_notBefore(certificate), -60);
	X509_gmtime_adj(X509_getm_notAfter(certificate), 3600);
	X509_set_pubkey(certificate, key);
	assert_true(X509_sign(certificate, key, EVP_sha256()) > 0);
	assert_int_equal(SSL_CTX_use_certificate(context, certificate), 1);
	assert_int_equal(SSL_CTX_use_PrivateKey(context, key), 1);
	X509_free(certificate);
	EVP_PKEY_free(key);
	return context;
}

static int connect_pair(void **state)
{
	struct pair *p = calloc(1, sizeof *p);
	struct buf why = { 0 };
	int size = 4096;

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, p->fds), 0);
	/* so that a large write cannot be swallowed whole */
	setsockopt(p->fds[0], SOL_SOCKET, SO_SNDBUF, &size, sizeof size);
	p->context = server_context();
	p->server = SSL_new(p->context);
	SSL_set_fd(p->server, p->fds[1]);
	p->conf.verify = TLS_VERIFY_NONE;
	p->tls = tls_create(&p->conf, &why);
	assert_non_null(p->tls);
	stream_open(&p->stream, p->fds[0]);
	assert_true(stream_start_tls(&p->stream, p->tls, &p->peer, "store.example"));
	for (int turn = 0; turn < 10; turn++) {
		enum stream_result ours = stream_handshake(&p->stream);

		if (SSL_accept(p->server) == 1 && ours == STREAM_OK)
			break;
		assert_int_not_equal(ours, STREAM_ERROR);
		assert_int_not_equal(turn, 9);
	}
	*state = p;
	return 0;
}

static int close_pair(void **state)
{
	struct pair *p = *state;

	stream_close(&p->stream);
	SSL_free(p->server);
	SSL_CTX_free(p->context);
	tls_peer_forget(&p->peer);
	tls_destroy(&p->tls);
	close(p->fds[1]);
	free(p);
	return 0;
}

static void several_records_are_read_at_once(void **state)
{
	struct pair *p = *state;
	char bytes[100];
	size_t n = 0;

	assert_int_equal(SSL_write(p->server, "one ", 4), 4);
	assert_int_equal(SSL_write(p->server, "two ", 4), 4);
	assert_int_equal(SSL_write(p->server, "three", 5), 5);
	assert_int_equal(stream_read(&p->stream, bytes, sizeof bytes, &n), STREAM_OK);
	assert_int_equal(n, 13);
	assert_memory_equal(bytes, "one two three", 13);
	assert_false(p->stream.more);
	assert_int_equal(stream_read(&p->stream, bytes, sizeof bytes, &n), STREAM_WAIT_READ);
}

/* poll(2) would say nothing about what OpenSSL has read already. */
static void what_has_no_room_is_announced(void **state)
{
	struct pair *p = *state;
	char bytes[4];
	size_t n = 0;

	assert_int_equal(SSL_write(p->server, "abcdef", 6), 6);
	assert_int_equal(stream_read(&p->stream, bytes, sizeof bytes, &n), STREAM_OK);
	assert_int_equal(n, 4);
	assert_true(p->stream.more);
	assert_int_equal(stream_read(&p->stream, bytes, sizeof bytes, &n), STREAM_OK);
	assert_int_equal(n, 2);
	assert_memory_equal(bytes, "ef", 2);
	assert_false(p->stream.more);
}

static void an_end_behind_the_last_words_is_seen_without_poll(void **state)
{
	struct pair *p = *state;
	char bytes[100];
	size_t n = 0;

	assert_int_equal(SSL_write(p->server, "421 bye", 7), 7);
	SSL_shutdown(p->server);
	assert_int_equal(stream_read(&p->stream, bytes, sizeof bytes, &n), STREAM_OK);
	assert_int_equal(n, 7);
	assert_true(p->stream.more);
	assert_int_equal(stream_read(&p->stream, bytes, sizeof bytes, &n), STREAM_END);
}

static void an_end_without_goodbye_is_an_end(void **state)
{
	struct pair *p = *state;
	char bytes[100];
	size_t n = 0;

	shutdown(p->fds[1], SHUT_WR);
	assert_int_equal(stream_read(&p->stream, bytes, sizeof bytes, &n), STREAM_END);
}

static void garbage_in_place_of_a_record_is_an_error(void **state)
{
	struct pair *p = *state;
	char bytes[100];
	size_t n = 0;

	assert_int_equal(write(p->fds[1], "250 2.0.0 not encrypted at all\r\n", 32), 32);
	assert_int_equal(stream_read(&p->stream, bytes, sizeof bytes, &n), STREAM_ERROR);
	assert_int_not_equal(p->stream.error.len, 0);
}

/* The caller's buffer grows and moves while a record waits to be written. */
static void a_write_goes_on_from_memory_that_has_moved(void **state)
{
	enum { SIZE = 300000 };
	struct pair *p = *state;
	char *sent = malloc(SIZE), *got = malloc(SIZE);
	size_t done = 0, received = 0;
	bool waited = false;

	for (size_t i = 0; i < SIZE; i++)
		sent[i] = (char)(i * 7 + i / 256);
	while (received < SIZE) {
		size_t n = 0;
		int r;

		if (done < SIZE) {
			char *copy = malloc(SIZE - done);
			enum stream_result result;

			memcpy(copy, sent + done, SIZE - done);
			result = stream_write(&p->stream, copy, SIZE - done, &n);
			free(copy);
			if (result == STREAM_WAIT_WRITE)
				waited = true;
			else
				assert_int_equal(result, STREAM_OK);
			done += n;
		}
		while (received < SIZE && (r = SSL_read(p->server, got + received, (int)(SIZE - received))) > 0)
			received += (size_t)r;
	}
	assert_true(waited);
	assert_memory_equal(sent, got, SIZE);
	free(sent);
	free(got);
}

static void who_the_peer_is_stays_open_without_a_check(void **state)
{
	struct pair *p = *state;
	struct buf text = { 0 };

	assert_false(tls_verified(p->stream.tls));
	tls_describe(p->stream.tls, &text);
	assert_non_null(strstr(buf_str(&text), "TLSv1.3"));
	assert_non_null(strstr(buf_str(&text), "certificate of /CN=test"));
	assert_non_null(strstr(buf_str(&text), "not verified: self-signed certificate"));
	buf_free(&text);
}

static void settings_that_cannot_be_used_are_named(void **state)
{
	static const struct { struct tlsconf conf; const char *why; } cases[] = {
		{ { .cipher_list = (char *)"no-such-cipher" }, "tls-cipher-list no-such-cipher: no cipher match" },
		{ { .cert_file = (char *)"/nonexistent/c.pem" }, "certificate /nonexistent/c.pem: " },
		{ { .ca_file = (char *)"/nonexistent/ca.pem" }, "CA file /nonexistent/ca.pem: " },
		{ { .cert_file = (char *)"/dev/null" }, "certificate /dev/null: " },
	};

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		struct buf why = { 0 };

		assert_null(tls_create(&cases[i].conf, &why));
		assert_memory_equal(buf_str(&why), cases[i].why, strlen(cases[i].why));
		buf_free(&why);
	}
}

static struct pair *waiting_pair(void **state)
{
	struct pair *p = *state;

	/* a peer that keeps us would keep us for ever: then this test ends by a signal */
	alarm(60);
	fcntl(p->fds[1], F_SETFL, 0);
	return p;
}

/* The server does nothing but this from now on, faster than we can read. */
static pid_t flood(struct pair *p, const char *bytes, size_t n)
{
	pid_t child = fork();

	if (child != 0)
		return child;
	while (n == 0 ? SSL_key_update(p->server, SSL_KEY_UPDATE_NOT_REQUESTED) == 1 && SSL_do_handshake(p->server) == 1
	              : send(p->fds[1], bytes, n, MSG_NOSIGNAL) > 0)
		;
	_exit(0);
}

static void new_keys_without_end_keep_nobody(void **state)
{
	struct pair *p = waiting_pair(state);
	pid_t child = flood(p, NULL, 0);
	char bytes[100];
	size_t n = 0;

	for (int i = 0; i < 20; i++)
		assert_int_equal(stream_read(&p->stream, bytes, sizeof bytes, &n), STREAM_WAIT_READ);
	kill(child, SIGKILL);
	alarm(0);
}

/* They are not even counted while a handshake goes on. */
static void requests_for_a_handshake_keep_nobody(void **state)
{
	static char record[5 + 16384] = "\x16\x03\x03\x40";
	struct pair *p = waiting_pair(state);
	pid_t child;

	stream_close(&p->stream);
	close(p->fds[1]);
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, p->fds), 0);
	fcntl(p->fds[0], F_SETFL, O_NONBLOCK);
	stream_open(&p->stream, p->fds[0]);
	assert_true(stream_start_tls(&p->stream, p->tls, &p->peer, "store.example"));
	child = flood(p, record, sizeof record);
	for (int i = 0; i < 20; i++)
		assert_int_equal(stream_handshake(&p->stream), STREAM_WAIT_READ);
	kill(child, SIGKILL);
	alarm(0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(several_records_are_read_at_once, connect_pair, close_pair),
		cmocka_unit_test_setup_teardown(new_keys_without_end_keep_nobody, connect_pair, close_pair),
		cmocka_unit_test_setup_teardown(requests_for_a_handshake_keep_nobody, connect_pair, close_pair),
		cmocka_unit_test_setup_teardown(what_has_no_room_is_announced, connect_pair, close_pair),
		cmocka_unit_test_setup_teardown(an_end_behind_the_last_words_is_seen_without_poll, connect_pair, close_pair),
		cmocka_unit_test_setup_teardown(an_end_without_goodbye_is_an_end, connect_pair, close_pair),
		cmocka_unit_test_setup_teardown(garbage_in_place_of_a_record_is_an_error, connect_pair, close_pair),
		cmocka_unit_test_setup_teardown(a_write_goes_on_from_memory_that_has_moved, connect_pair, close_pair),
		cmocka_unit_test_setup_teardown(who_the_peer_is_stays_open_without_a_check, connect_pair, close_pair),
		cmocka_unit_test(settings_that_cannot_be_used_are_named),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
