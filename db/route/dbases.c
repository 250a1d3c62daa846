#include "db/route/dbases.h"

#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>

#include "db/route/lookup.h"
#include "db/route/privilege.h"
#include "lib/alloc.h"
#include "lib/file.h"
#include "lib/text.h"

#define FIELDS 6

struct reader {
	struct dbases *dbases;
	const struct zenv *zenv;
	fault_report *report;
	void *context;
	size_t line;
	size_t errors;
	char *fields[FIELDS];        /* of the line at hand */
	size_t columns[FIELDS];
};

/* `field` is the one it is about, FIELDS for the whole line. */
static void tell(struct reader *r, bool is_warning, size_t field, const char *format, ...)
	__attribute__((format(printf, 4, 5)));

static void tell(struct reader *r, bool is_warning, size_t field, const char *format, ...)
{
	struct fault fault = { r->dbases->path, r->line, field < FIELDS ? r->columns[field] : 0, is_warning, NULL };
	struct buf raw = { 0 }, clean = { 0 };
	va_list ap;

	va_start(ap, format);
	buf_vaddf(&raw, format, ap);
	va_end(ap);
	text_add_clean(&clean, buf_str(&raw), raw.len, 500);
	fault.text = buf_str(&clean);
	if (!is_warning)
		r->errors++;
	r->report(r->context, &fault);
	buf_free(&raw);
	buf_free(&clean);
}

/* ---- the fields -------------------------------------------------------------------- */

static bool is_dash(const char *field)
{
	return strcmp(field, "-") == 0;
}

static void parse_relation(struct reader *r, struct dbases_map *m)
{
	const char *name = r->fields[0];

	m->relation = xstrdup(name);
	for (const char *p = name; *p != '\0'; p++) {
		if ((*p >= 'a' && *p <= 'z') || (*p >= 'A' && *p <= 'Z') || (*p >= '0' && *p <= '9') || *p == '_')
			continue;
		tell(r, false, 0, "expected letters, digits and '_' in the name of a relation, not \"%s\"", name);
		return;
	}
	if (strcmp(name, "routes") == 0)
		tell(r, false, 0, "the router asks a relation \"routesdb\", not \"routes\"");
	else if (strcmp(name, "fullnamemap") == 0)
		tell(r, true, 0, "ZMailer's scripts replace fullnamemap by an empty one");
	else if (strcmp(name, "newsgroup") == 0)
		tell(r, true, 0, "no script of ZMailer reads newsgroup");
}

/* The type that $DBTYPE stands for, allocated. */
static char *default_type(struct reader *r)
{
	struct buf value = { 0 }, why = { 0 };
	bool is_set = false;
	char *type = NULL;

	if (zenv_get(r->zenv, "DBTYPE", &value, &is_set, &why) != EX_OK)
		tell(r, false, 1, "%s", buf_str(&why));
	else
		type = xstrdup(is_set ? buf_str(&value) : "btree");
	buf_free(&value);
	buf_free(&why);
	return type;
}

static const struct {
	const char *name;
	enum dbases_kind kind;
	bool subtype;             /* must there be one, or must there be none */
} types[] = {
	{ "NONE", DBASES_NONE, false }, { "btree", DBASES_BUILT, false }, { "bhash", DBASES_BUILT, false },
	{ "lmdb", DBASES_BUILT, false }, { "unordered", DBASES_READ, false }, { "ordered", DBASES_READ, false },
	{ "ldap", DBASES_READ, false }, { "bind", DBASES_FOREIGN, true }, { "yp", DBASES_FOREIGN, true },
};

static void set_type(struct reader *r, struct dbases_map *m, const char *name)
{
	for (size_t i = 0; i < sizeof types / sizeof types[0]; i++) {
		if (strcmp(name, types[i].name) != 0)
			continue;
		m->kind = types[i].kind;
		if (types[i].subtype != (m->subtype != NULL))
			tell(r, false, 1, types[i].subtype ? "type %s needs a subtype: %s,NAME" : "type %s has no subtype, remove \"%s\"",
			     name, types[i].subtype ? name : m->subtype);
		return;
	}
	tell(r, false, 1, "type \"%s\" is not supported; expected btree, bhash, lmdb, unordered, ordered, ldap or NONE", name);
}

