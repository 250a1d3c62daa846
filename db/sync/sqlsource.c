#include "db/sync/sqlsource.h"

#include <stdlib.h>
#include <string.h>
#include <sysexits.h>

#include "db/sql/access.h"
#include "db/sql/conf.h"
#include "db/sql/query.h"
#include "db/sync/mapsetting.h"
#include "lib/parse.h"
#include "lib/process.h"
#include "lib/settings.h"

#define DEFAULT_INTERVAL 60
#define LONGEST_INTERVAL 31536000

/* The first row of a long query may take its time. */
#define DEFAULT_TIMEOUT 60

struct draft {
	struct sqlsource *source;
	struct buf *why;
	bool has_timeout;
};

static int take_database(struct draft *d, const struct setting *s)
{
	static const char *const words[] = { "pgsql", "mysql", "sqlite", NULL };
	int i = 0, status = setting_choice(s, words, &i, d->why);

	return status == EX_OK ? setting_text(s, &d->source->database, d->why) : status;
}

static int take_query(struct draft *d, const struct setting *s)
{
	const char *fault = sql_query_change(s->value);

	if (fault != NULL)
		return setting_error(s, d->why, "%s", fault);
	if (strstr(s->value, "'%s'") != NULL && strchr(s->value, '=') != NULL)
		return setting_error(s, d->why,
		                     "'%%s' asks for one key; expected a query that gives key and value of all records");
	return setting_text(s, &d->source->query, d->why);
}

static int take_format(struct draft *d, const struct setting *s)
{
	return sqlconf_take_format(&d->source->result_format, s, d->why);
}

static int take_interval(struct draft *d, const struct setting *s)
{
	if (setting_seconds(s, LONGEST_INTERVAL, &d->source->interval, d->why) != EX_OK)
		return EX_CONFIG;
	return d->source->interval > 0 ? EX_OK : setting_error(s, d->why, "must not be 0");
}

static int take_listen(struct draft *d, const struct setting *s)
{
	return setting_text(s, &d->source->channel, d->why);
}

static const struct known {
	const char *name;
	int (*take)(struct draft *, const struct setting *);
} known[] = {
	{ "database", take_database },
	{ "query", take_query },
	{ "result_format", take_format },
	{ "interval", take_interval },
	{ "listen", take_listen },
};

static const char *name_of(const char *word)
{
	const struct known *k = PARSE_ROW(known, word);
	const char *of_map = mapsetting_known(word);

	return k != NULL ? k->name : of_map != NULL ? of_map : sql_access_name(word);
}

static int take_all(struct draft *d, const struct settings *settings, const char *path)
{
	struct sqlsource *source = d->source;
	int status = settings_repeated(settings, 0, settings->count, d->why);

	for (size_t i = 0; i < settings->count && status == EX_OK; i++) {
		const struct known *k = PARSE_ROW(known, settings->list[i].name);

		d->has_timeout = d->has_timeout || strcmp(settings->list[i].name, "timeout") == 0;
		status = k != NULL ? k->take(d, &settings->list[i]) : mapsetting_take(&source->map, &settings->list[i], d->why);
	}
	if (status != EX_OK)
		return status;
	if (source->map.base == NULL)
		return settings_error(path, d->why, "map is missing");
	if (source->database == NULL)
		return settings_error(path, d->why, "database is missing; expected pgsql, mysql or sqlite");
	if (source->query == NULL)
		return settings_error(path, d->why, "query is missing");
	if (source->channel != NULL && sql_dialect_of(source->database) != SQL_PGSQL)
		return settings_error(path, d->why, "listen: only PostgreSQL reports changes (NOTIFY); remove it");
	status = sql_access_take(&source->access, sql_dialect_of(source->database), settings, path, d->why);
	if (!d->has_timeout)
		source->access.timeout = DEFAULT_TIMEOUT;
	return status;
}

int sqlsource_parse(struct sqlsource *source, const char *path, const char *text, size_t n, struct buf *why)
{
	struct draft d = { .source = source, .why = why };
	struct settings settings = { .is_indented = true };
	int status;

	*source = (struct sqlsource){ .map.folding = 'l', .interval = DEFAULT_INTERVAL };
	pattern_parse(&source->result_format, "%s", why);
	status = text != NULL ? settings_parse(&settings, path, text, n, name_of, why)
	                      : settings_read(&settings, path, name_of, why);
	if (status == EX_OK)
		status = take_all(&d, &settings, path);
	settings_free(&settings);
	return status;
}

int sqlsource_read(struct sqlsource *source, const char *path, struct buf *why)
{
	/* there may be a password in it */
	process_keep_secrets();
	return sqlsource_parse(source, path, NULL, 0, why);
}

void sqlsource_free(struct sqlsource *source)
{
	sql_access_free(&source->access);
	pattern_free(&source->result_format);
	free(source->database);
	free(source->query);
	free(source->channel);
	mapsetting_free(&source->map);
	*source = (struct sqlsource){ 0 };
}
