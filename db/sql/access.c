#include "db/sql/access.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <sysexits.h>
#include <unistd.h>

#include "lib/alloc.h"
#include "lib/file.h"
#include "lib/parse.h"
#include "lib/text.h"

#define LONGEST_TIMEOUT 3600

/* A file of options of MySQL's library is no larger. */
#define OPTIONS_MAX 1048576

#define FIELD(name) offsetof(struct sql_access, name)
#define IN(dialect) (1u << (dialect))
#define SERVERS (IN(SQL_PGSQL) | IN(SQL_MYSQL))

enum kind { TEXT, TLS_FILE, CHARSET, SECRET, HOSTS, OPTIONS, YES_NO, SECONDS };

static const struct known {
	const char *name;
	const char *alias;
	enum kind kind;
	size_t field;
	unsigned dialects;
} known[] = {
	{ "hosts", NULL, HOSTS, FIELD(hosts), SERVERS },
	{ "dbname", NULL, TEXT, FIELD(dbname), SERVERS },
	{ "dbpath", NULL, TEXT, FIELD(dbname), IN(SQL_SQLITE) },
	{ "user", NULL, TEXT, FIELD(user), SERVERS },
	{ "password", NULL, SECRET, FIELD(password), SERVERS },
	{ "charset", "encoding", CHARSET, 0, SERVERS },
	{ "option_file", NULL, OPTIONS, FIELD(option_file), IN(SQL_MYSQL) },
	{ "option_group", NULL, TEXT, FIELD(option_group), IN(SQL_MYSQL) },
	{ "tls_key_file", "sslkey", TLS_FILE, FIELD(tls_key_file), SERVERS },
	{ "tls_cert_file", "sslcert", TLS_FILE, FIELD(tls_cert_file), SERVERS },
	{ "tls_cafile", "sslrootcert", TLS_FILE, FIELD(tls_ca_file), SERVERS },
	{ "tls_capath", NULL, TEXT, FIELD(tls_ca_path), IN(SQL_MYSQL) },
	{ "tls_ciphers", NULL, TEXT, FIELD(tls_ciphers), IN(SQL_MYSQL) },
	{ "tls_verify_cert", NULL, YES_NO, FIELD(tls_verify_cert), IN(SQL_MYSQL) },
	{ "sslmode", NULL, TEXT, FIELD(sslmode), IN(SQL_PGSQL) },
	{ "network_timeout", NULL, SECONDS, FIELD(network_timeout), SERVERS },
	{ "timeout", NULL, SECONDS, FIELD(timeout), SERVERS | IN(SQL_SQLITE) },
	{ "retry_interval", NULL, SECONDS, FIELD(retry_interval), SERVERS | IN(SQL_SQLITE) },
	{ "idle_interval", NULL, SECONDS, FIELD(idle_interval), SERVERS | IN(SQL_SQLITE) },
};

#define KNOWN (sizeof known / sizeof known[0])

static bool is_text(const struct known *k)
{
	return k->kind == TEXT || k->kind == TLS_FILE || k->kind == SECRET || k->kind == OPTIONS;
}

static char **text_at(struct sql_access *a, const struct known *k)
{
	return (char **)(void *)((char *)a + k->field);
}

static const struct known *find_known(const char *word)
{
	for (size_t i = 0; i < KNOWN; i++)
		if (strcmp(known[i].name, word) == 0 || (known[i].alias != NULL && strcmp(known[i].alias, word) == 0))
			return &known[i];
	return NULL;
}

const char *sql_access_name(const char *word)
{
	const struct known *k = find_known(word);

	return k != NULL ? k->name : NULL;
}

/* A value that is a secret, or has one in it, must not be for all to read. */
static int check_privacy(const struct setting *s, struct buf *why)
{
	/* what was read from no file, a test's, needs no protection */
	int fd = open(s->file, O_RDONLY | O_CLOEXEC | O_NONBLOCK), status = EX_OK;

	if (fd >= 0) {
		status = file_is_private(fd, s->file, why) ? EX_OK : EX_CONFIG;
		close(fd);
	}
	return status;
}

/* postgresql://USER:PASSWORD@HOST/DBNAME?password=... */
static bool has_password(const char *hosts)
{
	const char *uri = strstr(hosts, "://"), *at = uri != NULL ? strrchr(uri, '@') : NULL;

	return uri != NULL && ((at != NULL && memchr(uri + 1, ':', (size_t)(at - uri) - 1) != NULL) || strstr(uri, "password=") != NULL);
}

