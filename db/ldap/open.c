#include "db/ldap/open.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>

#include "config.h"
#include "db/ldap/cutoff.h"
#include "db/ldap/sieve.h"
#include "lib/clock.h"

#if HAVE_SASL
#include <sasl/sasl.h>
#endif

#define KEEPALIVE_PROBES 3
#define KEEPALIVE_INTERVAL 10

static struct timeval time_left(int64_t deadline)
{
	int64_t ms = deadline - clock_ms();

	if (ms < 1)
		ms = 1;
	return (struct timeval){ .tv_sec = (time_t)(ms / 1000), .tv_usec = (suseconds_t)(ms % 1000) * 1000 };
}

/* What the administrator can do about a code; libldap's words do not say. */
static const struct {
	int code;
	const char *text;
} hints[] = {
	{ LDAP_SERVER_DOWN, "does the server run, and is uri where it listens?" },
	{ LDAP_CONNECT_ERROR, "does the server run, and is uri where it listens?" },
	{ LDAP_TIMEOUT, "the server gives no answer: is it stopped, overloaded, or behind a firewall?" },
	{ LDAP_AUTH_UNKNOWN, "sasl_mech is misspelt, not installed (libsasl2-modules), or not for this connection: EXTERNAL is for ldapi:// and "
	  "for a client's certificate" },
	{ LDAP_TIMELIMIT_EXCEEDED, "a limit of the server: raise it for this bind name (olcLimits), and see that the filter's attributes "
	  "have an index" },
	{ LDAP_SIZELIMIT_EXCEEDED, "more entries than the server gives to this bind name (olcLimits), or than size_limit here" },
	{ LDAP_ADMINLIMIT_EXCEEDED, "a limit of the server: raise it for this bind name (olcLimits), and see that the filter's attributes "
	  "have an index" },
	{ LDAP_AUTH_METHOD_NOT_SUPPORTED, "the server does not offer this kind of bind; see bind and sasl_mech" },
	{ LDAP_STRONG_AUTH_REQUIRED, "add start_tls, or use ldaps:// or ldapi://" },
	{ LDAP_CONFIDENTIALITY_REQUIRED, "add start_tls, or use ldaps:// or ldapi://" },
	{ LDAP_REFERRAL, "base is on another server: name that one in uri" },
	{ LDAP_UNAVAILABLE_CRITICAL_EXTENSION,
	  "this database cannot be followed: give it the overlay syncprov (slapo-syncprov(5))" },
	{ LDAP_NO_SUCH_OBJECT, "base does not exist, or this bind name may not see it (olcAccess)" },
	{ LDAP_INVALID_DN_SYNTAX, "expected a whole name in binddn, such as cn=reader,dc=example" },
	{ LDAP_INAPPROPRIATE_AUTH, "the entry of binddn has no password, or the server wants a bind name (binddn, passwdfile)" },
	{ LDAP_INVALID_CREDENTIALS, "bind name or password is wrong (binddn, passwdfile)" },
	{ LDAP_INSUFFICIENT_ACCESS, "this bind name may not do that (olcAccess)" },
	{ LDAP_OPERATIONS_ERROR, "it may want a bind name (binddn, passwdfile)" },
	{ LDAP_UNWILLING_TO_PERFORM, "it may want a bind name (binddn, passwdfile)" },
};

void ldap_explain(LDAP *ld, int code, struct buf *why)
{
	char *said = NULL;
	size_t n;

	buf_addf(why, "%s (%d)", ldap_err2string(code), code);
	ldap_get_option(ld, LDAP_OPT_DIAGNOSTIC_MESSAGE, &said);
	n = said != NULL ? strlen(said) : 0;
	/* where libsasl has no details */
	while (n > 0 && strchr(": ", said[n - 1]) != NULL)
		n--;
	if (n > 0)
		buf_addf(why, ", %.*s", (int)n, said);
	/* libldap has no code for trouble with TLS, but words for it, which may be "(unknown error code)" */
	if ((code == LDAP_SERVER_DOWN || code == LDAP_CONNECT_ERROR) && said != NULL && said[0] != '\0') {
		buf_adds(why, "; TLS: is the certificate for the host in uri, its issuer in tls_ca_cert_file, and is TLS spoken at this port?");
	} else {
		for (size_t i = 0; i < sizeof hints / sizeof hints[0]; i++)
			if (hints[i].code == code)
				buf_addf(why, "; %s", hints[i].text);
	}
	ldap_memfree(said);
}

