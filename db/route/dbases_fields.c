#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>

#include "db/route/dbases_private.h"
#include "db/route/lookup.h"
#include "db/route/privilege.h"
#include "lib/alloc.h"
#include "lib/text.h"

void dbases_tell(struct dbases_reader *r, bool is_warning, size_t field, const char *format, ...)
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

static bool is_dash(const char *field)
{
	return strcmp(field, "-") == 0;
}

static void parse_relation(struct dbases_reader *r, struct dbases_map *m)
{
	const char *name = r->fields[0];

	m->relation = xstrdup(name);
	for (const char *p = name; *p != '\0'; p++) {
		if ((*p >= 'a' && *p <= 'z') || (*p >= 'A' && *p <= 'Z') || (*p >= '0' && *p <= '9') || *p == '_')
			continue;
		dbases_tell(r, false, 0, "expected letters, digits and '_' in the name of a relation, not \"%s\"", name);
		return;
	}
	if (strcmp(name, "routes") == 0)
		dbases_tell(r, false, 0, "the router asks a relation \"routesdb\", not \"routes\"");
	else if (strcmp(name, "fullnamemap") == 0)
		dbases_tell(r, true, 0, "ZMailer's scripts replace fullnamemap by an empty one");
	else if (strcmp(name, "newsgroup") == 0)
		dbases_tell(r, true, 0, "no script of ZMailer reads newsgroup");
}

/* The type that $DBTYPE stands for, allocated. */
static char *default_type(struct dbases_reader *r)
{
	struct buf value = { 0 }, why = { 0 };
	bool is_set = false;
	char *type = NULL;

	if (zenv_get(r->zenv, "DBTYPE", &value, &is_set, &why) != EX_OK)
		dbases_tell(r, false, 1, "%s", buf_str(&why));
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
	{ "ldap", DBASES_READ, false }, { "pgsql", DBASES_READ, false }, { "mysql", DBASES_READ, false },
	{ "sqlite", DBASES_READ, false }, { "bind", DBASES_FOREIGN, true }, { "yp", DBASES_FOREIGN, true },
};

static void parse_type(struct dbases_reader *r, struct dbases_map *m)
{
	static const char plain[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.-";
	const char *field = r->fields[1];
	size_t n = strcspn(field, ",/");

	m->default_type = strcmp(field, "$DBTYPE") == 0 || strcmp(field, "${DBTYPE}") == 0;
	m->type = m->default_type ? default_type(r) : xstrndup(field, n);
	if (!m->default_type && field[n] != '\0')
		m->subtype = xstrdup(field + n + 1);
	/* it goes into a script that a shell reads */
	if (m->subtype != NULL && m->subtype[strspn(m->subtype, plain)] != '\0')
		dbases_tell(r, false, 1, "expected letters, digits, '_', '.' and '-' in a subtype, not \"%s\"", m->subtype);
	if (m->type != NULL) {
		const char *name = m->type;

		for (size_t i = 0; i < sizeof types / sizeof types[0]; i++) {
			if (strcmp(name, types[i].name) != 0)
				continue;
			m->kind = types[i].kind;
			if (types[i].subtype != (m->subtype != NULL))
				dbases_tell(r, false, 1, types[i].subtype ? "type %s needs a subtype: %s,NAME"
				                                          : "type %s has no subtype, remove \"%s\"",
				            name, types[i].subtype ? name : m->subtype);
			return;
		}
		dbases_tell(r, false, 1, "type \"%s\" is not supported; expected btree, bhash, lmdb, unordered, ordered, ldap, "
		            "pgsql, mysql, sqlite or NONE", name);
	}
}

static void parse_privilege(struct dbases_reader *r, struct dbases_map *m)
{
	const char *why;

	m->uid = (uid_t)-1;
	m->gid = (gid_t)-1;
	if (is_dash(r->fields[2]))
		return;
	m->has_privilege = true;
	if (!privilege_parse(r->fields[2], &m->uid, &m->gid, &m->mode, &why))
		dbases_tell(r, false, 2, "%s, not \"%s\"", why, r->fields[2]);
}

static void parse_build(struct dbases_reader *r, struct dbases_map *m)
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
		dbases_tell(r, false, 3, "maps of this type are not built; expected \"-\"");
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
			dbases_tell(r, false, 3, "expected \"-\", \"-r\" alone, or a word of -a -A -l -u, not \"%s\"", field);
			return;
		}
	}
	if (field[0] != '-' || field[1] == '\0')
		dbases_tell(r, false, 3, "expected \"-\", \"-r\" alone, or a word of -a -A -l -u, not \"%s\"", field);
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
static char *expand(struct dbases_reader *r, size_t field, const char *text)
{
	struct buf out = { 0 }, why = { 0 };
	char *path = NULL;

	if (text[0] != '/' && text[0] != '$')
		buf_addf(&out, "%s/", r->dbases->directory);
	if (zenv_expand(r->zenv, text, &out, &why) != EX_OK)
		dbases_tell(r, false, field, "%s", buf_str(&why));
	else if (buf_str(&out)[0] != '/')
		dbases_tell(r, false, field, "\"%s\" is no absolute path", buf_str(&out));
	else
		path = canonical(xstrdup(buf_str(&out)));
	buf_free(&out);
	buf_free(&why);
	return path;
}

