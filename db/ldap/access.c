#include "db/ldap/access.h"

#include <errno.h>
#include <fcntl.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>
#include <unistd.h>

#include <ldap.h>

#include "lib/alloc.h"
#include "lib/file.h"
#include "lib/text.h"

#define DEFAULT_NETWORK_TIMEOUT 5
#define DEFAULT_TIMEOUT 10
#define DEFAULT_KEEPALIVE 60
#define LONGEST_TIMEOUT 3600
#define LARGEST_FILE (1u << 20)

/* Where Debian keeps the certificates of all authorities; libldap itself has no default without its own ldap.conf. */
#define DEFAULT_CA_FILE "/etc/ssl/certs/ca-certificates.crt"

/* What stands between reading the lines and checking them. */
struct draft {
	struct ldap_access *access;
	char **hosts;                      /* of ldaphost, which uri overrides */
	char *port;
	const struct setting *password;    /* the line that holds it */
	const struct settings *settings;
	const char *file;
	struct buf *why;
};

/* ---- one setting ---------------------------------------------------------- */

static int take_uri(struct draft *d, const struct setting *s)
{
	return setting_words(s, &d->access->uris, d->why);
}

static int take_host(struct draft *d, const struct setting *s)
{
	return setting_words(s, &d->hosts, d->why);
}

static int take_port(struct draft *d, const struct setting *s)
{
	unsigned long port;

	if (setting_number(s, 65535, &port, d->why) != EX_OK)
		return EX_CONFIG;
	return setting_text(s, &d->port, d->why);
}

static int take_bind(struct draft *d, const struct setting *s)
{
	static const char *const words[] = { "no", "none", "yes", "simple", "sasl", NULL };
	static const enum ldap_bind meaning[] = {
		LDAP_BIND_NONE, LDAP_BIND_NONE, LDAP_BIND_SIMPLE, LDAP_BIND_SIMPLE, LDAP_BIND_SASL,
	};
	int i = 0, status = setting_choice(s, words, &i, d->why);

	d->access->bind = meaning[i];
	return status;
}

static int take_binddn(struct draft *d, const struct setting *s)
{
	/* Postfix's default, often written out, is empty */
	return s->value[0] == '\0' ? EX_OK : setting_text(s, &d->access->binddn, d->why);
}

static int take_password(struct draft *d, const struct setting *s)
{
	d->password = s;
	return s->value[0] == '\0' ? EX_OK : setting_text(s, &d->access->password, d->why);
}

static int take_minimal_strength(struct draft *d, const struct setting *s)
{
	unsigned long factor;

	if (setting_number(s, 1024, &factor, d->why) != EX_OK)
		return EX_CONFIG;
	free(d->access->sasl_properties);
	d->access->sasl_properties = xasprintf("minssf=%lu", factor);
	return EX_OK;
}

static int take_version(struct draft *d, const struct setting *s)
{
	if (strcmp(s->value, "3") != 0)
		return setting_error(s, d->why, "only version 3 of LDAP is spoken (RFC 3494)");
	return EX_OK;
}

static int take_referrals(struct draft *d, const struct setting *s)
{
	bool chase = false;

	if (setting_bool(s, &chase, d->why) != EX_OK)
		return EX_CONFIG;
	if (chase)
		return setting_error(s, d->why, "referrals are never followed, as the password would go to servers that are not named here");
	return EX_OK;
}

static int take_random_file(struct draft *d, const struct setting *s)
{
	return setting_error(s, d->why, "has had no meaning for many years; remove it");
}

#define FIELD(name) offsetof(struct ldap_access, name)

/*
 * All settings.  Those with `take` have something special about them; the others are a text, a yes or no, or an
 * interval of at most `longest` seconds.
 */
enum kind { SPECIAL, TEXT, YES_NO, SECONDS, NUMBER };