int ldap_await(LDAP *ld, int id, int64_t deadline, LDAPMessage **message)
{
	struct timeval left = time_left(deadline);
	int kind, code = LDAP_SERVER_DOWN;

	*message = NULL;
	kind = ldap_result(ld, id, LDAP_MSG_ALL, &left, message);
	if (kind > 0)
		return LDAP_SUCCESS;
	if (kind == 0)
		return LDAP_TIMEOUT;
	ldap_get_option(ld, LDAP_OPT_RESULT_CODE, &code);
	return code != LDAP_SUCCESS ? code : LDAP_SERVER_DOWN;
}

int ldap_code_of(LDAP *ld, LDAPMessage *all, int type, LDAPControl ***controls)
{
	int result = LDAP_PROTOCOL_ERROR, code;
	bool is_there = false;

	for (LDAPMessage *m = ldap_first_message(ld, all); m != NULL; m = ldap_next_message(ld, m))
		is_there = ldap_msgtype(m) == type;
	if (!is_there)
		return LDAP_PROTOCOL_ERROR;
	code = ldap_parse_result(ld, all, &result, NULL, NULL, NULL, controls, 0);
	return code != LDAP_SUCCESS ? code : result;
}

/* The result code of an operation that was sent by a call that returned `code`; its answer is of this type. */
static int finish(LDAP *ld, int code, int id, int type, int64_t deadline)
{
	LDAPMessage *message;

	if (code != LDAP_SUCCESS)
		return code;
	code = ldap_await(ld, id, deadline, &message);
	if (code != LDAP_SUCCESS)
		return code;
	code = ldap_code_of(ld, message, type, NULL);
	ldap_msgfree(message);
	return code;
}

/* ---- the handle ----------------------------------------------------------- */

static int tell_socket(LDAP *ld, Sockbuf *sb, LDAPURLDesc *server, struct sockaddr *address, struct ldap_conncb *ctx)
{
	ber_socket_t fd = -1;

	(void)ld, (void)server, (void)address, (void)ctx;
	if (ber_sockbuf_ctrl(sb, LBER_SB_OPT_GET_FD, &fd) == 1)
		cutoff_watch(fd);
	return LDAP_SUCCESS;
}

static void forget_socket(LDAP *ld, Sockbuf *sb, struct ldap_conncb *ctx)
{
	(void)ld, (void)sb, (void)ctx;
	cutoff_watch(-1);
}

static struct ldap_conncb callbacks = { tell_socket, forget_socket, NULL };

void ldap_ignore_surroundings(void)
{
	static const char name[] = "LDAPNOINIT";
	const int version = LDAP_VERSION3;
	static bool done;
	bool was_set = getenv(name) != NULL;

	if (done)
		return;
	done = true;
	if (!was_set)
		setenv(name, "1", 1);
	ldap_set_option(NULL, LDAP_OPT_PROTOCOL_VERSION, &version);
	if (!was_set)
		unsetenv(name);
}

static int set_text(LDAP *ld, int option, const char *value)
{
	return value != NULL ? ldap_set_option(ld, option, value) : LDAP_OPT_SUCCESS;
}

static bool set_tls(LDAP *ld, const struct ldap_access *a)
{
	const int demand = a->verify ? LDAP_OPT_X_TLS_DEMAND : LDAP_OPT_X_TLS_NEVER;
	const int client = 0;

	return ldap_set_option(ld, LDAP_OPT_X_TLS_REQUIRE_CERT, &demand) == LDAP_OPT_SUCCESS
		&& set_text(ld, LDAP_OPT_X_TLS_CACERTFILE, a->ca_file) == LDAP_OPT_SUCCESS
		&& set_text(ld, LDAP_OPT_X_TLS_CACERTDIR, a->ca_directory) == LDAP_OPT_SUCCESS
		&& set_text(ld, LDAP_OPT_X_TLS_CERTFILE, a->certificate) == LDAP_OPT_SUCCESS
		&& set_text(ld, LDAP_OPT_X_TLS_KEYFILE, a->key) == LDAP_OPT_SUCCESS
		&& set_text(ld, LDAP_OPT_X_TLS_CIPHER_SUITE, a->ciphers) == LDAP_OPT_SUCCESS
		&& ldap_set_option(ld, LDAP_OPT_X_TLS_NEWCTX, &client) == LDAP_OPT_SUCCESS;
}

