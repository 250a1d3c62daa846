#include "db/route/explain.h"

#include "lib/text.h"

#define SHOWN_MAX 2000

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

void explain_lookup(void *context, const struct relation_map *from, const char *key, enum map_answer answer,
                    const char *text, bool cached)
{
	struct explain *e = context;
	const char *source = from->map->provenance.source, *how = cached ? " (kept from before)" : "";

	switch (answer) {
	case MAP_FOUND:
		explain_line(e, "  %s %s: found in %s%s: %s", e->relation, key, source, how, text);
		break;
	case MAP_NOT_FOUND:
		explain_line(e, "  %s %s: not found in %s%s", e->relation, key, source, how);
		break;
	case MAP_COULD_NOT_TELL:
		explain_line(e, "  %s %s: could not tell: %s", e->relation, key, text);
		break;
	}
}

void explain_free(struct explain *e)
{
	buf_free(&e->out);
}