static const struct known {
	const char *name;
	const char *aliases[3];
	enum kind kind;
	size_t field;
	int (*take)(struct draft *, const struct setting *);
} known[] = {
	{ "uri", { "server_host" }, SPECIAL, 0, take_uri },
	{ "ldaphost", { NULL }, SPECIAL, 0, take_host },
	{ "ldapport", { "server_port" }, SPECIAL, 0, take_port },
	{ "bind", { "authmethod" }, SPECIAL, 0, take_bind },
	{ "binddn", { "bind_dn" }, SPECIAL, 0, take_binddn },
	{ "passwd", { "bind_pw" }, SPECIAL, 0, take_password },
	{ "passwdfile", { "bind_pw_file" }, TEXT, FIELD(password_file), NULL },
	{ "clear_password", { NULL }, YES_NO, FIELD(clear_password), NULL },
	{ "sasl_mech", { "sasl_mechs" }, TEXT, FIELD(sasl_mechanism), NULL },
	{ "sasl_realm", { NULL }, TEXT, FIELD(sasl_realm), NULL },
	{ "sasl_authc_id", { NULL }, TEXT, FIELD(sasl_authcid), NULL },
	{ "sasl_authz_id", { NULL }, TEXT, FIELD(sasl_authzid), NULL },
	{ "sasl_secprops", { NULL }, TEXT, FIELD(sasl_properties), NULL },
	{ "sasl_minssf", { NULL }, SPECIAL, 0, take_minimal_strength },
	{ "start_tls", { NULL }, YES_NO, FIELD(start_tls), NULL },
	{ "tls_require_cert", { NULL }, YES_NO, FIELD(verify), NULL },
	{ "tls_ca_cert_file", { NULL }, TEXT, FIELD(ca_file), NULL },
	{ "tls_ca_cert_dir", { NULL }, TEXT, FIELD(ca_directory), NULL },
	{ "tls_cert", { NULL }, TEXT, FIELD(certificate), NULL },
	{ "tls_key", { NULL }, TEXT, FIELD(key), NULL },
	{ "tls_cipher_suite", { NULL }, TEXT, FIELD(ciphers), NULL },
	{ "tls_random_file", { NULL }, SPECIAL, 0, take_random_file },
	{ "network_timeout", { NULL }, SECONDS, FIELD(network_timeout), NULL },
	{ "timeout", { NULL }, SECONDS, FIELD(timeout), NULL },
	{ "keepalive", { NULL }, SECONDS, FIELD(keepalive), NULL },
	{ "protocol", { "version" }, SPECIAL, 0, take_version },
	{ "chase_referrals", { NULL }, SPECIAL, 0, take_referrals },
	{ "debug", { "debuglevel" }, NUMBER, FIELD(debug), NULL },
};

static char *text_at(const struct ldap_access *a, size_t field)
{
	return *(char *const *)(const void *)((const char *)a + field);
}

static const struct known *find_known(const char *word)
{
	for (size_t i = 0; i < sizeof known / sizeof known[0]; i++) {
		if (strcmp(known[i].name, word) == 0)
			return &known[i];
		for (size_t k = 0; known[i].aliases[k] != NULL; k++)
			if (strcmp(known[i].aliases[k], word) == 0)
				return &known[i];
	}
	return NULL;
}

const char *ldap_access_name(const char *word)
{
	const struct known *k = find_known(word);

	return k != NULL ? k->name : NULL;
}

static int take(struct draft *d, const struct setting *s)
{
	const struct known *k = find_known(s->name);
	char *field = k != NULL ? (char *)d->access + k->field : NULL;

	if (k == NULL)
		return EX_OK;
	switch (k->kind) {
	case SPECIAL: return k->take(d, s);
	case TEXT: return setting_text(s, (char **)(void *)field, d->why);
	case YES_NO: return setting_bool(s, (bool *)field, d->why);
	case SECONDS: return setting_seconds(s, LONGEST_TIMEOUT, (long *)(void *)field, d->why);
	case NUMBER: return setting_number(s, 0xffff, (unsigned long *)(void *)field, d->why);
	}
	return EX_SOFTWARE;
}

/* ---- all together --------------------------------------------------------- */

