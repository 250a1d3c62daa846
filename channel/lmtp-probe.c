/*
 * lmtp-probe: what lmtp -B becomes.  Asks servers about recipients, or whether mail could be sent to one.
 *
 * A program of its own because it needs what the agent that delivers must not carry: maps and their libraries.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>
#include <unistd.h>

#include "channel/peers.h"
#include "channel/probe/guard.h"
#include "channel/probe/keep.h"
#include "channel/probe/probe.h"
#include "channel/routing.h"
#include "channel/settings.h"
#include "lib/alloc.h"
#include "lib/clock.h"
#include "lib/file.h"
#include "lib/log.h"
#include "lib/process.h"

/* Routing is by the maps alone: without rights of a user. */
#define NOBODY 65534
/* What comes in time is told; for what hangs there is this much more, in milliseconds. */
#define GRACE_MS 1000

/* Lines of standard input that are asked for together, and the longest of them. */
#define LINES_MAX 100
#define LINE_MAX_BYTES 65536

struct probing {
	struct settings settings;
	int64_t deadline;
	struct peers peers;
	struct question *questions;
	const char **servers;        /* of each question, in the place of -F; NULL: none */
	size_t count;
	struct probe_cache *cache;
	struct server_check check;   /* without questions */
};

static bool wants_json(const struct probing *p)
{
	return p->settings.record.format == RECORD_JSON;
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

/* Adds a place at this server, which may be none. */
static void place_at(struct probing *p, struct question *q, const char *server, const char *user)
{
	const struct settings *s = &p->settings;
	struct buf why = { 0 };
	struct peer *peer = server != NULL ? peers_find(&p->peers, server, s->port, &why) : NULL;

	if (server == NULL)
		buf_adds(&why, "no server is named, and there is no -F");
	else if (peer != NULL && peer->target->kind != TARGET_UNIX && peer->target->port == 0)
		buf_addf(&why, "%s: the port of the LMTP server is not known: behind a colon or with -p", server);
	if (why.len > 0)
		place_say(question_add(q, NULL, user), ANSWER_UNCLEAR, "4.3.5", buf_str(&why));
	else
		question_add(q, peer, user);
	buf_free(&why);
}

static const char *server_of(const struct probing *p, const struct question *q)
{
	const char *server = p->servers[q - p->questions];

	return server != NULL ? server : p->settings.target;
}

static bool is_channel(const struct routed *to, const char *channel)
{
	return strcmp(to->channel, channel) == 0;
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
			place_at(p, q, server_of(p, q) != NULL ? server_of(p, q) : to->host, to->user);
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

/* ---- asking ---- */

static void print_all(struct probing *p, struct buf *out)
{
	for (size_t i = 0; i < p->count; i++)
		question_print(&p->questions[i], wants_json(p), out);
}

/* Adds the lines of the answers; the cache, if there is one, is to be written behind that. */
static void settle_questions(struct probing *p, struct prober *prober, struct buf *out)
{
	const struct probe_settings *s = &p->settings.probe;
	const struct routing routing = { .dbases = s->dbases, .privilege = NOBODY };
	int64_t longest = s->yes.kept > s->no.kept ? s->yes.kept : s->no.kept;
	int status = EX_OK;

	p->cache = s->cache != NULL ? probe_cache_open(s->cache, longest) : NULL;
	/* without maps every address is asked for as it stands */
	if (s->dbases != NULL)
		status = routing_each(&routing, s->addresses, p->count, on_routed, p);
	else
		for (size_t i = 0; i < p->count; i++)
			place_at(p, &p->questions[i], server_of(p, &p->questions[i]), p->questions[i].address);
	if (status != EX_OK)
		exit(status);
	if (p->cache != NULL)
		cache_answers(p->cache, &p->settings, p->questions, p->count);
	prober_ask(prober, p->questions, p->count, p->deadline);
	if (p->cache != NULL)
		cache_remember(p->cache, &p->settings, p->questions, p->count);
	print_all(p, out);
}

/* The answers are out: whatever befalls the cache does not matter to them. */
static void write_cache(struct probing *p)
{
	if (p->cache != NULL)
		probe_cache_write(p->cache);
	probe_cache_close(&p->cache);
}

static void answer_questions(struct probing *p, int fd)
{
	struct prober *prober = prober_create(&p->settings, false);
	struct buf out = { 0 };

	settle_questions(p, prober, &out);
	prober_destroy(&prober);
	guard_answer(fd, questions_exit_status(p->questions, p->count), &out);
	write_cache(p);
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

static void start_connections(struct probing *p)
{
	struct buf why = { 0 };

	/* with damaged settings no server is asked: what they should protect would go unprotected */
	if (!security_start(&p->settings.security, &why))
		die(EX_CONFIG, "%s", buf_str(&why));
	if (p->settings.log != NULL && !transcript_open(&p->settings.transcript, p->settings.log))
		complain("protocol log %s: %s; going on without", p->settings.log, file_error(errno));
}

static void work(void *context, int fd)
{
	struct probing *p = context;

	start_connections(p);
	if (p->count > 0)
		answer_questions(p, fd);
	else
		look_at_way(p, fd);
	peers_free(&p->peers);
	security_free(&p->settings.security);
}

/* ---- questions that come on standard input ---- */

/*
 * Cuts a line off: ADDRESS, or ADDRESS TAB SERVER.  A NUL byte, which no command can hold, must not hide what is behind it.
 */
static void take_line(struct probing *p, char *line, size_t n)
{
	char *tab;

	line[n] = '\0';
	for (char *nul = line; (nul = memchr(nul, '\0', n - (size_t)(nul - line))) != NULL;)
		*nul = '\x01';
	tab = strchr(line, '\t');
	if (tab != NULL)
		*tab = '\0';
	p->servers[p->count] = tab != NULL ? tab + 1 : NULL;
	p->questions[p->count++] = (struct question){ .address = line };
}

/* Takes whole lines; at the end what is left is one, too.  Returns how many bytes they are. */
static size_t take_lines(struct probing *p, struct buf *in, bool end)
{
	size_t at = 0;

	/* the last line's end has room, and no line moves any more */
	buf_reserve(in, 1);
	while (p->count < LINES_MAX && at < in->len) {
		char *lf = memchr(in->data + at, '\n', in->len - at);
		size_t n = lf != NULL ? (size_t)(lf - in->data) - at : in->len - at;

		if (n > LINE_MAX_BYTES)
			die(EX_DATAERR, "standard input: a line is longer than %d bytes", LINE_MAX_BYTES);
		if (lf == NULL && !end)
			break;
		take_line(p, in->data + at, n);
		at += n + (lf != NULL);
	}
	return at;
}

/* Answers the lines that are there; the next ones find the sessions that these have opened. */
static int answer_lines(struct probing *p, struct prober *prober)
{
	struct buf out = { 0 };
	int status;

	p->deadline = clock_ms() + p->settings.probe.time;
	settle_questions(p, prober, &out);
	if (fwrite(buf_str(&out), 1, out.len, stdout) != out.len || fflush(stdout) != 0)
		die(EX_TEMPFAIL, "cannot write answers: %m");
	status = questions_exit_status(p->questions, p->count);
	write_cache(p);
	for (size_t i = 0; i < p->count; i++)
		question_free(&p->questions[i]);
	p->count = 0;
	buf_free(&out);
	return status;
}

static int answer_stream(struct probing *p)
{
	struct prober *prober = prober_create(&p->settings, true);
	struct buf in = { 0 };
	ssize_t n = 1;
	int worst = EX_OK;

	start_connections(p);
	for (;;) {
		size_t used = take_lines(p, &in, n == 0);

		if (p->count > 0) {
			int status = answer_lines(p, prober);

			worst = status > worst ? status : worst;
			buf_consume(&in, used);
			continue;
		}
		if (n == 0)
			break;
		prober_wait(prober, STDIN_FILENO);
		n = read(STDIN_FILENO, buf_reserve(&in, LINE_MAX_BYTES), LINE_MAX_BYTES);
		if (n < 0 && errno != EINTR && errno != EAGAIN)
			die(EX_IOERR, "standard input: %m");
		in.len += n > 0 ? (size_t)n : 0;
	}
	prober_destroy(&prober);
	peers_free(&p->peers);
	security_free(&p->settings.security);
	buf_free(&in);
	return worst;
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
	p.questions = xcalloc(p.settings.probe.count + LINES_MAX, sizeof *p.questions);
	p.servers = xcalloc(p.settings.probe.count + LINES_MAX, sizeof *p.servers);
	if (p.settings.probe.stream)
		return answer_stream(&p);
	p.deadline = clock_ms() + p.settings.probe.time;
	p.count = p.settings.probe.count;
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
	free(p.servers);
	buf_free(&out);
	peers_free(&p.peers);
	return status;
}