/* What is wrong with one word of hosts; NULL: nothing.  A URI is for the library to read. */
static const char *host_fault(const char *host, enum sql_dialect dialect)
{
	const char *name = strncmp(host, "inet:", 5) == 0 ? host + 5 : host, *colon = strrchr(name, ':'), *end = strrchr(name, ']');
	uint64_t port = 1;
	bool is_strange;

	if (strstr(host, "://") != NULL)
		return dialect == SQL_PGSQL ? NULL : "expected HOST, HOST:PORT or unix:/PATH; a URI is for PostgreSQL alone";
	if (strncmp(host, "unix:", 5) == 0)
		return host[5] == '/' ? NULL : "expected unix:/PATH, from the root on";
	/* as libpq takes the directory of its socket */
	if (host[0] == '/')
		return dialect == SQL_PGSQL ? NULL : "expected unix:/PATH for a socket";
	is_strange = name[strcspn(name, "=/\\'\"@;()")] != '\0' || (end == NULL && colon != NULL && strchr(name, ':') != colon);
	if (is_strange && name[strspn(name, "0123456789abcdefABCDEF:.")] == '\0')
		return "an address of IPv6 stands in brackets: [::1]:PORT";
	if (is_strange)
		return "expected HOST, HOST:PORT, inet:HOST:PORT, [IPV6]:PORT or unix:/PATH";
	if (colon != NULL && end != NULL && colon < end)
		colon = NULL;
	if (colon != NULL && (!parse_number(colon + 1, 65535, &port) || port == 0))
		return "expected HOST, HOST:PORT with a number, inet:HOST:PORT or unix:/PATH";
	return NULL;
}

static int take_hosts(char ***hosts, enum sql_dialect dialect, const struct setting *s, struct buf *why)
{
	int status = has_password(s->value) ? check_privacy(s, why) : EX_OK;

	if (status == EX_OK)
		status = setting_words(s, hosts, why);
	for (size_t i = 0; status == EX_OK && (*hosts)[i] != NULL; i++) {
		const char *fault = host_fault((*hosts)[i], dialect);

		/* behind an '@' there may have been a password */
		if (fault != NULL && strchr((*hosts)[i], '@') != NULL)
			status = setting_error(s, why, "%s", fault);
		else if (fault != NULL)
			status = setting_error(s, why, "%s, found \"%s\"", fault, (*hosts)[i]);
	}
	return status;
}

/* True if the line begins with this word, and `end` or a blank stands behind it. */
static bool is_line(const char *line, const char *word, char end)
{
	const size_t n = strlen(word);

	line += strspn(line, " \t");
	return strncasecmp(line, word, n) == 0 && (line[n] == end || line[n] == ' ' || line[n] == '\t');
}

/*
 * The library passes over a file of options that it cannot read, and a group that is not there: the session would be another one than is
 * meant, with another user, or without TLS.
 */
static int check_options(const struct setting *s, const char *path, const char *group, struct buf *why)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK), status = EX_OK;
	struct buf text = { .limit = OPTIONS_MAX };
	bool has_group = group == NULL, has_password = false;
	struct stat st;
	char *line, *rest;

	if (fd < 0 || fstat(fd, &st) < 0 || (errno = EINVAL, !S_ISREG(st.st_mode)) || !file_read(fd, &text))
		status = setting_error(s, why, "%s: %s", path, file_error(errno));
	rest = text.len > 0 ? text.data : NULL;
	while ((line = strsep(&rest, "\n")) != NULL) {
		has_password = has_password || is_line(line, "password", '=');
		has_group = has_group || (line[strspn(line, " \t")] == '[' && is_line(line + strspn(line, " \t") + 1, group, ']'))
			|| line[strspn(line, " \t")] == '!';
	}
	if (status == EX_OK && has_password && !file_is_private(fd, path, why))
		status = EX_CONFIG;
	else if (status == EX_OK && !has_group)
		status = setting_error(s, why, "%s has no group [%s]", path, group);
	if (fd >= 0)
		close(fd);
	buf_wipe(&text);
	return status;
}

void sql_host_show(const char *host, struct buf *out)
{
	const char *uri = strstr(host, "://"), *at = uri != NULL ? strrchr(uri, '@') : NULL;

	if (at != NULL)
		buf_add(out, host, (size_t)(uri + 3 - host));
	buf_add(out, at != NULL ? at + 1 : host, strcspn(at != NULL ? at + 1 : host, "?"));
}

/*
 * Keys are UTF-8 and so is each session; in another encoding what has letters above ASCII would match nothing, and be "not found".
 * Files that say what holds anyway are taken.
 */
