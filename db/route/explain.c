#include "db/route/explain.h"

#include <stdlib.h>
#include <string.h>

#include "db/build/origin.h"
#include "db/store/stamp.h"
#include "lib/alloc.h"
#include "lib/text.h"

#define SHOWN_MAX 2000

/* What a map was built from.  The map itself may be closed, and another one be at its address. */
struct explain_origin {
	char *source;
	int64_t built;
	struct origin *origin;     /* NULL if its text is not known */
};

void explain_vline(struct explain *e, const char *format, va_list ap)
{
	struct buf line = { 0 };

	buf_vaddf(&line, format, ap);
	for (unsigned i = 0; i < e->depth; i++)
		buf_adds(&e->out, "    ");
	text_add_clean(&e->out, buf_str(&line), line.len, SHOWN_MAX);
	buf_addc(&e->out, '\n');
	buf_free(&line);
}

void explain_line(struct explain *e, const char *format, ...)
{
	va_list ap;

	va_start(ap, format);
	explain_vline(e, format, ap);
	va_end(ap);
}

static const struct origin *origin_of(struct explain *e, const struct map *map)
{
	const struct stamp *stamp = map->provenance.stamp;
	struct explain_origin *o;

	if (stamp == NULL)
		return NULL;
	for (size_t i = 0; i < e->origin_count; i++)
		if (e->origins[i].built == stamp->built && strcmp(e->origins[i].source, stamp->source) == 0)
			return e->origins[i].origin;
	e->origins = xgrow(e->origins, e->origin_count, &e->origin_capacity, sizeof *e->origins);
	o = &e->origins[e->origin_count++];
	*o = (struct explain_origin){ xstrdup(stamp->source), stamp->built, origin_open(map) };
	return o->origin;
}

size_t explain_source(struct explain *e, const struct map *map, const char *key, const char **file)
{
	const struct origin *origin = origin_of(e, map);

	if (origin == NULL)
		return 0;
	*file = map->provenance.stamp->source;
	return origin_line(origin, key);
}

void explain_lookup(void *context, const struct relation_map *from, const char *key, enum map_answer answer,
                    const char *text, bool cached)
{
	struct explain *e = context;
	const char *source = from->map->provenance.source, *file;
	size_t line;

	switch (answer) {
	case MAP_FOUND:
		line = cached ? 0 : explain_source(e, from->map, key, &file);
		if (line > 0)
			explain_line(e, "  %s %s: found in %s, from line %zu of %s: %s", e->relation, key, source, line, file,
			             text);
		else
			explain_line(e, "  %s %s: found%s in %s: %s", e->relation, key, cached ? " before" : "", source, text);
		break;
	case MAP_NOT_FOUND:
		explain_line(e, "  %s %s: not found%s in %s", e->relation, key, cached ? " before" : "", source);
		break;
	case MAP_COULD_NOT_TELL:
		explain_line(e, "  %s %s: could not tell: %s", e->relation, key, text);
		break;
	}
}

void explain_free(struct explain *e)
{
	for (size_t i = 0; i < e->origin_count; i++) {
		origin_close(&e->origins[i].origin);
		free(e->origins[i].source);
	}
	free(e->origins);
	buf_free(&e->out);
	*e = (struct explain){ 0 };
}