/* It goes into a script that a shell reads. */
static void check_subtype(struct reader *r, const char *subtype)
{
	static const char plain[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.-";

	if (subtype[strspn(subtype, plain)] != '\0')
		tell(r, false, 1, "expected letters, digits, '_', '.' and '-' in a subtype, not \"%s\"", subtype);
}

static void parse_type(struct reader *r, struct dbases_map *m)
{
	const char *field = r->fields[1];
	size_t n = strcspn(field, ",/");

	m->default_type = strcmp(field, "$DBTYPE") == 0 || strcmp(field, "${DBTYPE}") == 0;
	m->type = m->default_type ? default_type(r) : xstrndup(field, n);
	if (!m->default_type && field[n] != '\0')
		m->subtype = xstrdup(field + n + 1);
	if (m->subtype != NULL)
		check_subtype(r, m->subtype);
	if (m->type != NULL)
		set_type(r, m, m->type);
}

static void parse_privilege(struct reader *r, struct dbases_map *m)
{
	const char *why;

	m->uid = (uid_t)-1;
	m->gid = (gid_t)-1;
	if (is_dash(r->fields[2]))
		return;
	m->has_privilege = true;
	if (!privilege_parse(r->fields[2], &m->uid, &m->gid, &m->mode, &why))
		tell(r, false, 2, "%s, not \"%s\"", why, r->fields[2]);
}

static void parse_build(struct reader *r, struct dbases_map *m)
{
	const char *field = r->fields[3];

	m->syntax.folding = '-';
	if (is_dash(field))
		return;
	if (strcmp(field, "-r") == 0) {
		if (m->kind == DBASES_BUILT)
			m->kind = DBASES_LIVE;
		return;
	}
	if (m->kind != DBASES_BUILT) {
		tell(r, false, 3, "maps of this type are not built; expected \"-\"");
		return;
	}
	for (const char *p = field + (*field == '-'); *p != '\0'; p++) {
		if (*p == 'a')
			m->syntax.aliases = true;
		else if (*p == 'A')
			m->join = true;
		else if ((*p == 'l' || *p == 'u') && (m->syntax.folding == '-' || m->syntax.folding == *p))
			m->syntax.folding = *p;
		else if (*p != 's') {
			tell(r, false, 3, "expected \"-\", \"-r\" alone, or a word of -a -A -l -u, not \"%s\"", field);
			return;
		}
	}
	if (field[0] != '-' || field[1] == '\0')
		tell(r, false, 3, "expected \"-\", \"-r\" alone, or a word of -a -A -l -u, not \"%s\"", field);
}

/* The same name with a directory without links and "..", so that names can be compared; takes `path` over. */
static char *canonical(char *path)
{
	char *slash = strrchr(path, '/'), *directory, *result;

	if (slash == path)
		return path;
	*slash = '\0';
	directory = realpath(path, NULL);
	*slash = '/';
	if (directory == NULL)
		return path;
	result = xasprintf("%s%s", directory, slash);
	free(directory);
	free(path);
	return result;
}

/* Puts variables in and makes the name absolute.  NULL after a fault. */
static char *expand(struct reader *r, size_t field, const char *text)
{
	struct buf out = { 0 }, why = { 0 };
	char *path = NULL;

	if (text[0] != '/' && text[0] != '$')
		buf_addf(&out, "%s/", r->dbases->directory);
	if (zenv_expand(r->zenv, text, &out, &why) != EX_OK)
		tell(r, false, field, "%s", buf_str(&why));
	else if (buf_str(&out)[0] != '/')
		tell(r, false, field, "\"%s\" is no absolute path", buf_str(&out));
	else
		path = canonical(xstrdup(buf_str(&out)));
	buf_free(&out);
	buf_free(&why);
	return path;
}

static bool ends_in(const char *s, const char *end)
{
	size_t n = strlen(s), m = strlen(end);

	return m > 0 && n >= m && strcmp(s + n - m, end) == 0;
}

static void parse_file(struct reader *r, struct dbases_map *m)
{
	const char *field = r->fields[4];
	const char *suffix = m->type != NULL ? map_suffix(m->type) : NULL;
	bool none_wanted = m->kind == DBASES_NONE;

	m->file_written = xstrdup(field);
	if (is_dash(field)) {
		if (m->kind == DBASES_BUILT || m->kind == DBASES_LIVE || m->kind == DBASES_READ)
			tell(r, false, 4, "expected the name of a file");
		return;
	}
	if (none_wanted) {
		tell(r, false, 4, "expected \"-\": NONE has no file");
		return;
	}
	if (suffix != NULL && ends_in(field, suffix)) {
		tell(r, false, 4, "expected the name without \"%s\"", suffix);
		return;
	}
	m->file = expand(r, 4, field);
}

static void check_folding(struct reader *r, const struct dbases_map *m)
{
	char built = text_folding(&m->syntax);
	char asked = m->lookup.fold == FOLD_LOWER ? 'l' : m->lookup.fold == FOLD_UPPER ? 'u' : '-';

	if (m->kind == DBASES_BUILT && built != '-' && built != asked)
		tell(r, true, 5, "keys are stored in %s case; without -%c a lookup in other letters never finds them",
		     built == 'l' ? "lower" : "upper", built);
	if (m->kind == DBASES_BUILT && built == '-' && asked != '-')
		tell(r, true, 5, "lookups are folded by -%c, keys are not: build with -%c too", asked, asked);
}

static void check_config(struct reader *r, struct dbases_map *m)
{
	if (m->config_written == NULL)
		return;
	if (m->kind == DBASES_BUILT)
		tell(r, false, 3, "expected \"-r\" here: a map in an environment (-C) is updated in place and must not be built");
	else if (m->kind != DBASES_LIVE || strcmp(m->type, "lmdb") == 0)
		tell(r, false, 5, "-C is for maps of types btree and bhash with \"-r\"");
	else if (m->config_written[0] != '/' && m->config_written[0] != '$')
		tell(r, false, 5, "expected an absolute path behind -C, not \"%s\"", m->config_written);
	else
		m->config = expand(r, 5, m->config_written);
}

static void parse_lookup(struct reader *r, struct dbases_map *m)
{
	const char *field = r->fields[5];
	struct buf why = { 0 };

	m->lookup_written = xstrdup(field);
	if (m->kind == DBASES_NONE) {
		if (!is_dash(field) && field[0] != '\0')
			tell(r, false, 5, "expected \"-\": NONE is never asked");
		return;
	}
	if (is_dash(field))
		tell(r, false, 5, "expected lookup options such as -lm: with \"-\" ZMailer finds nothing in the map");
	else if (!lookup_options_parse(field, &m->lookup, &m->config_written, &why))
		tell(r, false, 5, "%s", buf_str(&why));
	else {
		check_folding(r, m);
		check_config(r, m);
	}
	buf_free(&why);
}

/* ---- lines ---------------------------------------------------------------------------- */

static void free_map(struct dbases_map *m)
{
	free(m->relation);
	free(m->type);
	free(m->subtype);
	free(m->file);
	free(m->file_written);
	free(m->lookup_written);
	free(m->config);
	free(m->config_written);
}

/* Two lines may share a map, but not build it in two ways. */
static void check_shared(struct reader *r, const struct dbases_map *m)
{
	for (size_t i = 0; m->file != NULL && i < r->dbases->count; i++) {
		const struct dbases_map *other = &r->dbases->maps[i];

		if (other->file == NULL || strcmp(other->file, m->file) != 0 || strcmp(other->type, m->type) != 0)
			continue;
		if (other->kind != m->kind || other->join != m->join || other->syntax.aliases != m->syntax.aliases ||
		    text_folding(&other->syntax) != text_folding(&m->syntax) || other->uid != m->uid ||
		    other->gid != m->gid || other->mode != m->mode)
			tell(r, false, 4, "line %zu makes the same map otherwise", other->line);
	}
}

static void parse_fields(struct reader *r)
{
	struct dbases *d = r->dbases;
	struct dbases_map m = { .line = r->line, .mode = 0 };
	size_t errors = r->errors;

	parse_relation(r, &m);
	parse_type(r, &m);
	if (r->errors == errors) {
		parse_privilege(r, &m);
		parse_build(r, &m);
		parse_file(r, &m);
		parse_lookup(r, &m);
	}
	if (r->errors == errors)
		check_shared(r, &m);
	if (r->errors > errors) {
		free_map(&m);
		return;
	}
	d->maps = xgrow(d->maps, d->count, &d->capacity, sizeof *d->maps);
	d->maps[d->count++] = m;
}

/* Cuts the line into five words and the rest.  False after a fault. */
static bool cut(struct reader *r, char *line)
{
	char *p = line;

	for (size_t i = 0; i < FIELDS; i++) {
		p += strspn(p, " \t");
		if (*p == '\0') {
			r->columns[i < 1 ? 0 : i - 1] = (size_t)(p - line) + 1;
			tell(r, false, i < 1 ? 0 : i - 1, "expected six fields (relation, type, privilege, build options, file, lookup "
			     "options) and not %zu", i);
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

static void parse_line(struct reader *r, char *line, size_t n)
{
	size_t blanks = strspn(line, " \t");

	if (memchr(line, '\0', n) != NULL)
		tell(r, false, FIELDS, "NUL byte");
	else if (n > 0 && line[n - 1] == '\r')
		tell(r, false, FIELDS, "CR at the end of the line");
	else if (line[0] == '#' || blanks == n)
		return;
	else if (blanks > 0 && line[blanks] == '#')
		return;
	else if (blanks > 0)
		tell(r, false, FIELDS, "expected a relation in column 1: ZMailer would skip this line");
	else if (!((line[0] >= 'a' && line[0] <= 'z') || (line[0] >= 'A' && line[0] <= 'Z') ||
	           (line[0] >= '0' && line[0] <= '9')))
		tell(r, false, FIELDS, "expected a letter, a digit or '#' in column 1: ZMailer would skip this line");
	else if (cut(r, line))
		parse_fields(r);
}

/* Where newdb changes to: $MAILVAR/db, else the directory of the file. */
static char *working_directory(struct reader *r, const char *path)
{
	struct buf out = { 0 }, why = { 0 };
	const char *slash = strrchr(path, '/');
	bool is_set = false;
	char *directory, *absolute;

	if (zenv_get(r->zenv, "MAILVAR", &out, &is_set, &why) != EX_OK)
		tell(r, false, FIELDS, "%s", buf_str(&why));
	if (is_set)
		directory = xasprintf("%s/db", buf_str(&out));
	else
		directory = slash == NULL ? xstrdup(".") : xstrndup(path, slash == path ? 1 : (size_t)(slash - path));
	absolute = realpath(directory, NULL);
	if (absolute != NULL) {
		free(directory);
		directory = absolute;
	}
	buf_free(&out);
	buf_free(&why);
	return directory;
}

int dbases_parse(struct dbases *dbases, const char *path, const char *text, size_t n, const struct zenv *zenv,
                 fault_report *report, void *context)
{
	struct reader r = { .dbases = dbases, .zenv = zenv, .report = report, .context = context };
	const char *p = text, *end = text + n;

	*dbases = (struct dbases){ .path = xstrdup(path) };
	dbases->directory = working_directory(&r, path);
	while (p < end) {
		const char *newline = memchr(p, '\n', (size_t)(end - p));
		size_t length = (size_t)((newline != NULL ? newline : end) - p);
		char *line = xmalloc(length + 1);

		memcpy(line, p, length);
		line[length] = '\0';
		r.line++;
		parse_line(&r, line, length);
		free(line);
		p += length + 1;
	}
	if (r.errors == 0)
		return EX_OK;
	dbases_free(dbases);
	return EX_CONFIG;
}

int dbases_read(struct dbases *dbases, const char *path, const struct zenv *zenv, fault_report *report, void *context)
{
	struct buf text = { 0 };
	int status;

	if (!file_read_path(path, &text)) {
		struct fault fault = { path, 0, 0, false, strerror(errno) };

		report(context, &fault);
		buf_free(&text);
		return EX_NOINPUT;
	}
	status = dbases_parse(dbases, path, buf_str(&text), text.len, zenv, report, context);
	buf_free(&text);
	return status;
}

void dbases_free(struct dbases *dbases)
{
	for (size_t i = 0; i < dbases->count; i++)
		free_map(&dbases->maps[i]);
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

static struct map *open_map(const struct dbases_map *m, int *status, struct buf *why)
{
	if (m->kind == DBASES_FOREIGN)
		return map_open("fail", "only ZMailer's router can read this type of map", NULL, status, why);
	return map_open(m->type, m->file, m->config, status, why);
}

struct relation *dbases_relation(const struct dbases *dbases, const char *name, int *status, struct buf *why)
{
	struct relation *relation;

	*status = EX_OK;
	if (!dbases_has(dbases, name)) {
		*status = EX_UNAVAILABLE;
		buf_addf(why, "%s: no relation \"%s\"", dbases->path, name);
		return NULL;
	}
	relation = relation_create(name);
	for (size_t i = 0; i < dbases->count && *status == EX_OK; i++) {
		const struct dbases_map *m = &dbases->maps[i];
		struct map *map;

		if (m->kind == DBASES_NONE || strcmp(m->relation, name) != 0)
			continue;
		map = open_map(m, status, why);
		if (map != NULL)
			relation_add(relation, map, &m->lookup)->own_privilege = m->has_privilege;
	}
	if (*status != EX_OK)
		relation_destroy(&relation);
	return relation;
}