static int check_charset(const struct setting *s, enum sql_dialect dialect, struct buf *why)
{
	static const char *const names[] = { "utf8mb4", "utf8", "utf8mb3", "utf-8", "unicode" };

	for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
		if (ascii_equal(s->value, names[i]))
			return EX_OK;
	return setting_error(s, why, "expected %s: keys are UTF-8, and the database converts its own", dialect == SQL_MYSQL ? "utf8mb4" : "UTF8");
}

/* The library opens it, and would wait for ever for the other end of a pipe.  "system" and the like are no names of files. */
static int take_tls_file(char **value, const struct setting *s, struct buf *why)
{
	int status = setting_text(s, value, why);

	if (status == EX_OK && *value != NULL && **value == '/' && !file_can_be_read(*value))
		status = setting_error(s, why, "%s: %s", *value, file_error(errno));
	return status;
}

static int take(struct sql_access *a, const struct known *k, enum sql_dialect dialect, const struct setting *s, struct buf *why)
{
	void *field = text_at(a, k);
	int status;

	if ((k->dialects & IN(dialect)) == 0)
		return setting_error(s, why, "maps of this type have no such setting; remove it");
	switch (k->kind) {
	case TEXT: return setting_text(s, field, why);
	case TLS_FILE: return take_tls_file(field, s, why);
	case CHARSET: return check_charset(s, dialect, why);
	case SECRET:
		if (s->value[0] == '\0')
			return EX_OK;
		status = check_privacy(s, why);
		return status == EX_OK ? setting_text(s, field, why) : status;
	case HOSTS: return take_hosts(field, dialect, s, why);
	case OPTIONS: return setting_path(s, field, why);
	case YES_NO: return setting_bool(s, field, why);
	case SECONDS: return setting_seconds(s, LONGEST_TIMEOUT, field, why);
	}
	return EX_SOFTWARE;
}

int sql_access_take(struct sql_access *access, enum sql_dialect dialect, const struct settings *settings, const char *file,
                    struct buf *why)
{
	*access = (struct sql_access){ .network_timeout = 5, .timeout = 10, .retry_interval = 30, .idle_interval = 60 };
	for (size_t i = 0; i < settings->count; i++) {
		const struct known *k = find_known(settings->list[i].name);
		int status = k != NULL ? take(access, k, dialect, &settings->list[i], why) : EX_OK;

		if (status != EX_OK)
			return status;
	}
	if (access->dbname == NULL) {
		buf_addf(why, "%s: no database is named: %s is missing", file, dialect == SQL_SQLITE ? "dbpath" : "dbname");
		return EX_CONFIG;
	}
	for (size_t i = 0; access->option_file != NULL && i < settings->count; i++) {
		const struct setting *s = &settings->list[i];

		if (strcmp(s->name, "option_file") == 0) {
			int status = check_options(s, access->option_file, access->option_group, why);

			if (status != EX_OK)
				return status;
		}
	}
	if (access->timeout == 0 || access->network_timeout == 0) {
		buf_addf(why, "%s: timeout and network_timeout must be at least one second", file);
		return EX_CONFIG;
	}
	return EX_OK;
}

void sql_access_identity(const struct sql_access *access, struct buf *out)
{
	struct sql_access *a = (struct sql_access *)(uintptr_t)access;

	for (size_t i = 0; a->hosts != NULL && a->hosts[i] != NULL; i++)
		buf_addf(out, "%s\n", a->hosts[i]);
	for (size_t i = 0; i < KNOWN; i++)
		if (is_text(&known[i]))
			buf_addf(out, "%s\n", *text_at(a, &known[i]) != NULL ? *text_at(a, &known[i]) : "");
	buf_addf(out, "%d %ld %ld %ld", a->tls_verify_cert, a->network_timeout, a->retry_interval, a->idle_interval);
}

void sql_access_copy(struct sql_access *to, const struct sql_access *from)
{
	*to = *from;
	to->hosts = from->hosts != NULL ? words_copy(from->hosts) : NULL;
	for (size_t i = 0; i < KNOWN; i++) {
		char **text = text_at(to, &known[i]);

		/* dbname and dbpath are one field */
		if (is_text(&known[i]) && *text != NULL && strcmp(known[i].name, "dbpath") != 0)
			*text = xstrdup(*text);
	}
}

void sql_access_free(struct sql_access *access)
{
	words_free(access->hosts);
	for (size_t i = 0; i < KNOWN; i++) {
		char **text = text_at(access, &known[i]);

		if (!is_text(&known[i]) || *text == NULL)
			continue;
		explicit_bzero(*text, strlen(*text));
		free(*text);
		*text = NULL;
	}
	*access = (struct sql_access){ 0 };
}
