#include "db/route/dbases.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>

#include "db/route/dbases_private.h"
#include "lib/alloc.h"
#include "lib/conf.h"
#include "lib/file.h"
#include "lib/text.h"

/* ---- lines ---------------------------------------------------------------------------- */

/* Cuts the line into five words and the rest.  False after a fault. */
static bool cut(struct dbases_reader *r, char *line)
{
	char *p = line;

	for (size_t i = 0; i < FIELDS; i++) {
		p += strspn(p, " \t");
		if (*p == '\0') {
			r->columns[i < 1 ? 0 : i - 1] = (size_t)(p - line) + 1;
			dbases_tell(r, false, i < 1 ? 0 : i - 1,
			            "expected six fields (relation, type, privilege, build options, "
			            "file, lookup options) and not %zu", i);
			return false;
		}
		r->fields[i] = p;
		r->columns[i] = (size_t)(p - line) + 1;
		if (i + 1 < FIELDS) {
			p += strcspn(p, " \t");
			if (*p != '\0')
				*p++ = '\0';
		}
	}
	for (size_t n = strlen(r->fields[FIELDS - 1]); n > 0 && strchr(" \t", r->fields[FIELDS - 1][n - 1]) != NULL; n--)
		r->fields[FIELDS - 1][n - 1] = '\0';
	return true;
}

static void parse_line(struct dbases_reader *r, char *line, size_t n)
{
	size_t blanks = strspn(line, " \t");

	if (memchr(line, '\0', n) != NULL)
		dbases_tell(r, false, FIELDS, "NUL byte");
	else if (n > 0 && line[n - 1] == '\r')
		dbases_tell(r, false, FIELDS, "CR at the end of the line");
	else if (line[0] == '#' || blanks == n)
		return;
	else if (blanks > 0 && line[blanks] == '#')
		return;
	else if (blanks > 0)
		dbases_tell(r, false, FIELDS, "expected a relation in column 1: ZMailer would skip this line");
	else if (!((line[0] >= 'a' && line[0] <= 'z') || (line[0] >= 'A' && line[0] <= 'Z') ||
	           (line[0] >= '0' && line[0] <= '9')))
		dbases_tell(r, false, FIELDS, "expected a letter, a digit or '#' in column 1: ZMailer would skip this line");
	else if (cut(r, line)) {
		struct dbases *d = r->dbases;
		struct dbases_map m = { .line = r->line, .mode = 0 };
		size_t errors = r->errors;

		dbases_fields(r, &m);
		/* two lines may share a map, but not build it in two ways */
		for (size_t i = 0; r->errors == errors && m.file != NULL && i < d->count; i++) {
			const struct dbases_map *other = &d->maps[i];

			if (other->file == NULL || strcmp(other->file, m.file) != 0 || strcmp(other->type, m.type) != 0)
				continue;
			if (other->kind != m.kind || other->join != m.join || other->syntax.aliases != m.syntax.aliases ||
			    text_folding(&other->syntax) != text_folding(&m.syntax) || other->uid != m.uid ||
			    other->gid != m.gid || other->mode != m.mode)
				dbases_tell(r, false, 4, "line %zu makes the same map otherwise", other->line);
		}
		if (r->errors > errors) {
			dbases_free_map(&m);
			return;
		}
		d->maps = xgrow(d->maps, d->count, &d->capacity, sizeof *d->maps);
		d->maps[d->count++] = m;
	}
}

int dbases_parse(struct dbases *dbases, const char *path, const char *text, size_t n, const struct zenv *zenv,
                 fault_report *report, void *context)
{
	struct dbases_reader r = { .dbases = dbases, .zenv = zenv, .report = report, .context = context };
	struct conf_text lines = conf_begin(path, text, n, NULL);
	struct buf out = { 0 }, why = { 0 };
	bool is_set = false;
	char *directory, *absolute;

	*dbases = (struct dbases){ .path = xstrdup(path) };
	/* where newdb changes to: $MAILVAR/db, else the directory of the file */
	if (zenv_get(r.zenv, "MAILVAR", &out, &is_set, &why) != EX_OK)
		dbases_tell(&r, false, FIELDS, "%s", buf_str(&why));
	directory = is_set ? xasprintf("%s/db", buf_str(&out)) : file_directory(path);
	absolute = realpath(directory, NULL);
	if (absolute != NULL) {
		free(directory);
		directory = absolute;
	}
	buf_free(&out);
	buf_free(&why);
	dbases->directory = directory;
	while (conf_next(&lines)) {
		char *line = xmalloc(lines.length + 1);

		memcpy(line, lines.line, lines.length);
		line[lines.length] = '\0';
		r.line = lines.number;
		parse_line(&r, line, lines.length);
		free(line);
	}
	if (r.errors == 0)
		return EX_OK;
	dbases_free(dbases);
	return EX_CONFIG;
}

