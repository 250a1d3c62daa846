/*
 * Maps that ask a database: types "pgsql", "mysql" and "sqlite".  The path is that of the config file (sql_map(5)).
 */
#include <stdlib.h>
#include <sysexits.h>

#include "db/map/conffile.h"
#include "db/sql/conf.h"
#include "db/sql/conn.h"
#include "lib/alloc.h"
#include "lib/clock.h"
#include "lib/text.h"

#define LONGEST_ANSWER ((size_t)512 * 1024)    /* all results of a lookup */

struct sql_map {
	struct sqlconf conf;
	struct sqlconn *connection;
};

static void free_sql(void *source)
{
	struct sql_map *s = source;

	sqlconn_release(&s->connection);
	sqlconf_free(&s->conf);
	free(s);
}

static int read_sql(const struct map *map, void **source, struct buf *why)
{
	struct sql_map *s = xcalloc(1, sizeof *s);
	int status = sqlconf_read(&s->conf, map->operations->type, map->path, why);

	if (status == EX_OK && driver_load(map->operations->type, why) == NULL)
		status = EX_UNAVAILABLE;
	if (status == EX_OK) {
		s->connection = sqlconn_get(map->operations->type, &s->conf.access);
		*source = s;
	} else {
		free_sql(s);
	}
	return status;
}

static int prepare_sql(struct map *map)
{
	static const struct conffile_type type = { .read = read_sql, .free = free_sql };

	return conffile_prepare(map, &type);
}

/* ---- answers -------------------------------------------------------------- */

struct rows {
	const struct sqlconf *conf;
	const char *key;
	size_t key_length;
	struct buf text;
	unsigned long count;
	const char *fault;     /* why the rows are no answer; NULL if they are */
};

static void restart_rows(void *context)
{
	struct rows *r = context;

	buf_clear(&r->text);
	r->count = 0;
	r->fault = NULL;
}

static bool take_row(void *context, unsigned columns, const char *const *values, const size_t *lengths)
{
	struct rows *r = context;
	const char *bytes = values[0];
	size_t n = bytes != NULL ? lengths[0] : 0;

	/* a column of type CHAR(n) fills up with blanks */
	text_strip(&bytes, &n);
	if (r->conf->expansion_limit > 0 && r->count == r->conf->expansion_limit)
		r->fault = "more rows than expansion_limit";
	else if (columns != 1)
		r->fault = "the query gives several columns, one is meant; name one after SELECT";
	else if (bytes == NULL)
		r->fault = "the value is NULL; if such rows are meant to be passed over, say so in the query (IS NOT NULL)";
	else if (n == 0)
		r->fault = "the value is empty; if such rows are meant to be passed over, say so in the query";
	else if (n > LONGEST_ANSWER || r->text.len > LONGEST_ANSWER - n)
		r->fault = "the answer is longer than 512 KiB";
	else if (text_has_controls(bytes, n))
		r->fault = "the value has control bytes in it";
	if (r->fault != NULL)
		return false;
	if (r->count++ > 0)
		buf_addc(&r->text, ',');
	if (!sql_format_value(&r->conf->result_format, r->key, r->key_length, bytes, n, &r->text))
		r->fault = "the value has no part before or after an @ as result_format asks for";
	return r->fault == NULL;
}

static enum map_answer find_sql(struct map *map, const char *key, size_t length, struct buf *value)
{
	const struct sql_map *s = conffile_source(map);
	struct rows rows = { .conf = &s->conf, .key = key, .key_length = length };
	struct sql_question question = {
		.query = &s->conf.query, .key = key, .key_length = length,
		.deadline = clock_ms() + s->conf.access.timeout * 1000,
		.row = take_row, .restart = restart_rows, .context = &rows,
	};
	struct buf why = { 0 };
	enum map_answer answer;

	/* the connection speaks UTF-8: what is none is in no table */
	if (!map_key_is_askable(key, length) || !text_is_utf8(key, length) || !sqlconf_fits(&s->conf, key, length))
		return MAP_NOT_FOUND;
	if (sqlconn_ask(s->connection, &question, &why) && rows.fault == NULL)
		answer = rows.count > 0 ? MAP_FOUND : MAP_NOT_FOUND;
	else
		answer = map_fail(map, "%s", rows.fault != NULL ? rows.fault : buf_str(&why));
	if (answer == MAP_FOUND)
		buf_add(value, buf_str(&rows.text), rows.text.len);
	buf_free(&rows.text);
	buf_free(&why);
	return answer;
}

#define SQL_OPERATIONS(name) { \
	.type = name, .suffix = "", .prepare = prepare_sql, .open = conffile_open, .find = find_sql, \
	.changed = conffile_changed, .close = conffile_close, .forget = conffile_forget, \
}

const struct map_operations map_pgsql = SQL_OPERATIONS("pgsql");
const struct map_operations map_mysql = SQL_OPERATIONS("mysql");
const struct map_operations map_sqlite = SQL_OPERATIONS("sqlite");
