#include "db/route/nesting.h"

#include <stdlib.h>
#include <string.h>

#include "db/map/map.h"
#include "db/route/explain.h"
#include "db/route/setup.h"
#include "lib/alloc.h"
#include "lib/text.h"

/* The user part that stands for a whole domain. */
#define ANYBODY "anybody"

#define SHOWN_MAX 300

static const enum route_relation lists[] = { ROUTE_FQDNALIASES, ROUTE_FQDNALIASESLDAP, ROUTE_ALIASES };

struct survey {
	struct router *router;
	struct map *map;              /* that is walked */
	struct explain origin;        /* knows the lines of its text */
	struct buf address;
	struct buf text;
	fault_report *report;
	void *context;
};

bool nesting_is_list(const char *relation)
{
	for (size_t i = 0; i < sizeof lists / sizeof lists[0]; i++)
		if (strcmp(relation, route_relation_name(lists[i])) == 0)
			return true;
	return false;
}

/* A record_each: where does mail for this key lead? */
static bool follow(void *context, const char *key, size_t key_length, const char *value, size_t value_length)
{
	struct survey *s = context;
	struct route_query query = { .aliases_only = true };
	struct fault fault = { .is_warning = true };
	const struct route_result *results;
	size_t count;

	(void)value;
	(void)value_length;
	buf_clear(&s->address);
	if (key_length > 0 && key[0] == '@')
		buf_adds(&s->address, ANYBODY);
	buf_add(&s->address, key, key_length);
	query.address = buf_str(&s->address);
	query.length = s->address.len;
	(void)!route(s->router, &query, &results, &count);
	if (s->router->nesting == NULL)
		return true;
	buf_clear(&s->text);
	buf_adds(&s->text, "mail to ");
	text_add_clean(&s->text, query.address, query.length, SHOWN_MAX);
	buf_addf(&s->text, " will wait: %s", s->router->nesting);
	fault.line = explain_source(&s->origin, s->map, strchr(query.address, '\0') - key_length, &fault.file);
	if (fault.line == 0)
		fault.file = s->map->provenance.source;
	fault.text = buf_str(&s->text);
	s->report(s->context, &fault);
	return true;
}

/* The lines whose maps are files of ours at rest: no server is asked, and no live map is held up. */
static struct dbases files_of(const struct dbases *dbases)
{
	struct dbases files = *dbases;

	files.maps = xcalloc(dbases->count + 1, sizeof *files.maps);
	files.count = 0;
	for (size_t i = 0; i < dbases->count; i++) {
		const struct dbases_map *m = &dbases->maps[i];

		if (m->kind == DBASES_BUILT || strcmp(m->type, "unordered") == 0 || strcmp(m->type, "ordered") == 0)
			files.maps[files.count++] = *m;
	}
	return files;
}

void nesting_warn(const struct dbases *dbases, bool has_router, fault_report *report, void *context)
{
	struct dbases files = files_of(dbases);
	struct survey s = { .report = report, .context = context };
	struct buf why = { 0 }, notes = { 0 };
	int status;

	s.router = router_open(&files, NULL, 0, &status, &why, &notes);
	if (s.router != NULL && has_router && s.router->max_depth > ROUTE_DEPTH)
		s.router->max_depth = ROUTE_DEPTH;
	for (size_t i = 0; s.router != NULL && i < files.count; i++) {
		const struct dbases_map *m = &files.maps[i];

		if (m->kind != DBASES_BUILT || !nesting_is_list(m->relation))
			continue;
		s.map = map_open(m->type, m->file, NULL, &status, &why);
		if (s.map != NULL)
			(void)!map_walk(s.map, follow, &s);
		map_close(&s.map);
	}
	router_destroy(&s.router);
	explain_free(&s.origin);
	buf_free(&s.address);
	buf_free(&s.text);
	buf_free(&why);
	buf_free(&notes);
	free(files.maps);
}
