/*
 * lmtp-probe: what lmtp -B becomes.  Asks servers about recipients, or whether mail could be sent to one.
 *
 * A program of its own because it needs what the agent that delivers must not carry: maps and their libraries.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>

#include "channel/peers.h"
#include "channel/probe/guard.h"
#include "channel/probe/keep.h"
#include "channel/probe/probe.h"
#include "channel/routing.h"
#include "channel/settings.h"
#include "lib/alloc.h"
#include "lib/clock.h"
#include "lib/log.h"
#include "lib/process.h"

/* Routing is by the maps alone: nobody's rights. */
#define NOBODY 65534
/* What comes in time is told; for what hangs there is this much more, in milliseconds. */
#define GRACE_MS 1000

struct probing {
	struct settings settings;
	int64_t deadline;
	struct peers peers;
	struct question *questions;
	size_t count;
	struct server_check check;   /* without questions */
};

static bool wants_json(const struct probing *p)
{
	return p->settings.record.format == RECORD_JSON;
}

/* With damaged settings nobody is asked: what they should protect would go unprotected. */
static void start_security(struct security *security)
{
	struct buf why = { 0 };

	if (!security_start(security, &why))
		die(EX_CONFIG, "%s", buf_str(&why));
}

/* ---- who is to be asked ---- */

static struct peer *given_peer(struct probing *p)
{
	struct buf why = { 0 };
	struct peer *peer = peers_find(&p->peers, p->settings.target, p->settings.port, &why);

	if (peer == NULL)
		die(EX_USAGE, "-F %s", buf_str(&why));
	return peer;
}

/* Every address is asked for as it stands. */
static void place_as_given(struct probing *p)
{
	struct peer *peer = given_peer(p);

	for (size_t i = 0; i < p->count; i++)
		question_add(&p->questions[i], peer, p->questions[i].address);
}

static bool is_channel(const struct routed *to, const char *channel)
{
	return strcmp(to->channel, channel) == 0;
}

/* A destination of our channel: it is asked for at -F, or at its host. */
static void place_at_host(struct probing *p, struct question *q, const struct routed *to)
{
	const struct settings *s = &p->settings;
	struct buf why = { 0 };
	struct peer *peer = peers_find(&p->peers, s->target != NULL ? s->target : to->host, s->port, &why);
	struct place *place = question_add(q, peer, to->user);

	if (peer == NULL)
		place_say(place, ANSWER_UNCLEAR, "4.3.5", buf_str(&why));
	buf_free(&why);
}

static void place_elsewhere(struct question *q, const struct routed *to)
{
	/* routing has looked for these itself, or wants no answer */
	bool is_known = is_channel(to, "local") || is_channel(to, "bitbucket");
	char *words = xasprintf("goes to channel %s, host %s%s", to->channel, to->host,
	                        is_known ? "" : ", which is not asked here");
	struct place *place = question_add(q, NULL, to->user);

	if (is_known)
		place_say(place, ANSWER_YES, "2.1.5", words);
	else
		place_say(place, ANSWER_UNCLEAR, "4.3.5", words);
	free(words);
}

static void on_routed(void *context, size_t number, enum routing_answer answer, const struct routed *to,
                      const char *why)
{
	struct probing *p = context;
	struct question *q = &p->questions[number];

	switch (answer) {
	case ROUTING_THERE:
		if (is_channel(to, p->settings.jobs.channel))
			place_at_host(p, q, to);
		else
			place_elsewhere(q, to);
		break;
	case ROUTING_NOBODY:
		place_say(question_add(q, NULL, q->address), ANSWER_NO, "5.1.1", why);
		break;
	case ROUTING_UNCLEAR:
		place_say(question_add(q, NULL, q->address), ANSWER_UNCLEAR, "4.3.0", why);
		break;
	}
}

static void place_by_maps(struct probing *p)
{
	const struct routing routing = { .dbases = p->settings.probe.dbases, .privilege = NOBODY };
	int status = routing_each(&routing, p->settings.probe.addresses, p->count, on_routed, p);

	if (status != EX_OK)
		exit(status);
}

/* ---- asking ---- */

