#include <stdlib.h>
#include <string.h>

#include "channel/probe/probe.h"
#include "lib/json.h"
#include "lib/text.h"

void server_check_free(struct server_check *check)
{
	free(check->tls);
	free(check->session);
	*check = (struct server_check){ 0 };
}

static void print_text(const struct server_check *check, const char *peer, struct buf *out)
{
	buf_addf(out, "%s\t", peer);
	if (!check->ready) {
		buf_addf(out, "could not tell\t%s: ", stage_name(check->failure.stage));
		if (check->failure.remote)
			buf_addf(out, "%d %s ", check->failure.code, check->failure.status);
		buf_addf(out, "%s\n", check->failure.words);
		return;
	}
	buf_addf(out, "ready\t%s\t", check->tls[0] != '\0' ? check->tls : "no TLS");
	caps_names(&check->caps, out);
	buf_addc(out, '\n');
}

static void print_json(const struct server_check *check, const char *peer, struct buf *out)
{
	struct buf caps = { 0 };
	const char *words = check->ready ? "" : check->failure.words;

	if (check->ready)
		caps_names(&check->caps, &caps);
	buf_addc(out, '{');
	json_string(out, "answer", check->ready ? "ready" : "could not tell");
	json_string(out, "peer", peer);
	json_string(out, "stage", check->ready ? "" : stage_name(check->failure.stage));
	json_number(out, "code", !check->ready && check->failure.remote ? check->failure.code : 0);
	json_string(out, "status", check->ready ? "" : check->failure.status);
	json_string(out, "words", words);
	json_string(out, "tls", check->tls);
	json_bool(out, "verified", check->verified);
	json_bool(out, "authenticated", check->authenticated);
	json_string(out, "capabilities", buf_str(&caps));
	json_string(out, "session", check->session);
	json_number(out, "connect_ms", check->connect_ms);
	json_number(out, "opening_ms", check->opening_ms);
	buf_adds(out, "}\n");
	buf_free(&caps);
}

void server_check_print(const struct server_check *check, const struct peer *peer, bool json, struct buf *out)
{
	struct buf name = { 0 };

	text_add_clean_string(&name, peer->target->text, 300);
	if (json)
		print_json(check, peer->target->text, out);
	else
		print_text(check, buf_str(&name), out);
	buf_free(&name);
}
