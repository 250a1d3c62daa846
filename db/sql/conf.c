#include "db/sql/conf.h"

#include <stdlib.h>
#include <string.h>
#include <sysexits.h>

#include "db/sql/access.h"
#include "lib/alloc.h"
#include "lib/process.h"
#include "lib/text.h"

enum sql_dialect sql_dialect_of(const char *type)
{
	return ascii_equal(type, "pgsql") ? SQL_PGSQL : ascii_equal(type, "mysql") ? SQL_MYSQL : SQL_SQLITE;
}

/* Those of the query; the four of older files describe one (build_query). */
static const char *const names[] = {
	"query", "result_format", "expansion_limit", "domain", "require_result_set",
	"table", "select_field", "where_field", "additional_conditions", "select_function",
};

static const char *name_of(const char *word)
{
	for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
		if (strcmp(names[i], word) == 0)
			return names[i];
	return sql_access_name(word);
}

static const struct setting *find(const struct settings *settings, const char *name)
{
	for (size_t i = settings->count; i-- > 0;)
		if (strcmp(settings->list[i].name, name) == 0)
			return &settings->list[i];
	return NULL;
}

static const char *value_of(const struct settings *settings, const char *name)
{
	const struct setting *s = find(settings, name);

	return s != NULL && s->value[0] != '\0' ? s->value : NULL;
}

/* The query that a file without "query" describes, as older ones do; NULL if it describes none. */
static char *build_query(const struct settings *settings)
{
	const char *function = value_of(settings, "select_function"), *table = value_of(settings, "table");
	const char *field = value_of(settings, "select_field"), *where = value_of(settings, "where_field");
	const char *more = value_of(settings, "additional_conditions");

	if (function != NULL)
		return xasprintf("SELECT %s('%%s')", function);
	if (table == NULL || field == NULL || where == NULL)
		return NULL;
	return xasprintf("SELECT %s FROM %s WHERE %s = '%%s' %s", field, table, where, more != NULL ? more : "");
}

static int take_query(struct sqlconf *conf, const struct settings *settings, const char *path, struct buf *why)
{
	const struct setting *s = find(settings, "query");
	char *built = s == NULL ? build_query(settings) : NULL;
	struct buf fault = { 0 };
	int status = EX_OK;

	if (s == NULL && built == NULL) {
		buf_addf(why, "%s: query is missing", path);
		return EX_CONFIG;
	}
	if (!sql_query_parse(&conf->query, conf->dialect, s != NULL ? s->value : built, &fault)) {
		status = EX_CONFIG;
		if (s != NULL)
			setting_error(s, why, "%s", buf_str(&fault));
		else
			buf_addf(why, "%s: the query of table, select_field and where_field: %s", path, buf_str(&fault));
	}
	buf_free(&fault);
	free(built);
	return status;
}

int sqlconf_take_format(struct pattern *format, const struct setting *s, struct buf *why)
{
	struct buf fault = { 0 };
	int status = EX_OK;

	pattern_free(format);
	if (!pattern_parse(format, s != NULL ? s->value : "%s", &fault))
		status = setting_error(s, why, "%s", buf_str(&fault));
	else if (!pattern_uses_key(format))
		status = setting_error(s, why, "nothing of the value is in it; expected %%s, %%u or %%d");
	buf_free(&fault);
	return status;
}

int sqlconf_parse(struct sqlconf *conf, const char *type, const char *path, const char *text, size_t n, struct buf *why)
{
	struct settings settings = { .is_indented = true };
	int status = text != NULL ? settings_parse(&settings, path, text, n, name_of, why)
	                          : settings_read(&settings, path, name_of, why);
	const struct setting *limit, *domain;

	*conf = (struct sqlconf){ .dialect = sql_dialect_of(type) };
	if (status == EX_OK)
		status = settings_repeated(&settings, 0, settings.count, why);
	if (status == EX_OK)
		status = sql_access_take(&conf->access, conf->dialect, &settings, path, why);
	if (status == EX_OK)
		status = take_query(conf, &settings, path, why);
	if (status == EX_OK)
		status = sqlconf_take_format(&conf->result_format, find(&settings, "result_format"), why);
	/* empty, as Postfix's files often write out: no limit */
	domain = find(&settings, "domain");
	if (status == EX_OK && domain != NULL && domain->value[0] != '\0')
		status = setting_domains(domain, &conf->domains, why);
	limit = find(&settings, "expansion_limit");
	if (status == EX_OK && limit != NULL)
		status = setting_number(limit, 1000000, &conf->expansion_limit, why);
	settings_free(&settings);
	return status;
}

int sqlconf_read(struct sqlconf *conf, const char *type, const char *path, struct buf *why)
{
	/* there may be a password in it */
	process_keep_secrets();
	return sqlconf_parse(conf, type, path, NULL, 0, why);
}

void sqlconf_free(struct sqlconf *conf)
{
	sql_access_free(&conf->access);
	sql_query_free(&conf->query);
	pattern_free(&conf->result_format);
	words_free(conf->domains);
	*conf = (struct sqlconf){ 0 };
}

bool sqlconf_fits(const struct sqlconf *conf, const char *key, size_t n)
{
	const char *bytes;
	size_t length;

	if (conf->domains != NULL && !key_is_in_domains(key, n, conf->domains))
		return false;
	for (size_t i = 0; i < conf->result_format.count; i++) {
		const struct pattern_piece *p = &conf->result_format.pieces[i];

		if ((p->upper || p->part == KEY_LABEL) && p->part != KEY_LITERAL &&
		    !key_part(key, n, p->part, p->label, &bytes, &length))
			return false;
	}
	return pattern_fits(&conf->query.pattern, key, n);
}
