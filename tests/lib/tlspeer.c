/*
 * tlspeer: terminates TLS in front of a server that knows none, well or badly.
 *
 *   tlspeer -l ADDRESS|unix:PATH -b PATH -c CERT -k KEY [option ...]
 *
 * Listens on -l (an IPv4 address, at a port of the system's choice), prints "port N" ("port 0" for a socket) when it is
 * ready, and passes everything on to the UNIX socket of -b.  When the server answers STARTTLS with 220,
 * TLS begins.  One line is printed for each handshake: "handshake full|resumed VERSION" or "handshake failed: REASON".
 *
 *   -w          TLS from the first byte
 *   -A FILE     demand a certificate issued by the CA in FILE
 *   -n, -m V    lowest and highest protocol: 1.0, 1.1, 1.2, 1.3
 *   -i TEXT     send TEXT in clear in the same write as the 220
 *   -x HOW      instead of the handshake: close, garbage, silent (until the client goes), drip (a byte of it each 100 ms),
 *               half (a record that ends in the middle), huge (a record larger than any may be), hello
 *               (requests for a handshake, as fast as it goes)
 *   -C N        the certificate is sent N times more, as its chain
 *   -f WHAT     behind the handshake, nothing but tickets, keys (new ones) or hello (asks for another handshake), until the
 *               client goes
 *   -q          at the end, close without saying so in TLS; -t: in the middle of a record
 *   -r          renew nothing: refuse to resume sessions
 *   -B N        under TLS, records carry N bytes at most
 */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sysexits.h>
#include <unistd.h>

struct settings {
	const char *listen, *backend;
	const char *cert, *key, *ca;
	const char *inject, *broken, *flood;
	int min, max;
	bool wrapped, no_resumption, quiet, truncated;
	size_t record, chain;
};

struct relay {
	const struct settings *set;
	SSL_CTX *context;
	SSL *ssl;              /* NULL = in clear */
	int client, backend;
	bool asked;            /* the client has sent STARTTLS; the server's answer is open */
	bool client_done;
};

static _Noreturn void give_up(const char *what)
{
	fprintf(stderr, "tlspeer: %s: %s\n", what, strerror(errno));
	ERR_print_errors_fp(stderr);
	exit(EX_UNAVAILABLE);
}

static int version(const char *name)
{
	static const struct { const char *name; int version; } versions[] = {
		{ "1.0", TLS1_VERSION }, { "1.1", TLS1_1_VERSION }, { "1.2", TLS1_2_VERSION }, { "1.3", TLS1_3_VERSION },
	};

	for (size_t i = 0; i < sizeof versions / sizeof versions[0]; i++)
		if (strcmp(versions[i].name, name) == 0)
			return versions[i].version;
	fprintf(stderr, "tlspeer: unknown protocol %s\n", name);
	exit(EX_USAGE);
}

static void parse(struct settings *set, int argc, char **argv)
{
	int c;

	while ((c = getopt(argc, argv, "A:b:B:c:C:f:i:k:l:m:n:qrtwx:")) != -1) {
		switch (c) {
		case 'A': set->ca = optarg; break;
		case 'b': set->backend = optarg; break;
		case 'B': set->record = strtoul(optarg, NULL, 10); break;
		case 'c': set->cert = optarg; break;
		case 'C': set->chain = strtoul(optarg, NULL, 10); break;
		case 'f': set->flood = optarg; break;
		case 'i': set->inject = optarg; break;
		case 'k': set->key = optarg; break;
		case 'l': set->listen = optarg; break;
		case 'm': set->max = version(optarg); break;
		case 'n': set->min = version(optarg); break;
		case 'r': set->no_resumption = true; break;
		case 'q': set->quiet = true; break;
		case 't': set->truncated = true; break;
		case 'w': set->wrapped = true; break;
		case 'x': set->broken = optarg; break;
		default: exit(EX_USAGE);
		}
	}
	if (set->listen == NULL || set->backend == NULL || set->cert == NULL || set->key == NULL) {
		fprintf(stderr, "tlspeer: -l, -b, -c and -k are needed\n");
		exit(EX_USAGE);
	}
}