static void print_all(struct probing *p, struct buf *out)
{
	for (size_t i = 0; i < p->count; i++)
		question_print(&p->questions[i], wants_json(p), out);
}

static void answer_questions(struct probing *p, int fd)
{
	const struct probe_settings *s = &p->settings.probe;
	int64_t longest = s->yes.kept > s->no.kept ? s->yes.kept : s->no.kept;
	struct probe_cache *cache = s->cache != NULL ? probe_cache_open(s->cache, longest) : NULL;
	struct buf out = { 0 };

	if (s->dbases != NULL)
		place_by_maps(p);
	else
		place_as_given(p);
	if (cache != NULL)
		cache_answers(cache, &p->settings, p->questions, p->count);
	probe_ask(&p->settings, p->questions, p->count, p->deadline);
	if (cache != NULL)
		cache_remember(cache, &p->settings, p->questions, p->count);
	print_all(p, &out);
	guard_answer(fd, questions_exit_status(p->questions, p->count), &out);
	/* nobody waits for an answer any more, whatever befalls the cache */
	if (cache != NULL)
		probe_cache_write(cache);
	probe_cache_close(&cache);
	buf_free(&out);
}

static void look_at_way(struct probing *p, int fd)
{
	struct peer *peer = given_peer(p);
	struct buf out = { 0 };

	probe_server(&p->settings, peer, p->deadline, &p->check);
	server_check_print(&p->check, peer, wants_json(p), &out);
	guard_answer(fd, p->check.ready ? EX_OK : EX_TEMPFAIL, &out);
	server_check_free(&p->check);
	buf_free(&out);
}

static void work(void *context, int fd)
{
	struct probing *p = context;

	start_security(&p->settings.security);
	if (p->settings.log != NULL && !transcript_open(&p->settings.transcript, p->settings.log))
		complain("protocol log %s: %m; going on without", p->settings.log);
	if (p->count > 0)
		answer_questions(p, fd);
	else
		look_at_way(p, fd);
	peers_free(&p->peers);
	security_free(&p->settings.security);
}

/* ---- without an answer ---- */

static int say_late(struct probing *p, struct buf *out)
{
	char *why = xasprintf("not finished within %" PRId64 " s", p->settings.probe.time / 1000);

	p->check.failure = (struct result){ .stage = STAGE_LOCAL, .status = "4.4.7", .words = why };
	for (size_t i = 0; i < p->count; i++)
		place_say(question_add(&p->questions[i], NULL, p->questions[i].address), ANSWER_UNCLEAR, "4.4.7", why);
	print_all(p, out);
	if (p->count == 0) {
		p->check.tls = xstrdup("");
		p->check.session = xstrdup("");
		server_check_print(&p->check, given_peer(p), wants_json(p), out);
		server_check_free(&p->check);
	}
	free(why);
	return EX_TEMPFAIL;
}

int main(int argc, char **argv)
{
	static struct probing p;
	struct buf out = { 0 };
	int status = EX_TEMPFAIL;

	process_begin("lmtp");
	settings_from(&p.settings, argc, argv);
	if (!p.settings.probe.wanted)
		die(EX_USAGE, "-B expected: this is the part of lmtp that asks about recipients");
	p.deadline = clock_ms() + p.settings.probe.time;
	p.count = p.settings.probe.count;
	p.questions = xcalloc(p.count + 1, sizeof *p.questions);
	for (size_t i = 0; i < p.count; i++)
		p.questions[i].address = p.settings.probe.addresses[i];
	switch (guard_run(work, &p, p.deadline + GRACE_MS, &status, &out)) {
	case GUARD_ANSWERED:
		break;
	case GUARD_ENDED:
		exit(status != EX_OK ? status : EX_TEMPFAIL);
	case GUARD_LATE:
		status = say_late(&p, &out);
		break;
	}
	if (fwrite(buf_str(&out), 1, out.len, stdout) != out.len || fflush(stdout) != 0)
		status = EX_TEMPFAIL;
	for (size_t i = 0; i < p.count; i++)
		question_free(&p.questions[i]);
	free(p.questions);
	buf_free(&out);
	peers_free(&p.peers);
	return status;
}
