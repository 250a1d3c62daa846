#include "db/sql/access.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>
#include <unistd.h>

#include "lib/alloc.h"
#include "lib/file.h"
#include "lib/text.h"

#define LONGEST_TIMEOUT 3600

#define FIELD(name) offsetof(struct sql_access, name)
#define IN(dialect) (1u << (dialect))
#define SERVERS (IN(SQL_PGSQL) | IN(SQL_MYSQL))

enum kind { TEXT, CHARSET, SECRET, HOSTS, YES_NO, SECONDS };

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
	{ "option_file", NULL, TEXT, FIELD(option_file), IN(SQL_MYSQL) },
	{ "option_group", NULL, TEXT, FIELD(option_group), IN(SQL_MYSQL) },
	{ "tls_key_file", "sslkey", TEXT, FIELD(tls_key_file), SERVERS },
	{ "tls_cert_file", "sslcert", TEXT, FIELD(tls_cert_file), SERVERS },
	{ "tls_cafile", "sslrootcert", TEXT, FIELD(tls_ca_file), SERVERS },
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

static int take_secret(char **value, const struct setting *s, struct buf *why)
{
	int status;

	if (s->value[0] == '\0')
		return EX_OK;
	status = check_privacy(s, why);
	return status == EX_OK ? setting_text(s, value, why) : status;
}

/* postgresql://USER:PASSWORD@HOST/DBNAME?password=... */
static bool has_password(const char *hosts)
{
	const char *uri = strstr(hosts, "://"), *at = uri != NULL ? strrchr(uri, '@') : NULL;

	return uri != NULL && ((at != NULL && memchr(uri + 1, ':', (size_t)(at - uri) - 1) != NULL) || strstr(uri, "password=") != NULL);
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

static int take(struct sql_access *a, const struct known *k, enum sql_dialect dialect, const struct setting *s, struct buf *why)
{
	void *field = text_at(a, k);
	int status;

	if ((k->dialects & IN(dialect)) == 0)
		return setting_error(s, why, "maps of this type have no such setting; remove it");
	switch (k->kind) {
	case TEXT: return setting_text(s, field, why);
	case CHARSET: return check_charset(s, dialect, why);
	case SECRET: return take_secret(field, s, why);
	case HOSTS:
		status = has_password(s->value) ? check_privacy(s, why) : EX_OK;
		return status == EX_OK ? setting_words(s, field, why) : status;
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
		if (known[i].kind == TEXT || known[i].kind == SECRET)
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
		if ((known[i].kind == TEXT || known[i].kind == SECRET) && *text != NULL && strcmp(known[i].name, "dbpath") != 0)
			*text = xstrdup(*text);
	}
}

void sql_access_free(struct sql_access *access)
{
	words_free(access->hosts);
	for (size_t i = 0; i < KNOWN; i++) {
		char **text = text_at(access, &known[i]);

		if ((known[i].kind != TEXT && known[i].kind != SECRET) || *text == NULL)
			continue;
		explicit_bzero(*text, strlen(*text));
		free(*text);
		*text = NULL;
	}
	*access = (struct sql_access){ 0 };
}