static SSL_CTX *make_context(const struct settings *set)
{
	SSL_CTX *context = SSL_CTX_new(TLS_server_method());

	if (context == NULL || SSL_CTX_use_certificate_chain_file(context, set->cert) != 1 ||
	    SSL_CTX_use_PrivateKey_file(context, set->key, SSL_FILETYPE_PEM) != 1)
		give_up(set->cert);
	/* the old protocols that clients must refuse need this */
	SSL_CTX_set_security_level(context, 0);
	SSL_CTX_set_min_proto_version(context, set->min);
	SSL_CTX_set_max_proto_version(context, set->max);
	SSL_CTX_set_read_ahead(context, 1);
	SSL_CTX_set_session_id_context(context, (const unsigned char *)"tlspeer", 7);
	if (set->no_resumption) {
		SSL_CTX_set_options(context, SSL_OP_NO_TICKET);
		SSL_CTX_set_num_tickets(context, 0);
		SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_OFF);
	}
	for (size_t i = 0; i < set->chain; i++)
		if (SSL_CTX_add1_chain_cert(context, SSL_CTX_get0_certificate(context)) != 1)
			give_up("chain");
	if (set->record > 0)
		SSL_CTX_set_max_send_fragment(context, set->record);
	if (set->ca != NULL) {
		if (SSL_CTX_load_verify_file(context, set->ca) != 1)
			give_up(set->ca);
		SSL_CTX_set_verify(context, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, NULL);
	}
	return context;
}

/* ---- one connection ---- */

static int connect_backend(const char *path)
{
	struct sockaddr_un un = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM, 0);

	snprintf(un.sun_path, sizeof un.sun_path, "%s", path);
	if (fd < 0 || connect(fd, (struct sockaddr *)&un, sizeof un) != 0)
		give_up(path);
	return fd;
}

static void send_all(int fd, const char *bytes, size_t n)
{
	while (n > 0) {
		ssize_t done = send(fd, bytes, n, MSG_NOSIGNAL);

		if (done < 0)
			exit(0);    /* the other side is gone, which is its good right */
		bytes += done;
		n -= (size_t)done;
	}
}

static void to_client(struct relay *r, const char *bytes, size_t n)
{
	if (r->ssl == NULL)
		send_all(r->client, bytes, n);
	else if (n > 0 && SSL_write(r->ssl, bytes, (int)n) <= 0)
		exit(0);
}

static void wait_for_end(int fd)
{
	char bytes[4096];

	while (recv(fd, bytes, sizeof bytes, 0) > 0)
		;
}

/* All that a good server says, but slowly. */
static void drip(struct relay *r)
{
	BIO *in = BIO_new(BIO_s_mem()), *out = BIO_new(BIO_s_mem());
	char bytes[4096];
	ssize_t n;

	r->ssl = SSL_new(r->context);
	SSL_set_bio(r->ssl, in, out);
	while ((n = recv(r->client, bytes, sizeof bytes, 0)) > 0) {
		BIO_write(in, bytes, (int)n);
		SSL_accept(r->ssl);
		while (BIO_read(out, bytes, 1) == 1) {
			send_all(r->client, bytes, 1);
			usleep(100000);
		}
	}
}

static _Noreturn void break_handshake(struct relay *r)
{
	char hello[1];

	if (strcmp(r->set->broken, "drip") == 0)
		drip(r);
	recv(r->client, hello, sizeof hello, 0);
	if (strcmp(r->set->broken, "half") == 0) {
		send_all(r->client, "\x16\x03\x03\x02\x00\x02\x00", 7);
		shutdown(r->client, SHUT_RDWR);
	}
	if (strcmp(r->set->broken, "hello") == 0) {
		static char record[5 + 16384] = "\x16\x03\x03\x40";

		for (;;)
			send_all(r->client, record, sizeof record);
	}
	if (strcmp(r->set->broken, "huge") == 0)
		send_all(r->client, "\x16\x03\x03\xff\xff\x02\x00", 7);
	if (strcmp(r->set->broken, "garbage") == 0)
		send_all(r->client, "250 2.0.0 this is no TLS\r\n", 26);
	if (strcmp(r->set->broken, "close") == 0)
		shutdown(r->client, SHUT_RDWR);
	wait_for_end(r->client);
	exit(0);
}

/* What no client asks for, as fast as it goes. */
static _Noreturn void flood(struct relay *r)
{
	for (;;) {
		if (strcmp(r->set->flood, "tickets") == 0)
			SSL_new_session_ticket(r->ssl);
		else if (strcmp(r->set->flood, "keys") == 0)
			SSL_key_update(r->ssl, SSL_KEY_UPDATE_NOT_REQUESTED);
		else
			SSL_renegotiate(r->ssl);
		if (SSL_do_handshake(r->ssl) <= 0 && SSL_get_error(r->ssl, -1) != SSL_ERROR_WANT_READ)
			exit(0);
	}
}

