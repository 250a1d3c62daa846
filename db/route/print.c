#include "db/route/print.h"

#include <string.h>

#include "db/route/explain.h"
#include "db/source/address.h"
#include "lib/text.h"

static const char *const answers[] = {
	[MAP_FOUND] = "found", [MAP_NOT_FOUND] = "not found", [MAP_COULD_NOT_TELL] = "could not tell",
};

static void add_field(struct buf *out, const char *text, size_t n, char end)
{
	text_add_clean(out, text, n, 2 * ADDRESS_MAX);
	buf_addc(out, end);
}

/* The lines of `text`, each handed to `add`. */
static void each_line(struct buf *out, const struct buf *text, void (*add)(struct buf *, const char *, size_t))
{
	const char *p = buf_str(text), *end = p + text->len;

	while (p < end) {
		const char *newline = memchr(p, '\n', (size_t)(end - p));
		size_t n = (size_t)((newline != NULL ? newline : end) - p);

		add(out, p, n);
		p += n + 1;
	}
}

static void add_comment(struct buf *out, const char *line, size_t n)
{
	buf_adds(out, "# ");
	buf_add(out, line, n);
	buf_addc(out, '\n');
}

static void add_string(struct buf *out, const char *line, size_t n)
{
	if (out->data[out->len - 1] != '[')
		buf_addc(out, ',');
	text_add_json(out, line, n);
}

static void add_member(struct buf *out, const char *name, const char *value)
{
	buf_addf(out, "\"%s\":", name);
	text_add_json(out, value, strlen(value));
}

static void print_text(struct buf *out, const struct route_query *q, const struct route_result *results, size_t count)
{
	if (q->explain != NULL)
		each_line(out, &q->explain->out, add_comment);
	for (size_t i = 0; i < count; i++) {
		add_field(out, q->address, q->length, '\t');
		add_field(out, results[i].channel, strlen(results[i].channel), '\t');
		add_field(out, results[i].host, strlen(results[i].host), '\t');
		add_field(out, results[i].user, strlen(results[i].user), '\n');
	}
}

static void print_json(struct buf *out, const struct route_query *q, enum map_answer answer,
                       const struct route_result *results, size_t count)
{
	buf_adds(out, "{\"address\":");
	text_add_json(out, q->address, q->length);
	buf_addc(out, ',');
	add_member(out, "answer", answers[answer]);
	buf_adds(out, ",\"results\":[");
	for (size_t i = 0; i < count; i++) {
		buf_adds(out, i > 0 ? ",{" : "{");
		add_member(out, "channel", results[i].channel);
		buf_addc(out, ',');
		add_member(out, "host", results[i].host);
		buf_addc(out, ',');
		add_member(out, "user", results[i].user);
		buf_addc(out, '}');
	}
	buf_addc(out, ']');
	if (q->explain != NULL) {
		buf_adds(out, ",\"explanation\":[");
		each_line(out, &q->explain->out, add_string);
		buf_addc(out, ']');
	}
	buf_adds(out, "}\n");
}

enum map_answer route_print(struct router *router, const char *address, size_t length, bool explain, bool json,
                            struct buf *out)
{
	struct explain steps = { .out = { 0 } };
	struct route_query q = { .address = address, .length = length, .explain = explain ? &steps : NULL };
	const struct route_result *results;
	size_t count;
	enum map_answer answer = route(router, &q, &results, &count);

	if (json)
		print_json(out, &q, answer, results, count);
	else
		print_text(out, &q, results, count);
	explain_free(&steps);
	return answer;
}
