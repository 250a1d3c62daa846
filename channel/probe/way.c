#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "channel/probe/probe.h"
#include "lib/json.h"
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

static void print_json(const struct way *way, const char *peer, struct buf *out)
{
	struct buf caps = { 0 };
	const char *words = way->ready ? "" : way->failure.words;

	if (way->ready)
		caps_names(&way->caps, &caps);
	buf_addc(out, '{');
	json_string(out, "answer", way->ready ? "ready" : "could not tell");
	json_string(out, "peer", peer);
	json_string(out, "stage", way->ready ? "" : stage_name(way->failure.stage));
	json_number(out, "code", !way->ready && way->failure.remote ? way->failure.code : 0);
	json_string(out, "status", way->ready ? "" : way->failure.status);
	json_string(out, "words", words);
	json_string(out, "tls", way->tls);
	json_bool(out, "verified", way->verified);
	json_bool(out, "authenticated", way->authenticated);
	json_string(out, "capabilities", buf_str(&caps));
	json_string(out, "session", way->session);
	json_number(out, "connect_ms", way->connect_ms);
	json_number(out, "opening_ms", way->opening_ms);
	buf_adds(out, "}\n");
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