static void handshake(struct relay *r)
{
	if (r->set->broken != NULL)
		break_handshake(r);
	r->ssl = SSL_new(r->context);
	if (r->ssl == NULL || SSL_set_fd(r->ssl, r->client) != 1)
		give_up("SSL_new");
	if (SSL_accept(r->ssl) == 1) {
		printf("handshake %s %s\n", SSL_session_reused(r->ssl) ? "resumed" : "full", SSL_get_version(r->ssl));
		fflush(stdout);
		if (r->set->flood != NULL)
			flood(r);
		return;
	}
	printf("handshake failed: %s\n", ERR_reason_error_string(ERR_peek_error()));
	fflush(stdout);
	exit(0);
}

static bool ends_with(const char *bytes, size_t n, const char *end)
{
	size_t m = strlen(end);

	return n >= m && strncasecmp(bytes + n - m, end, m) == 0;
}

static void from_client(struct relay *r)
{
	char bytes[16384];
	ssize_t n = r->ssl ? SSL_read(r->ssl, bytes, sizeof bytes) : recv(r->client, bytes, sizeof bytes, 0);

	if (n <= 0) {
		r->client_done = true;
		shutdown(r->backend, SHUT_WR);
		return;
	}
	if (r->ssl == NULL)
		r->asked = ends_with(bytes, (size_t)n, "STARTTLS\r\n");
	send_all(r->backend, bytes, (size_t)n);
}

static void from_backend(struct relay *r)
{
	char bytes[16384 + 1000];
	ssize_t n = recv(r->backend, bytes, 16384, 0);
	bool begin;

	if (n <= 0) {
		if (r->ssl != NULL && r->set->truncated)
			send_all(r->client, "\x17\x03\x03\x00\x40" "abcde", 10);
		else if (r->ssl != NULL && !r->set->quiet)
			SSL_shutdown(r->ssl);
		exit(0);
	}
	begin = r->asked && strncmp(bytes, "220", 3) == 0;
	if (begin && r->set->inject != NULL) {
		memcpy(bytes + n, r->set->inject, strlen(r->set->inject));
		n += (ssize_t)strlen(r->set->inject);
	}
	r->asked = false;
	to_client(r, bytes, (size_t)n);
	if (begin)
		handshake(r);
}

static void relay(struct relay *r)
{
	if (r->set->wrapped)
		handshake(r);
	for (;;) {
		struct pollfd fds[2] = {
			{ .fd = r->client_done ? -1 : r->client, .events = POLLIN }, { .fd = r->backend, .events = POLLIN },
		};
		bool waiting = r->ssl != NULL && !r->client_done && SSL_has_pending(r->ssl);

		if (poll(fds, 2, waiting ? 0 : -1) < 0)
			continue;
		if (fds[0].revents != 0 || waiting)
			from_client(r);
		if (fds[1].revents != 0)
			from_backend(r);
	}
}

/* ---- listening ---- */

static int listen_tcp(const char *address)
{
	struct sockaddr_in in = { .sin_family = AF_INET };
	socklen_t length = sizeof in;
	int fd = socket(AF_INET, SOCK_STREAM, 0);

	if (fd < 0 || inet_pton(AF_INET, address, &in.sin_addr) != 1 ||
	    bind(fd, (struct sockaddr *)&in, sizeof in) != 0 || listen(fd, 100) != 0 ||
	    getsockname(fd, (struct sockaddr *)&in, &length) != 0)
		give_up(address);
	printf("port %u\n", ntohs(in.sin_port));
	return fd;
}

static int listen_unix(const char *path)
{
	struct sockaddr_un un = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM, 0);

	snprintf(un.sun_path, sizeof un.sun_path, "%s", path);
	if (fd < 0 || bind(fd, (struct sockaddr *)&un, sizeof un) != 0 || listen(fd, 100) != 0)
		give_up(path);
	printf("port 0\n");
	return fd;
}

int main(int argc, char **argv)
{
	struct settings set = { .min = TLS1_2_VERSION, .max = TLS1_3_VERSION };
	struct relay r = { .set = &set };
	int listener;

	/* nobody must be left over when a test ends */
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	signal(SIGCHLD, SIG_IGN);
	signal(SIGPIPE, SIG_IGN);
	parse(&set, argc, argv);
	r.context = make_context(&set);
	listener = strncmp(set.listen, "unix:", 5) == 0 ? listen_unix(set.listen + 5) : listen_tcp(set.listen);
	fflush(stdout);
	while ((r.client = accept(listener, NULL, NULL)) >= 0) {
		/* tickets can be read by every child, as their keys are made with the context */
		if (fork() == 0) {
			prctl(PR_SET_PDEATHSIG, SIGKILL);
			r.backend = connect_backend(set.backend);
			relay(&r);
		}
		close(r.client);
	}
	give_up("accept");
}