static const struct setting *find_setting(const struct draft *d, const char *name)
{
	for (size_t i = d->settings->count; i-- > 0;)
		if (strcmp(d->settings->list[i].name, name) == 0)
			return &d->settings->list[i];
	return NULL;
}

/* Says `text` about the line of a setting, or about the file if that is not in it. */
static int blame(struct draft *d, const char *name, const char *text)
{
	const struct setting *s = find_setting(d, name);

	return s != NULL ? setting_error(s, d->why, "%s", text) : settings_error(d->file, d->why, text);
}

static bool is_loopback(const char *host)
{
	return host == NULL || host[0] == '\0' || ascii_equal(host, "localhost") || strncmp(host, "127.", 4) == 0
		|| strcmp(host, "::1") == 0;
}

static int check_uri(struct draft *d, const char *uri)
{
	const struct ldap_access *a = d->access;
	const bool secret = a->bind == LDAP_BIND_SIMPLE && a->password != NULL;
	LDAPURLDesc *u = NULL;
	const char *fault = NULL;
	struct buf text = { 0 };
	const int code = ldap_url_parse(uri, &u);

	if (code == LDAP_URL_ERR_MEM)
		fault = "cannot be looked at: not enough memory";
	else if (code != LDAP_URL_SUCCESS)
		fault = "is no LDAP URI; expected ldap://HOST, ldaps://HOST, ldapi:/// or ldapi://PATH with %2F for each / of it";
	else if (strcmp(u->lud_scheme, "ldapi") == 0 && u->lud_dn != NULL && u->lud_dn[0] != '\0')
		fault = "needs %2F for each / of the path, as in ldapi://%2Frun%2Fslapd%2Fldapi";
	else if ((u->lud_dn != NULL && u->lud_dn[0] != '\0') || u->lud_attrs != NULL || u->lud_filter != NULL)
		fault = "must end after the server; base and filter have their own settings";
	else if (u->lud_port < 0 || u->lud_port > 65535)
		fault = "has no port between 1 and 65535";
	else if (a->start_tls && strcmp(u->lud_scheme, "ldap") != 0)
		fault = "cannot be combined with start_tls, which is for ldap://";
	else if (secret && strcmp(u->lud_scheme, "ldap") == 0 && !a->start_tls && !a->clear_password &&
	         !is_loopback(u->lud_host))
		fault = "would carry the password in clear: add start_tls, use ldaps:// or ldapi://, or say clear_password yes";
	if (fault != NULL) {
		text_add_clean_string(&text, uri, 200);
		buf_addf(&text, " %s", fault);
		blame(d, find_setting(d, "uri") != NULL ? "uri" : "ldaphost", buf_str(&text));
	}
	buf_free(&text);
	if (u != NULL)
		ldap_free_urldesc(u);
	return fault == NULL ? EX_OK : code == LDAP_URL_ERR_MEM ? EX_TEMPFAIL : EX_CONFIG;
}

static int check_uris(struct draft *d)
{
	int status = EX_OK;

	for (size_t i = 0; status == EX_OK && d->access->uris[i] != NULL; i++)
		status = check_uri(d, d->access->uris[i]);
	return status;
}