int dbases_read_text(struct dbases *dbases, const char *path, struct buf *text, const struct zenv *zenv,
                     fault_report *report, void *context)
{
	*dbases = (struct dbases){ 0 };
	if (!file_read_path(path, text)) {
		struct fault fault = { path, 0, 0, false, file_error(errno) };

		report(context, &fault);
		return EX_NOINPUT;
	}
	/*
	 * its writer may have just begun, or had no room on the disk, and without a map mail for users here would go elsewhere
	 */
	if (text->len == 0) {
		const struct fault fault = { path, 0, 0, false, "is empty; a comment in it says that no map is meant" };

		report(context, &fault);
		return EX_CONFIG;
	}
	return dbases_parse(dbases, path, buf_str(text), text->len, zenv, report, context);
}

int dbases_read(struct dbases *dbases, const char *path, const struct zenv *zenv, fault_report *report, void *context)
{
	struct buf text = { 0 };
	int status = dbases_read_text(dbases, path, &text, zenv, report, context);

	buf_free(&text);
	return status;
}

void dbases_free(struct dbases *dbases)
{
	for (size_t i = 0; i < dbases->count; i++)
		dbases_free_map(&dbases->maps[i]);
	free(dbases->maps);
	free(dbases->path);
	free(dbases->directory);
	*dbases = (struct dbases){ 0 };
}

/* ---- use -------------------------------------------------------------------------------- */

bool dbases_has(const struct dbases *dbases, const char *name)
{
	for (size_t i = 0; i < dbases->count; i++)
		if (strcmp(dbases->maps[i].relation, name) == 0)
			return true;
	return false;
}

void dbases_add_names(const struct dbases *dbases, struct buf *out)
{
	for (size_t i = 0; i < dbases->count; i++) {
		size_t first = 0;

		while (strcmp(dbases->maps[first].relation, dbases->maps[i].relation) != 0)
			first++;
		if (first == i)
			buf_addf(out, "%s%s", i == 0 ? "" : ", ", dbases->maps[i].relation);
	}
	if (dbases->count == 0)
		buf_adds(out, "none");
}

const struct dbases_map *dbases_find_file(const struct dbases *dbases, const char *path)
{
	for (size_t i = 0; i < dbases->count; i++) {
		const struct dbases_map *m = &dbases->maps[i];
		size_t n = m->file != NULL ? strlen(m->file) : 0;

		if (n > 0 && strncmp(path, m->file, n) == 0 && (path[n] == '\0' || strcmp(path + n, map_suffix(m->type)) == 0))
			return m;
	}
	return NULL;
}

struct relation *dbases_relation(const struct dbases *dbases, const char *name, int *status, struct buf *why)
{
	struct relation *relation;

	*status = EX_OK;
	if (!dbases_has(dbases, name)) {
		*status = EX_UNAVAILABLE;
		buf_addf(why, "%s: no relation \"%s\"; it has ", dbases->path, name);
		dbases_add_names(dbases, why);
		return NULL;
	}
	relation = relation_create(name);
	for (size_t i = 0; i < dbases->count && *status == EX_OK; i++) {
		const struct dbases_map *m = &dbases->maps[i];
		struct map *map;

		if (m->kind == DBASES_NONE || strcmp(m->relation, name) != 0)
			continue;
		map = m->kind == DBASES_FOREIGN
			? map_open("fail", "only ZMailer's router can read this type of map", NULL, status, why)
			: map_open(m->type, m->file, m->config, status, why);
		if (map != NULL)
			relation_add(relation, map, &m->lookup)->own_privilege = m->has_privilege;
	}
	if (*status != EX_OK)
		relation_destroy(&relation);
	return relation;
}
