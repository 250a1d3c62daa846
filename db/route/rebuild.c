#include "db/route/rebuild.h"

#include <stdlib.h>
#include <string.h>
#include <sysexits.h>

#include "db/live/live.h"
#include "db/map/map.h"
#include "db/route/nesting.h"
#include "db/route/zmsh.h"
#include "db/store/env.h"
#include "lib/alloc.h"

struct work {
	const struct rebuild *rebuild;
	int status;            /* the first that was not EX_OK */
	bool has_new_lists;
};

static void tell(struct work *work, int status, const char *text)
{
	work->rebuild->tell(work->rebuild->tell_context, status, text);
	if (work->status == EX_OK)
		work->status = status;
}

static bool is_wanted(const struct rebuild *rebuild, const char *relation)
{
	char *const *names = rebuild->relations;

	if (names[0] == NULL)
		return true;
	for (; *names != NULL; names++)
		if (strcmp(*names, relation) == 0)
			return true;
	return false;
}

/* An earlier line has the same map. */
static bool is_repeated(const struct rebuild *rebuild, size_t index)
{
	const struct dbases_map *m = &rebuild->dbases->maps[index];

	for (size_t i = 0; i < index; i++) {
		const struct dbases_map *other = &rebuild->dbases->maps[i];

		if (other->kind == m->kind && strcmp(other->type, m->type) == 0 && strcmp(other->file, m->file) == 0 &&
		    is_wanted(rebuild, other->relation))
			return true;
	}
	return false;
}

static void build_one(struct work *work, const struct dbases_map *m)
{
	const struct rebuild *rebuild = work->rebuild;
	struct value_check check;
	struct buf why = { 0 };
	char *target = xasprintf("%s%s", m->file, map_suffix(m->type));
	struct compile compile = {
		.type = m->type, .target = target, .input = m->file, .syntax = m->syntax,
		.duplicates = m->join ? DUPLICATES_JOIN : rebuild->duplicates, .check = rebuild->unchecked ? NULL : &check,
		.uid = m->uid, .gid = m->gid, .mode = m->mode, .report = rebuild->report,
		.report_context = rebuild->report_context, .progress = rebuild->progress,
		.progress_context = rebuild->progress_context,
	};
	const char *reason = "it is asked for";

	value_check_for(&check, m->relation, m->lookup.substitute, rebuild->has_router);
	if (rebuild->relations[0] != NULL || compile_is_due(&compile, &reason) != COMPILE_NOT_DUE) {
		int status = compile_map(&compile, &why);

		if (status == EX_OK)
			live_sweep(target);
		work->has_new_lists = work->has_new_lists || (status == EX_OK && nesting_is_list(m->relation));
		if (status == EX_OK)
			buf_addf(&why, "%s: %zu record%s, built because %s", target, compile.records,
			         compile.records == 1 ? "" : "s", reason);
		else if (why.len == 0)
			buf_addf(&why, "%s: not built", target);
		/* a text that cannot be read was named already, and a second line would say no more */
		if (!compile.said)
			tell(work, status, buf_str(&why));
		else if (work->status == EX_OK)
			work->status = status;
	}
	value_check_free(&check);
	buf_free(&why);
	free(target);
}

/* A live map is left alone, but the file that says how to reach it must be good. */
static void check_live(struct work *work, const struct dbases_map *m)
{
	struct env_config config;
	struct buf why = { 0 }, text = { 0 };
	int status;

	if (m->config == NULL)
		return;
	status = env_config_read(&config, m->config, &why);
	if (status == EX_OK) {
		env_config_free(&config);
	} else {
		buf_addf(&text, "%s:%zu: -C: %s", work->rebuild->dbases->path, m->line, buf_str(&why));
		tell(work, status, buf_str(&text));
	}
	buf_free(&why);
	buf_free(&text);
}

static void write_script(struct work *work, const char *relation)
{
	const struct dbases *dbases = work->rebuild->dbases;
	struct buf text = { 0 };
	bool written;
	int status = zmsh_write(dbases, relation, &written, &text);

	if (status == EX_OK && written)
		buf_addf(&text, "%s/%s.zmsh: written", dbases->directory, relation);
	else if (status == EX_OK && text.len > 0)
		buf_adds(&text, "; no script");
	/* without a router nothing asks for them yet; they are there when it comes */
	if (text.len > 0 && (status != EX_OK || work->rebuild->has_router))
		tell(work, status, buf_str(&text));
	buf_free(&text);
}

/* The line is the first of its relation. */
static bool is_first(const struct dbases *dbases, size_t index)
{
	for (size_t i = 0; i < index; i++)
		if (strcmp(dbases->maps[i].relation, dbases->maps[index].relation) == 0)
			return false;
	return true;
}

int rebuild_all(const struct rebuild *rebuild)
{
	const struct dbases *dbases = rebuild->dbases;
	struct work work = { rebuild, EX_OK, false };

	for (size_t i = 0; i < dbases->count; i++) {
		const struct dbases_map *m = &dbases->maps[i];

		if (!is_wanted(rebuild, m->relation))
			continue;
		if (m->kind == DBASES_BUILT && !is_repeated(rebuild, i))
			build_one(&work, m);
		else if (m->kind == DBASES_LIVE)
			check_live(&work, m);
	}
	if (work.has_new_lists && !rebuild->unchecked)
		nesting_warn(dbases, rebuild->has_router, rebuild->report, rebuild->report_context);
	for (size_t i = 0; i < dbases->count; i++)
		if (is_wanted(rebuild, dbases->maps[i].relation) && is_first(dbases, i))
			write_script(&work, dbases->maps[i].relation);
	return work.status;
}