static void parse_file(struct dbases_reader *r, struct dbases_map *m)
{
	const char *field = r->fields[4];
	const char *suffix = m->type != NULL ? map_suffix(m->type) : NULL;
	bool none_wanted = m->kind == DBASES_NONE;

	m->file_written = xstrdup(field);
	if (is_dash(field)) {
		if (m->kind == DBASES_BUILT || m->kind == DBASES_LIVE || m->kind == DBASES_READ)
			dbases_tell(r, false, 4, "expected the name of a file");
		return;
	}
	if (none_wanted) {
		dbases_tell(r, false, 4, "expected \"-\": NONE has no file");
		return;
	}
	if (suffix != NULL && suffix[0] != '\0' && text_ends_in(field, suffix)) {
		dbases_tell(r, false, 4, "expected the name without \"%s\"", suffix);
		return;
	}
	m->file = expand(r, 4, field);
}

static void check_config(struct dbases_reader *r, struct dbases_map *m)
{
	if (m->config_written == NULL)
		return;
	if (m->kind == DBASES_BUILT)
		dbases_tell(r, false, 3, "expected \"-r\" here: a map in an environment (-C) is updated in place and must not be "
		            "built");
	else if (m->kind != DBASES_LIVE || strcmp(m->type, "lmdb") == 0)
		dbases_tell(r, false, 5, "-C is for maps of types btree and bhash with \"-r\"");
	else if (m->config_written[0] != '/' && m->config_written[0] != '$')
		dbases_tell(r, false, 5, "expected an absolute path after -C, not \"%s\"", m->config_written);
	else
		m->config = expand(r, 5, m->config_written);
}

static void parse_lookup(struct dbases_reader *r, struct dbases_map *m)
{
	const char *field = r->fields[5];
	struct buf why = { 0 };

	m->lookup_written = xstrdup(field);
	if (m->kind == DBASES_NONE) {
		if (!is_dash(field) && field[0] != '\0')
			dbases_tell(r, false, 5, "expected \"-\": NONE is never asked");
		return;
	}
	if (is_dash(field))
		dbases_tell(r, false, 5, "expected lookup options such as -lm: with \"-\" ZMailer finds nothing in the map");
	else if (!lookup_options_parse(field, &m->lookup, &m->config_written, &why))
		dbases_tell(r, false, 5, "%s", buf_str(&why));
	else {
		char built = text_folding(&m->syntax);
		char asked = key_fold_letter(m->lookup.fold);

		if (m->kind == DBASES_BUILT && built != '-' && built != asked)
			dbases_tell(r, true, 5,
			            "keys are stored in %s case; without -%c a lookup in other letters never finds them",
			     built == 'l' ? "lower" : "upper", built);
		if (m->kind == DBASES_BUILT && built == '-' && asked != '-')
			dbases_tell(r, true, 5, "lookups are folded by -%c, keys are not: build with -%c too", asked, asked);
		check_config(r, m);
	}
	buf_free(&why);
}

void dbases_fields(struct dbases_reader *r, struct dbases_map *m)
{
	size_t errors = r->errors;

	parse_relation(r, m);
	parse_type(r, m);
	if (r->errors > errors)
		return;
	parse_privilege(r, m);
	parse_build(r, m);
	parse_file(r, m);
	parse_lookup(r, m);
}

void dbases_free_map(struct dbases_map *m)
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
