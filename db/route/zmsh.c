#include "db/route/zmsh.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sysexits.h>
#include <unistd.h>

#include "db/route/lookup.h"
#include "lib/alloc.h"
#include "lib/file.h"
#include "lib/publish.h"

#define SCRIPT_MODE 0644

/* ---- pieces ------------------------------------------------------------------------ */

/* Letters that take an argument; what follows in the word, or the next word, is none of ours. */
static const char with_argument[] = "dCse";

/* Adds one word of options without the letters that only we know; nothing at all if no other letter is left. */
static void add_letters(struct buf *out, const char *word, size_t n, bool *takes_next)
{
	struct buf kept = { 0 };

	*takes_next = false;
	buf_addc(&kept, '-');
	for (size_t i = 1; i < n; i++) {
		if (strchr(LOOKUP_OWN_LETTERS, word[i]) != NULL)
			continue;
		buf_addc(&kept, word[i]);
		if (strchr(with_argument, word[i]) != NULL) {
			*takes_next = i + 1 == n;
			buf_add(&kept, word + i + 1, n - i - 1);
			break;
		}
	}
	if (kept.len > 1)
		buf_addf(out, " %s", buf_str(&kept));
	buf_free(&kept);
}

/*
 * The file as the router opens it; with $DBTYPE goes a variable for the suffix that is known when the router starts.
 */
static void add_file(struct buf *out, const struct dbases_map *m, const char *suffix_of_default)
{
	bool has_suffix = m->kind == DBASES_BUILT || m->kind == DBASES_LIVE;
	const char *file = m->file_written[0] == '/' || m->file_written[0] == '$' ? m->file_written : m->file;

	buf_adds(out, file);
	if (has_suffix)
		buf_adds(out, m->default_type ? suffix_of_default : map_suffix(m->type));
}

static void add_relation(struct buf *out, const struct dbases_map *m, unsigned number)
{
	const char *options;
	bool is_argument = false;

	buf_adds(out, "relation");
	/* the lookup options as they were written, but for our own letters */
	options = m->lookup_written;
	while (*options != '\0') {
		size_t n = strcspn(options, " \t");

		if (is_argument)
			buf_addf(out, " %.*s", (int)n, options);
		if (n > 0 && is_argument)
			is_argument = false;
		else if (n > 0)
			add_letters(out, options, n, &is_argument);
		options += n + strspn(options + n, " \t");
	}
	buf_addf(out, " -t %s%s%s", m->default_type ? "$DBTYPE" : m->type, m->subtype != NULL ? "," : "",
	         m->subtype != NULL ? m->subtype : "");
	if (m->file != NULL) {
		buf_adds(out, " -f ");
		add_file(out, m, "$DBEXT");
	}
	buf_addf(out, " %s_%u\n", m->relation, number);
}

/* `priv` must be set within the if block to reach the caller's variable. */
static void add_search(struct buf *out, const struct dbases_map *m, unsigned number)
{
	buf_addf(out, "\tif hit=\"$(%s_%u $@)\"; then\n", m->relation, number);
	if (m->has_privilege) {
		buf_addf(out, "\t\tpriv=\"$(filepriv -M %o ", (unsigned)m->mode);
		add_file(out, m, "$DBEXTtest");
		buf_addf(out, " $(db owner %s_%u))\" &&\n\t\t\treturns \"$hit\"\n", m->relation, number);
	} else {
		buf_adds(out, "\t\treturns \"$hit\"\n");
	}
	buf_adds(out, "\tfi\n");
}

/* ---- the script ---------------------------------------------------------------------- */

/* The next line behind `from` that has a map for the relation; dbases->count at the end. */
static size_t next_map(const struct dbases *dbases, const char *relation, size_t from)
{
	while (from < dbases->count && (dbases->maps[from].kind == DBASES_NONE ||
	                                strcmp(dbases->maps[from].relation, relation) != 0))
		from++;
	return from;
}

bool zmsh_script(const struct dbases *dbases, const char *relation, struct buf *out, struct buf *why)
{
	unsigned number = 0;

	buf_addf(out, "# Lookup function for the relation %s.\n# newdb writes this file from dbases.conf; changes made here "
	         "will be lost.\n", relation);
	for (size_t i = next_map(dbases, relation, 0); i < dbases->count; i = next_map(dbases, relation, i + 1)) {
		const struct dbases_map *m = &dbases->maps[i];

		if (strcmp(m->type, "lmdb") == 0) {
			buf_addf(why, "%s:%zu: ZMailer's router cannot read maps of type lmdb", dbases->path, m->line);
			return false;
		}
		add_relation(out, m, ++number);
	}
	buf_addf(out, "\n%s () {\n", relation);
	if (number > 0)
		buf_adds(out, "\tlocal hit\n");
	/* set by fqdnalias.cf behind a list that names itself */
	if (strcmp(relation, "aliases") == 0)
		buf_adds(out, "\t[ -n \"$fqdn_no_aliases\" ] && return 1\n");
	number = 0;
	for (size_t i = next_map(dbases, relation, 0); i < dbases->count; i = next_map(dbases, relation, i + 1))
		add_search(out, &dbases->maps[i], ++number);
	buf_adds(out, "\treturn 1\n}\n");
	return true;
}

/* ---- the file --------------------------------------------------------------------------- */

static bool has_content(const char *path, const struct buf *content)
{
	struct buf old = { 0 };
	bool same = file_read_path(path, &old) && old.len == content->len &&
	            memcmp(buf_str(&old), buf_str(content), old.len) == 0;

	buf_free(&old);
	return same;
}

int zmsh_write(const struct dbases *dbases, const char *relation, bool *written, struct buf *why)
{
	struct buf content = { 0 };
	char *path = xasprintf("%s/%s.zmsh", dbases->directory, relation);
	int status = EX_OK;

	*written = false;
	if (!zmsh_script(dbases, relation, &content, why)) {
		/* a router would go on with what it says */
		if (!file_is_missing(path)) {
			buf_addf(why, ", but %s is there; remove it if no router needs it", path);
			status = EX_CONFIG;
		}
	} else if (!has_content(path, &content)) {
		struct publish file = { .fd = -1 };

		if (!publish_begin(&file, path, SCRIPT_MODE)) {
			buf_addf(why, "%s: cannot create a file in its directory: %s", path, strerror(errno));
			status = EX_CANTCREAT;
		} else if (!file_write(file.fd, content.data, content.len)) {
			buf_addf(why, "%s: %s", path, strerror(errno));
			publish_abort(&file);
			status = EX_IOERR;
		} else if (!publish_commit(&file)) {
			buf_addf(why, "%s: %s", path, strerror(errno));
			status = EX_IOERR;
		} else
			status = EX_OK;
		*written = status == EX_OK;
	}
	buf_free(&content);
	free(path);
	return status;
}
