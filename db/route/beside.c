#include "db/route/beside.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sysexits.h>
#include <unistd.h>

#include "db/route/unasked.h"
#include "lib/alloc.h"
#include "lib/file.h"

static int read_dbases(struct beside *beside, const char *directory, const char *path, fault_report *report,
                       void *context)
{
	struct zenv zenv;
	struct buf why = { 0 }, value = { 0 };
	const char *slash = strrchr(directory, '/');
	bool is_set = false;
	int status = zenv_read(&zenv, &why);

	if (status != EX_OK) {
		struct fault fault = { path, 0, 0, false, buf_str(&why) };

		report(context, &fault);
		buf_free(&why);
		return status;
	}
	/* the usual place of dbases.conf is $MAILVAR/db, so MAILVAR is where `directory` is */
	if (zenv_get(&zenv, "MAILVAR", &value, &is_set, &why) == EX_OK && !is_set && slash != NULL &&
	    strcmp(slash, "/db") == 0) {
		char *mailvar = xstrndup(directory, (size_t)(slash - directory));

		setenv("MAILVAR", mailvar, 0);
		free(mailvar);
	}
	status = dbases_read(&beside->dbases, path, &zenv, report, context);
	zenv_free(&zenv);
	buf_free(&value);
	buf_free(&why);
	return status;
}

/* The name without links on the way to it; the directory may not be there. */
static char *real_name(const char *path)
{
	char *parent = file_directory(path), *directory = realpath(parent, NULL);
	char *name = xasprintf("%s/%s", directory != NULL ? directory : parent, file_name(path));

	free(parent);
	free(directory);
	return name;
}

/* The line whose map is `absolute`; one may lead there by a link. */
static const struct dbases_map *find_line(const struct dbases *dbases, const char *absolute)
{
	const struct dbases_map *found = dbases_find_file(dbases, absolute);

	for (size_t i = 0; found == NULL && i < dbases->count; i++) {
		const struct dbases_map *m = &dbases->maps[i];
		char *name = m->file != NULL ? real_name(m->file) : NULL;
		size_t n = name != NULL ? strlen(name) : 0;

		if (n > 0 && strncmp(absolute, name, n) == 0 &&
		    (absolute[n] == '\0' || strcmp(absolute + n, map_suffix(m->type)) == 0))
			found = m;
		free(name);
	}
	return found;
}

int beside_find(struct beside *beside, const char *base, fault_report *report, void *context)
{
	char *parent = file_directory(base), *directory = realpath(parent, NULL), *path, *absolute;
	int status = EX_OK;
	struct stat st;

	free(parent);
	*beside = (struct beside){ .map = NULL };
	if (directory == NULL)
		return EX_OK;
	path = xasprintf("%s/dbases.conf", directory);
	absolute = real_name(base);
	/* one that cannot be opened, be it by its links, may have a line for the map */
	if (lstat(path, &st) == 0 || (errno != ENOENT && errno != ENOTDIR))
		status = read_dbases(beside, directory, path, report, context);
	if (status == EX_OK)
		beside->map = find_line(&beside->dbases, absolute);
	if (beside->map != NULL)
		unasked_warn_of_slip(&beside->dbases, beside->map, report, context);
	free(absolute);
	free(path);
	free(directory);
	return status;
}

static void ignore_fault(void *context, const struct fault *fault)
{
	(void)context;
	(void)fault;
}

bool beside_find_configured(struct beside *beside, const char *base)
{
	char *path = zenv_below("MAILVAR", "db/dbases.conf"), *directory = path != NULL ? file_directory(path) : NULL;
	char *absolute = real_name(base);
	bool found = path != NULL && access(path, R_OK) == 0 &&
	             read_dbases(beside, directory, path, ignore_fault, NULL) == EX_OK;

	beside->map = found ? find_line(&beside->dbases, absolute) : NULL;
	free(absolute);
	free(directory);
	free(path);
	return found;
}

const struct dbases_map *beside_missing_map(const struct beside *beside)
{
	for (size_t i = 0; i < beside->dbases.count; i++) {
		const struct dbases_map *m = &beside->dbases.maps[i];
		char *path = m->kind == DBASES_LIVE ? xasprintf("%s%s", m->file, map_suffix(m->type)) : NULL;
		bool is_there = path == NULL || !file_is_missing(path);

		free(path);
		if (!is_there)
			return m;
	}
	return NULL;
}

static bool same_file(const char *a, const char *b)
{
	char *x = realpath(a, NULL), *y = realpath(b, NULL);
	bool same = strcmp(x != NULL ? x : a, y != NULL ? y : b) == 0;

	free(x);
	free(y);
	return same;
}

int mapline_check(const struct beside *beside, const char **type, const char **config, char *folding, struct buf *why)
{
	const struct dbases_map *m = beside->map;
	char its_folding = key_fold_letter(m->lookup.fold);
	struct buf fault = { 0 };

	if (m->kind != DBASES_LIVE)
		buf_adds(&fault, "builds this map from its text; maps that are changed live have \"-r\" there");
	else if (*type != NULL && strcmp(*type, m->type) != 0)
		buf_addf(&fault, "says type %s, not %s", m->type, *type);
	else if (*config != NULL && (m->config == NULL || !same_file(*config, m->config)))
		buf_addf(&fault, "does not say -C %s", *config);
	else if (*folding != '-' && *folding != its_folding)
		buf_addf(&fault, "lookups fold keys in another way than is given here (-%c)", *folding);
	if (fault.len > 0) {
		buf_addf(why, "%s:%zu: %s", beside->dbases.path, m->line, buf_str(&fault));
		buf_free(&fault);
		return EX_CONFIG;
	}
	*type = m->type;
	*config = m->config;
	*folding = its_folding;
	return EX_OK;
}

void beside_free(struct beside *beside)
{
	dbases_free(&beside->dbases);
	beside->map = NULL;
}