static bool limit_messages(LDAP *ld)
{
	ber_len_t largest = LDAP_LARGEST_MESSAGE;
	Sockbuf *sb = NULL;

	return ldap_get_option(ld, LDAP_OPT_SOCKBUF, &sb) == LDAP_OPT_SUCCESS
		&& ber_sockbuf_ctrl(sb, LBER_SB_OPT_SET_MAX_INCOMING, &largest) == 1;
}

static LDAP *make_handle(const struct ldap_access *a, const char *uri, int64_t deadline, struct buf *why)
{
	const struct timeval left = time_left(deadline);
	const int version = LDAP_VERSION3, idle = (int)a->keepalive, probes = KEEPALIVE_PROBES, interval = KEEPALIVE_INTERVAL;
	const int debug = (int)a->debug;
	LDAP *ld = NULL;
	int code;

	ldap_ignore_surroundings();
	if (debug != 0) {
		ber_set_option(NULL, LBER_OPT_DEBUG_LEVEL, &debug);
		ldap_set_option(NULL, LDAP_OPT_DEBUG_LEVEL, &debug);
	}
	code = ldap_initialize(&ld, uri);
	if (code != LDAP_SUCCESS) {
		buf_addf(why, "%s: %s", uri, ldap_err2string(code));
		return NULL;
	}
	ldap_set_option(ld, LDAP_OPT_PROTOCOL_VERSION, &version);
	ldap_set_option(ld, LDAP_OPT_REFERRALS, LDAP_OPT_OFF);
	ldap_set_option(ld, LDAP_OPT_RESTART, LDAP_OPT_ON);
	ldap_set_option(ld, LDAP_OPT_NETWORK_TIMEOUT, &left);
	ldap_set_option(ld, LDAP_OPT_X_KEEPALIVE_IDLE, &idle);
	ldap_set_option(ld, LDAP_OPT_X_KEEPALIVE_PROBES, &probes);
	ldap_set_option(ld, LDAP_OPT_X_KEEPALIVE_INTERVAL, &interval);
	ldap_set_option(ld, LDAP_OPT_CONNECT_CB, &callbacks);
	if (!limit_messages(ld))
		buf_addf(why, "%s: libldap cannot limit the size of messages", uri);
	else if ((a->start_tls || strncmp(uri, "ldaps:", 6) == 0) && !set_tls(ld, a))
		buf_addf(why, "%s: TLS settings: certificates, key or ciphers cannot be used", uri);
	else
		return ld;
	ldap_close(&ld);
	return NULL;
}

void ldap_close(LDAP **ld)
{
	if (*ld != NULL)
		ldap_unbind_ext(*ld, NULL, NULL);
	*ld = NULL;
}

/* ---- steps ---------------------------------------------------------------- */

#if HAVE_SASL
static int interact(LDAP *ld, unsigned flags, void *access, void *questions)
{
	const struct ldap_access *a = access;

	(void)ld, (void)flags;
	for (sasl_interact_t *q = questions; q->id != SASL_CB_LIST_END; q++) {
		const char *answer = NULL;

		switch (q->id) {
		case SASL_CB_GETREALM: answer = a->sasl_realm; break;
		case SASL_CB_AUTHNAME: answer = a->sasl_authcid; break;
		case SASL_CB_USER: answer = a->sasl_authzid; break;
		case SASL_CB_PASS: answer = a->password; break;
		}
		q->result = answer != NULL ? answer : q->defresult != NULL ? q->defresult : "";
		q->len = (unsigned)strlen(q->result);
	}
	return LDAP_SUCCESS;
}

static int bind_sasl(LDAP *ld, const struct ldap_access *a, int64_t deadline)
{
	struct ldap_access given = *a;
	LDAPMessage *message = NULL;
	const char *mechanism = NULL;
	int code, id = 0;

	if (set_text(ld, LDAP_OPT_X_SASL_SECPROPS, a->sasl_properties) != LDAP_OPT_SUCCESS)
		return LDAP_PARAM_ERROR;
	for (;;) {
		code = ldap_sasl_interactive_bind(ld, NULL, a->sasl_mechanism, NULL, NULL, LDAP_SASL_QUIET, interact, &given,
		                                  message, &mechanism, &id);
		ldap_msgfree(message);
		message = NULL;
		if (code != LDAP_SASL_BIND_IN_PROGRESS)
			return code;
		code = ldap_await(ld, id, deadline, &message);
		if (code != LDAP_SUCCESS)
			return code;
	}
}
#else
static int bind_sasl(LDAP *ld, const struct ldap_access *a, int64_t deadline)
{
	(void)ld, (void)a, (void)deadline;
	return LDAP_AUTH_METHOD_NOT_SUPPORTED;
}
#endif

