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

/* Reads the value of a setting into its field. */
typedef int setting_reader(const struct setting *s, enum sql_dialect dialect, void *field, struct buf *why);

static setting_reader read_text, read_tls_file, read_charset, read_secret, read_hosts, read_path, read_yes_no, read_seconds;

static const struct known {
	const char *name;
	const char *alias;
	setting_reader *read;
	bool is_text;           /* the field is a string */
	size_t field;
	unsigned dialects;
} known[] = {
	{ "hosts", NULL, read_hosts, false, FIELD(hosts), SERVERS },
	{ "dbname", NULL, read_text, true, FIELD(dbname), SERVERS },
	{ "dbpath", NULL, read_text, true, FIELD(dbname), IN(SQL_SQLITE) },
	{ "user", NULL, read_text, true, FIELD(user), SERVERS },
	{ "password", NULL, read_secret, true, FIELD(password), SERVERS },
	{ "charset", "encoding", read_charset, false, 0, SERVERS },
	{ "option_file", NULL, read_path, true, FIELD(option_file), IN(SQL_MYSQL) },
	{ "option_group", NULL, read_text, true, FIELD(option_group), IN(SQL_MYSQL) },
	{ "tls_key_file", "sslkey", read_tls_file, true, FIELD(tls_key_file), SERVERS },
	{ "tls_cert_file", "sslcert", read_tls_file, true, FIELD(tls_cert_file), SERVERS },
	{ "tls_cafile", "sslrootcert", read_tls_file, true, FIELD(tls_ca_file), SERVERS },
	{ "tls_capath", NULL, read_text, true, FIELD(tls_ca_path), IN(SQL_MYSQL) },
	{ "tls_ciphers", NULL, read_text, true, FIELD(tls_ciphers), IN(SQL_MYSQL) },
	{ "tls_verify_cert", NULL, read_yes_no, false, FIELD(tls_verify_cert), IN(SQL_MYSQL) },
	{ "sslmode", NULL, read_text, true, FIELD(sslmode), IN(SQL_PGSQL) },
	{ "network_timeout", NULL, read_seconds, false, FIELD(network_timeout), SERVERS },
	{ "timeout", NULL, read_seconds, false, FIELD(timeout), SERVERS | IN(SQL_SQLITE) },
	{ "retry_interval", NULL, read_seconds, false, FIELD(retry_interval), SERVERS | IN(SQL_SQLITE) },
	{ "idle_interval", NULL, read_seconds, false, FIELD(idle_interval), SERVERS | IN(SQL_SQLITE) },
};

#define KNOWN (sizeof known / sizeof known[0])

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

	return uri != NULL && ((at != NULL && memchr(uri + 1, ':', (size_t)(at - uri) - 1) != NULL) ||
	                       strstr(uri, "password=") != NULL);
}

/* What is wrong with one word of hosts; NULL: nothing.  A URI is for the library to read. */
static const char *host_fault(const char *host, enum sql_dialect dialect)
{
	const char *name = strncmp(host, "inet:", 5) == 0 ? host + 5
	                   : host, *colon = strrchr(name, ':'), *end = strrchr(name, ']');
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

static int read_hosts(const struct setting *s, enum sql_dialect dialect, void *field, struct buf *why)
{
	char ***hosts = field;
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
 * The library passes over a file of options that it cannot read, and a group that is not there: the session would be another
 * one than is meant, with another user, or without TLS.
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
		has_group = has_group || (line[strspn(line, " \t")] == '[' &&
		                          is_line(line + strspn(line, " \t") + 1, group, ']'))
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
 * Keys are UTF-8 and so is each session; in another encoding what has letters above ASCII would match nothing, and be "not
 * found".  Files that say what holds anyway are taken.
 */
static int read_charset(const struct setting *s, enum sql_dialect dialect, void *field, struct buf *why)
{
	static const char *const names[] = { "utf8mb4", "utf8", "utf8mb3", "utf-8", "unicode" };

	(void)field;
	for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
		if (ascii_equal(s->value, names[i]))
			return EX_OK;
	return setting_error(s, why, "expected %s: keys are UTF-8, and the database converts its own",
	                     dialect == SQL_MYSQL ? "utf8mb4" : "UTF8");
}

static int read_text(const struct setting *s, enum sql_dialect dialect, void *field, struct buf *why)
{
	(void)dialect;
	return setting_text(s, field, why);
}

/* The library opens it, and would wait for ever for the other end of a pipe.  "system" and the like are no names of files. */
static int read_tls_file(const struct setting *s, enum sql_dialect dialect, void *field, struct buf *why)
{
	char **value = field;
	int status = setting_text(s, value, why);

	(void)dialect;
	if (status == EX_OK && *value != NULL && **value == '/' && !file_can_be_read(*value))
		status = setting_error(s, why, "%s: %s", *value, file_error(errno));
	return status;
}

static int read_secret(const struct setting *s, enum sql_dialect dialect, void *field, struct buf *why)
{
	int status = s->value[0] != '\0' ? check_privacy(s, why) : EX_OK;

	(void)dialect;
	return status == EX_OK && s->value[0] != '\0' ? setting_text(s, field, why) : status;
}

static int read_path(const struct setting *s, enum sql_dialect dialect, void *field, struct buf *why)
{
	(void)dialect;
	return setting_path(s, field, why);
}

static int read_yes_no(const struct setting *s, enum sql_dialect dialect, void *field, struct buf *why)
{
	(void)dialect;
	return setting_bool(s, field, why);
}

static int read_seconds(const struct setting *s, enum sql_dialect dialect, void *field, struct buf *why)
{
	(void)dialect;
	return setting_seconds(s, LONGEST_TIMEOUT, field, why);
}

int sql_access_take(struct sql_access *access, enum sql_dialect dialect, const struct settings *settings, const char *file,
                    struct buf *why)
{
	*access = (struct sql_access){ .network_timeout = 5, .timeout = 10, .retry_interval = 30, .idle_interval = 60 };
	for (size_t i = 0; i < settings->count; i++) {
		const struct setting *s = &settings->list[i];
		const struct known *k = find_known(s->name);
		int status = EX_OK;

		if (k != NULL && (k->dialects & IN(dialect)) == 0)
			status = setting_error(s, why, "maps of this type have no such setting; remove it");
		else if (k != NULL)
			status = k->read(s, dialect, text_at(access, k), why);
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
		if (known[i].is_text)
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
		if (known[i].is_text && *text != NULL && strcmp(known[i].name, "dbpath") != 0)
			*text = xstrdup(*text);
	}
}

void sql_access_free(struct sql_access *access)
{
	words_free(access->hosts);
	for (size_t i = 0; i < KNOWN; i++) {
		char **text = text_at(access, &known[i]);

		if (!known[i].is_text || *text == NULL)
			continue;
		explicit_bzero(*text, strlen(*text));
		free(*text);
		*text = NULL;
	}
	*access = (struct sql_access){ 0 };
}
