#include "db/route/print.h"

#include <string.h>

#include "db/grammar/address.h"
#include "lib/json.h"
#include "lib/text.h"

static void add_field(struct buf *out, const char *text, size_t n, char end)
{
	text_add_clean(out, text, n, 2 * ADDRESS_MAX);
	buf_addc(out, end);
}

static void print_text(struct buf *out, const struct route_query *q, const struct route_result *results, size_t count)
{
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
	buf_addc(out, '{');
	json_bytes(out, "address", q->address, q->length);
	json_string(out, "answer", map_answer_name(answer));
	buf_adds(out, ",\"results\":[");
	for (size_t i = 0; i < count; i++) {
		buf_adds(out, i > 0 ? ",{" : "{");
		json_string(out, "channel", results[i].channel);
		json_string(out, "host", results[i].host);
		json_string(out, "user", results[i].user);
		buf_addc(out, '}');
	}
	buf_adds(out, "]}\n");
}

enum map_answer route_print(struct router *router, const char *address, size_t length, struct explain *explain,
                            bool json, struct buf *out)
{
	struct route_query q = { .address = address, .length = length, .explain = explain };
	const struct route_result *results;
	size_t count;
	enum map_answer answer = route(router, &q, &results, &count);

	if (json)
		print_json(out, &q, answer, results, count);
	else
		print_text(out, &q, results, count);
	return answer;
}