static int run_bind(LDAP *ld, const struct ldap_access *a, int64_t deadline)
{
	struct berval password = { 0, NULL };
	int id = 0, code;

	switch (a->bind) {
	case LDAP_BIND_NONE: return ldap_connect(ld);
	case LDAP_BIND_SIMPLE:
		if (a->password != NULL)
			password = (struct berval){ strlen(a->password), a->password };
		code = ldap_sasl_bind(ld, a->binddn, LDAP_SASL_SIMPLE, &password, NULL, NULL, &id);
		return finish(ld, code, id, LDAP_RES_BIND, deadline);
	case LDAP_BIND_SASL: return bind_sasl(ld, a, deadline);
	}
	return LDAP_LOCAL_ERROR;
}

/*
 * ldap_result() waits for the first byte of a message with its timeout, and then reads the head of it without one, or a
 * whole record of TLS; where the socket does not block it comes back for the rest.
 */
static bool never_block(LDAP *ld)
{
	int fd = -1, flags;

	ldap_get_option(ld, LDAP_OPT_DESC, &fd);
	flags = fcntl(fd, F_GETFL);
	return flags >= 0 && fcntl(fd, F_SETFL, flags | O_NONBLOCK) >= 0;
}

/* Above the layers of TLS and SASL, which are there by now; the socket does not block any more. */
static bool bear_large_entries(LDAP *ld)
{
	Sockbuf *sb = NULL;

	return ldap_get_option(ld, LDAP_OPT_SOCKBUF, &sb) == LDAP_OPT_SUCCESS && sieve_begin(sb, LDAP_LARGEST_MESSAGE);
}

static LDAP *open_server(const struct ldap_access *a, const char *uri, int64_t deadline, struct buf *why)
{
	LDAP *ld = make_handle(a, uri, deadline, why);
	const char *step = "StartTLS";
	int code = LDAP_SUCCESS;

	if (ld == NULL)
		return NULL;
	cutoff_begin(deadline);
	if (a->start_tls) {
		int id = 0, answer = ldap_start_tls(ld, NULL, NULL, &id);

		answer = finish(ld, answer, id, LDAP_RES_EXTENDED, deadline);
		code = answer == LDAP_SUCCESS ? ldap_install_tls(ld) : answer;
	}
	if (code == LDAP_SUCCESS) {
		step = a->bind == LDAP_BIND_NONE ? "connect" : a->binddn != NULL || a->bind == LDAP_BIND_SASL ? "bind"
		       : "anonymous bind";
		code = run_bind(ld, a, deadline);
	}
	if (cutoff_end() && code != LDAP_SUCCESS)
		code = LDAP_TIMEOUT;
	if (code == LDAP_SUCCESS && !(never_block(ld) && bear_large_entries(ld)))
		code = LDAP_LOCAL_ERROR;
	if (code == LDAP_SUCCESS)
		return ld;
	buf_addf(why, "%s: %s: ", uri, step);
	ldap_explain(ld, code, why);
	ldap_close(&ld);
	return NULL;
}

size_t ldap_servers(const struct ldap_access *access)
{
	size_t count = 0;

	while (access->uris[count] != NULL)
		count++;
	return count;
}

LDAP *ldap_open_any(const struct ldap_access *access, size_t *server, int64_t deadline, struct buf *why)
{
	const size_t count = ldap_servers(access);
	LDAP *ld = NULL;

	for (size_t i = 0; i < count && ld == NULL; i++) {
		const int64_t now = clock_ms(), longest = now + access->network_timeout * 1000;
		/* a silent one leaves the others their share */
		const int64_t share = now + (deadline - now) / (int64_t)(count - i);

		if (i > 0)
			buf_adds(why, "; ");
		ld = open_server(access, access->uris[*server], longest < share ? longest : share, why);
		if (ld == NULL)
			*server = (*server + 1) % count;
	}
	return ld;
}
