#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "channel/probe/probe.h"
#include "lib/text.h"

void way_free(struct way *way)
{
	free(way->tls);
	free(way->session);
	*way = (struct way){ 0 };
}

static void print_text(const struct way *way, const char *peer, struct buf *out)
{
	buf_addf(out, "%s\t", peer);
	if (!way->ready) {
		buf_addf(out, "could not tell\t%s: ", stage_name(way->failure.stage));
		if (way->failure.remote)
			buf_addf(out, "%d %s ", way->failure.code, way->failure.status);
		buf_addf(out, "%s\n", way->failure.words);
		return;
	}
	buf_addf(out, "ready\t%s\t", way->tls[0] != '\0' ? way->tls : "no TLS");
	caps_names(&way->caps, out);
	buf_addc(out, '\n');
}

static void add_string(struct buf *out, const char *key, const char *value)
{
	buf_addf(out, ",\"%s\":", key);
	text_add_json(out, value, strlen(value));
}

static void print_json(const struct way *way, const char *peer, struct buf *out)
{
	struct buf caps = { 0 };
	const char *words = way->ready ? "" : way->failure.words;

	if (way->ready)
		caps_names(&way->caps, &caps);
	buf_addf(out, "{\"answer\":\"%s\"", way->ready ? "ready" : "could not tell");
	add_string(out, "peer", peer);
	add_string(out, "stage", way->ready ? "" : stage_name(way->failure.stage));
	buf_addf(out, ",\"code\":%d", !way->ready && way->failure.remote ? way->failure.code : 0);
	add_string(out, "status", way->ready ? "" : way->failure.status);
	add_string(out, "words", words);
	add_string(out, "tls", way->tls);
	buf_addf(out, ",\"verified\":%s,\"authenticated\":%s", way->verified ? "true" : "false",
	         way->authenticated ? "true" : "false");
	add_string(out, "capabilities", buf_str(&caps));
	add_string(out, "session", way->session);
	buf_addf(out, ",\"connect_ms\":%" PRId64 ",\"opening_ms\":%" PRId64 "}\n", way->connect_ms, way->opening_ms);
	buf_free(&caps);
}

void way_print(const struct way *way, const struct peer *peer, bool json, struct buf *out)
{
	struct buf name = { 0 };

	text_add_clean_string(&name, peer->target->text, 300);
	if (json)
		print_json(way, peer->target->text, out);
	else
		print_text(way, buf_str(&name), out);
	buf_free(&name);
}