static int read_password_file(struct draft *d)
{
	struct ldap_access *a = d->access;
	struct buf text = { .limit = LARGEST_FILE };
	int fd = open(a->password_file, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	int status = EX_CONFIG;

	blame(d, "passwdfile", "");
	if (fd < 0 || !file_is_private(fd, a->password_file, d->why)) {
		if (fd < 0)
			buf_addf(d->why, "%s: %s", a->password_file, strerror(errno));
		status = fd < 0 ? EX_NOINPUT : EX_CONFIG;
	} else if (!file_read(fd, &text)) {
		buf_addf(d->why, "%s: %s", a->password_file, strerror(errno));
		status = EX_NOINPUT;
	} else {
		size_t n;

		if (text.len > 0)
			text.len = text_unmark(text.data, text.len);
		n = strcspn(buf_str(&text), "\r\n");

		if (text.len > 0 && memchr(text.data, '\0', text.len) != NULL)
			buf_addf(d->why, "%s: a NUL byte, as in UTF-16; expected a plain text with the password",
			         a->password_file);
		else if (strspn(buf_str(&text) + n, "\r\n") != text.len - n)
			buf_addf(d->why, "%s: expected one line with the password and nothing else", a->password_file);
		else if (n == 0)
			buf_addf(d->why, "%s is empty; expected a line with the password", a->password_file);
		else
			status = EX_OK;
		if (status == EX_OK)
			a->password = xstrndup(text.data, n);
	}
	if (status == EX_OK)
		buf_clear(d->why);
	if (fd >= 0)
		close(fd);
	if (text.data != NULL)
		explicit_bzero(text.data, text.len);
	buf_free(&text);
	return status;
}

static int check_password(struct draft *d)
{
	struct ldap_access *a = d->access;
	int status = EX_OK, fd;

	if (a->password != NULL && a->password_file != NULL)
		return blame(d, "passwdfile", "passwd and passwdfile exclude each other");
	if (a->password_file != NULL)
		status = read_password_file(d);
	else if (a->password != NULL && (fd = open(d->password->file, O_RDONLY | O_CLOEXEC)) >= 0) {
		status = file_is_private(fd, d->password->file, d->why) ? EX_OK : EX_CONFIG;
		close(fd);
	}
	if (status != EX_OK)
		return status;
	/* a name without password is taken for anonymous by servers (RFC 4513 section 5.1.2) */
	if (a->bind == LDAP_BIND_SIMPLE && a->binddn != NULL && a->password == NULL)
		return blame(d, "binddn", "without a password: passwd or passwdfile is missing, or passwd is empty");
	if (a->bind == LDAP_BIND_SIMPLE && a->binddn == NULL && a->password != NULL)
		return blame(d, a->password_file != NULL ? "passwdfile" : "passwd", "a password without binddn");
	return EX_OK;
}

static int check_sasl(struct draft *d)
{
	struct ldap_access *a = d->access;
	const bool said = a->sasl_mechanism != NULL || a->sasl_realm != NULL || a->sasl_authcid != NULL
		|| a->sasl_authzid != NULL || a->sasl_properties != NULL;

	if (a->bind != LDAP_BIND_SASL)
		return said ? blame(d, a->sasl_mechanism != NULL ? "sasl_mech" : "bind",
		                    "sasl settings without \"bind sasl\"") : EX_OK;
	if (a->sasl_mechanism == NULL)
		return blame(d, "bind", "\"bind sasl\" without sasl_mech");
	return EX_OK;
}

static int check_tls(struct draft *d)
{
	struct ldap_access *a = d->access;
	bool tls = a->start_tls;
	static const struct { const char *name; size_t field; } files[] = {
		{ "tls_ca_cert_file", FIELD(ca_file) }, { "tls_ca_cert_dir", FIELD(ca_directory) },
		{ "tls_cert", FIELD(certificate) }, { "tls_key", FIELD(key) },
	};

	for (size_t i = 0; a->uris[i] != NULL; i++)
		tls = tls || strncmp(a->uris[i], "ldaps:", 6) == 0;
	if ((a->certificate == NULL) != (a->key == NULL))
		return blame(d, a->key == NULL ? "tls_cert" : "tls_key", "tls_cert and tls_key belong together");
	for (size_t i = 0; tls && i < sizeof files / sizeof files[0]; i++) {
		const char *path = text_at(a, files[i].field);

		if (path != NULL && (files[i].field == FIELD(ca_directory) ? access(path, R_OK) < 0 : !file_can_be_read(path)))
			return blame(d, files[i].name, file_error(errno));
	}
	if (!tls || !a->verify || a->ca_file != NULL || a->ca_directory != NULL)
		return EX_OK;
	if (access(DEFAULT_CA_FILE, R_OK) < 0)
		return settings_error(d->file, d->why,
		                      "TLS without tls_ca_cert_file or tls_ca_cert_dir, and there is no " DEFAULT_CA_FILE);
	a->ca_file = xstrdup(DEFAULT_CA_FILE);
	return EX_OK;
}

static int check_times(struct draft *d)
{
	if (d->access->timeout == 0)
		return blame(d, "timeout", "must not be 0");
	return d->access->network_timeout == 0 ? blame(d, "network_timeout", "must not be 0") : EX_OK;
}

/* ldaphost and ldapport, or server_host with plain names, become URIs. */
static int complete_uris(struct draft *d)
{
	struct ldap_access *a = d->access;

	if (a->uris == NULL) {
		a->uris = d->hosts;
		d->hosts = NULL;
	}
	if (a->uris == NULL)
		return settings_error(d->file, d->why, "no server is named: uri is missing");
	for (size_t i = 0; a->uris[i] != NULL; i++) {
		char *host = a->uris[i];

		/* with a slash it is no name of a host, but was meant to be more */
		if (strchr(host, '/') != NULL)
			continue;
		a->uris[i] = xasprintf("ldap://%s%s%s", host, d->port != NULL ? ":" : "", d->port != NULL ? d->port : "");
		free(host);
	}
	return EX_OK;
}

int ldap_access_take(struct ldap_access *access, const struct settings *settings, const char *file, struct buf *why)
{
	/* what only all settings together show */
	static int (*const checks[])(struct draft *d) = {
		complete_uris, check_password, check_sasl, check_uris, check_tls, check_times,
	};
	struct draft d = { .access = access, .settings = settings, .file = file, .why = why };
	int status = EX_OK;

	*access = (struct ldap_access){
		.bind = LDAP_BIND_SIMPLE, .verify = true, .network_timeout = DEFAULT_NETWORK_TIMEOUT,
		.timeout = DEFAULT_TIMEOUT,
		.keepalive = DEFAULT_KEEPALIVE,
	};
	for (size_t i = 0; i < settings->count && status == EX_OK; i++)
		status = take(&d, &settings->list[i]);
	for (size_t i = 0; i < sizeof checks / sizeof checks[0] && status == EX_OK; i++)
		status = checks[i](&d);
	words_free(d.hosts);
	free(d.port);
	return status;
}

/* ---- copies --------------------------------------------------------------- */

static const size_t texts[] = {
	FIELD(binddn), FIELD(password), FIELD(password_file), FIELD(sasl_mechanism), FIELD(sasl_realm), FIELD(sasl_authcid),
	FIELD(sasl_authzid), FIELD(sasl_properties), FIELD(ca_file), FIELD(ca_directory), FIELD(certificate), FIELD(key),
	FIELD(ciphers),
};

#define TEXTS (sizeof texts / sizeof texts[0])

bool ldap_access_equal(const struct ldap_access *a, const struct ldap_access *b)
{
	size_t i = 0;

	for (size_t k = 0; k < TEXTS; k++)
		if (!text_same(text_at(a, texts[k]), text_at(b, texts[k])))
			return false;
	while (a->uris[i] != NULL && b->uris[i] != NULL && strcmp(a->uris[i], b->uris[i]) == 0)
		i++;
	return a->uris[i] == NULL && b->uris[i] == NULL && a->bind == b->bind && a->start_tls == b->start_tls
		&& a->verify == b->verify && a->network_timeout == b->network_timeout && a->keepalive == b->keepalive;
}

void ldap_access_copy(struct ldap_access *to, const struct ldap_access *from)
{
	*to = *from;
	to->uris = words_copy(from->uris);
	for (size_t k = 0; k < TEXTS; k++) {
		char *text = text_at(from, texts[k]);

		*(char **)(void *)((char *)to + texts[k]) = text != NULL ? xstrdup(text) : NULL;
	}
}

void ldap_access_free(struct ldap_access *access)
{
	if (access->password != NULL)
		explicit_bzero(access->password, strlen(access->password));
	for (size_t k = 0; k < TEXTS; k++)
		free(text_at(access, texts[k]));
	words_free(access->uris);
	*access = (struct ldap_access){ 0 };
}
