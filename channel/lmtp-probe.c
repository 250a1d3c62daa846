/*
 * lmtp-probe: what lmtp -B becomes.  Asks a server about recipients, or whether mail could be sent to it.
 *
 * A program of its own because it needs what the agent that delivers must not carry: maps and their libraries.
 */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sysexits.h>

#include "channel/peers.h"
#include "channel/probe.h"
#include "channel/settings.h"
#include "lib/alloc.h"
#include "lib/clock.h"
#include "lib/log.h"

/* With damaged settings nobody is asked: what they should protect would go unprotected. */
static void start_security(struct security *security)
{
	struct buf why = { 0 };

	if (!security_start(security, &why))
		die(EX_CONFIG, "%s", buf_str(&why));
}

static bool wants_json(const struct settings *settings)
{
	return settings->record.format == RECORD_JSON;
}

static int look_at_way(const struct settings *settings, struct peers *peers, int64_t deadline, struct buf *out)
{
	struct buf why = { 0 };
	struct peer *peer = peers_find(peers, settings->target, settings->port, &why);
	struct way way;
	int status;

	if (peer == NULL)
		die(EX_USAGE, "-F %s", buf_str(&why));
	probe_way(settings, peer, deadline, &way);
	way_print(&way, peer, wants_json(settings), out);
	status = way.ready ? EX_OK : EX_TEMPFAIL;
	way_free(&way);
	return status;
}

/* Every address is asked for as it stands. */
static void place_unrouted(const struct settings *settings, struct peers *peers, struct question *questions)
{
	struct buf why = { 0 };
	struct peer *peer = peers_find(peers, settings->target, settings->port, &why);

	if (peer == NULL)
		die(EX_USAGE, "-F %s", buf_str(&why));
	for (size_t i = 0; i < settings->probe.count; i++)
		question_add(&questions[i], peer, settings->probe.addresses[i]);
}

static int ask(const struct settings *settings, struct peers *peers, int64_t deadline, struct buf *out)
{
	size_t count = settings->probe.count;
	struct question *questions = xcalloc(count, sizeof *questions);
	int status;

	for (size_t i = 0; i < count; i++)
		questions[i].address = settings->probe.addresses[i];
	place_unrouted(settings, peers, questions);
	probe_ask(settings, questions, count, deadline);
	for (size_t i = 0; i < count; i++)
		question_print(&questions[i], wants_json(settings), out);
	status = questions_exit_status(questions, count);
	for (size_t i = 0; i < count; i++)
		question_free(&questions[i]);
	free(questions);
	return status;
}

int main(int argc, char **argv)
{
	static struct settings settings;
	struct peers peers = { 0 };
	struct buf out = { 0 };
	int64_t deadline;
	int status;

	log_program("lmtp");
	settings_read(&settings, argc, argv);
	if (!settings.probe.wanted)
		die(EX_USAGE, "-B expected: this is the part of lmtp that asks about recipients");
	deadline = clock_ms() + settings.probe.time;
	signal(SIGPIPE, SIG_IGN);
	start_security(&settings.security);
	if (settings.log != NULL && !transcript_open(&settings.transcript, settings.log))
		complain("protocol log %s: %m; going on without", settings.log);
	if (settings.probe.count == 0)
		status = look_at_way(&settings, &peers, deadline, &out);
	else
		status = ask(&settings, &peers, deadline, &out);
	if (fwrite(buf_str(&out), 1, out.len, stdout) != out.len || fflush(stdout) != 0)
		status = EX_TEMPFAIL;
	buf_free(&out);
	peers_free(&peers);
	security_free(&settings.security);
	return status;
}
