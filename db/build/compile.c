#include "db/build/compile.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sysexits.h>
#include <unistd.h>

#include "db/build/build.h"
#include "db/map/map.h"
#include "db/store/kept.h"
#include "lib/alloc.h"
#include "lib/file.h"

/* ---- live maps ----------------------------------------------------------------------- */

/* What dbupdate keeps beside a map. */
static const char *const signs_of_life[] = { ".journal", ".lock" };

int compile_refuse_live(const char *target, struct buf *why)
{
	pid_t user;
	char *beside;
	int fd;
	struct flock lock = { .l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = 0, .l_len = 1 };

	for (size_t i = 0; i < sizeof signs_of_life / sizeof signs_of_life[0]; i++) {
		char *path = xasprintf("%s%s", target, signs_of_life[i]);
		int error = access(path, F_OK) == 0 ? 0 : errno;

		if (error != 0 && error != ENOENT)
			buf_addf(why, "%s: %s", path, strerror(error));
		free(path);
		if (error == ENOENT)
			continue;
		if (error != 0)
			return EX_CANTCREAT;
		buf_addf(why, "%s: dbupdate keeps this map up to date (there is a %s%s); use \"", target, target,
		         signs_of_life[i]);
		kept_add_maker(target, "dbupdate replace", why);
		buf_adds(why, "\"");
		return EX_CANTCREAT;
	}
	/* LMDB's own lock file stays; the lock in it tells which process has the map open */
	beside = xasprintf("%s-lock", target);
	fd = file_open_own(beside, O_RDWR, 0);
	user = fd >= 0 && fcntl(fd, F_GETLK, &lock) == 0 && lock.l_type != F_UNLCK ? lock.l_pid : 0;
	if (fd >= 0)
		close(fd);
	free(beside);
	if (user != 0) {
		buf_addf(why, "%s: process %ld has this map open to change it or to see changes; stop it first, or use \"dbupdate replace\"",
		         target, (long)user);
		return EX_CANTCREAT;
	}
	return EX_OK;
}

/* ---- is it due? ------------------------------------------------------------------------- */

static bool differs(const struct stamp_text *was, const char *input)
{
	struct stamp_text is = source_text_of(input);

	return is.known && (is.size != was->size || is.sum != was->sum);
}

static enum compile_due compare(const struct compile *compile, const struct map *map, const char **reason)
{
	const struct map_provenance *p = &map->provenance;
	int64_t built = p->stamp != NULL ? p->stamp->built : p->modified;
	struct stat text;

	*reason = "its text is missing";
	if (stat(compile->input, &text) < 0)
		return COMPILE_STALE;
	*reason = "its text is newer";
	if (map_modified(&text) > built)
		return COMPILE_STALE;
	/* an older text that was put back, one behind another link, one that was written while the clock was behind */
	*reason = "its text is not the one it was built from";
	if (p->stamp != NULL && p->stamp->text.known && differs(&p->stamp->text, compile->input))
		return COMPILE_STALE;
	*reason = "it was built with other options";
	if (p->stamp != NULL && (p->stamp->folding != text_folding(&compile->syntax) ||
	                         p->stamp->syntax != (compile->syntax.aliases ? 'a' : 'p')))
		return COMPILE_STALE;
	*reason = "its text may be newer";
	return map_modified(&text) + STAMP_LAG >= built ? COMPILE_DOUBTFUL : COMPILE_NOT_DUE;
}

enum compile_due compile_is_due(const struct compile *compile, const char **reason)
{
	enum compile_due due = COMPILE_UNUSABLE;
	struct buf why = { 0 };
	int status;
	struct map *map = map_open_file(compile->type, compile->target, &status, &why);

	if (map != NULL)
		map->read_once = true;
	if (map == NULL)
		*reason = "it cannot be opened";
	else if (file_is_missing(compile->target))
		*reason = "it is missing";
	else if (!map_ready(map))
		*reason = "it is damaged or cannot be read";
	else
		due = compare(compile, map, reason);
	if (due == COMPILE_NOT_DUE)
		*reason = NULL;
	map_close(&map);
	buf_free(&why);
	return due;
}

/* ---- building ------------------------------------------------------------------------------ */

static int build(struct compile *compile, const struct records *records, int64_t begun, struct buf *why)
{
	char *absolute = strcmp(compile->input, "-") != 0 ? realpath(compile->input, NULL) : NULL;
	struct build b = {
		.type = compile->type, .target = compile->target, .uid = compile->uid, .gid = compile->gid,
		.mode = compile->mode, .progress = compile->progress, .progress_context = compile->progress_context,
		.stamp = {
			.text = compile->text,
			.source = absolute != NULL ? absolute : (char *)(uintptr_t)compile->input, .built = begun,
			.folding = text_folding(&compile->syntax), .syntax = compile->syntax.aliases ? 'a' : 'p',
		},
	};
	int status = build_map(&b, records, why);

	compile->unsure = b.unsure;
	free(absolute);
	return status;
}

int compile_map(struct compile *compile, struct buf *why)
{
	struct records records = { 0 };
	int64_t begun = stamp_now();
	int status = compile_refuse_live(compile->target, why);

	if (status == EX_OK) {
		struct source source = {
			.path = compile->input, .syntax = compile->syntax, .duplicates = compile->duplicates,
			.check = compile->check != NULL ? value_is_good : NULL, .check_context = compile->check,
			.report = compile->report, .report_context = compile->report_context,
		};

		status = source_read(&source, &records);
		compile->records = source.lines_with_records;
		compile->values_size = source.values_size;
		compile->longest = source.longest;
		compile->text = source.text;
		compile->said = status == EX_NOINPUT;
		if (status != EX_OK && source.repeated > 0)
			buf_addf(why, "%s: -k keeps the first of several lines with one key", compile->input);
	}
	if (status == EX_OK)
		status = build(compile, &records, begun, why);
	records_free(&records);
	return status;
}
