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
/* What comes in time is printed; for what hangs there is this much more, in milliseconds. */
#define GRACE_MS 1000

/* Lines of standard input that are asked for at a time, and the longest of them. */
#define LINES_MAX 1000
#define LINE_MAX_BYTES 65536

struct probing {
	struct lmtp_settings settings;
	int64_t deadline;
	struct peers peers;
	struct question *questions;
	size_t count;
	struct probe_cache *cache;
	struct server_check check;   /* without questions */
};

static bool wants_json(const struct probing *p)
{
	return p->settings.record.format == RECORD_JSON;
}

/* ---- servers to be asked ---- */

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
	const struct lmtp_settings *s = &p->settings;
	struct buf why = { 0 };
	struct peer *peer = server != NULL ? peers_find(&p->peers, server, s->port, &why) : NULL;

	if (server == NULL)
		buf_adds(&why, "no server is named, and there is no -F");
	else if (peer != NULL && peer->target->kind != TARGET_UNIX && peer->target->port == 0)
		buf_addf(&why, "%s: the port of the LMTP server is not known; give it after a colon or with -p", server);
	if (why.len > 0)
		place_say(question_add(q, NULL, user), ANSWER_UNCLEAR, "4.3.5", buf_str(&why));
	else
		question_add(q, peer, user);
	buf_free(&why);
}

/* Questions that are routed, and the server that is asked about them: NULL where their routes say. */
struct routed_questions {
	struct probing *p;
	struct question *questions;
	const char *server;
};

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
	const struct routed_questions *r = context;
	struct question *q = &r->questions[number];

	switch (answer) {
	case ROUTING_THERE:
		if (is_channel(to, r->p->settings.jobs.channel))
			place_at(r->p, q, r->server != NULL ? r->server : to->host, to->user);
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

/* Nothing is read of it before the first question. */
static struct probe_cache *open_cache(const struct probe_settings *s)
{
	return s->cache != NULL ? probe_cache_open(s->cache, s->yes.kept > s->no.kept ? s->yes.kept : s->no.kept) : NULL;
}

/* Routes and asks for all of them, and adds the lines of the answers. */
static void ask_all(struct probing *p, struct buf *out)
{
	const struct probe_settings *s = &p->settings.probe;
	const struct routing routing = { .dbases = s->dbases, .privilege = NOBODY };
	struct routed_questions routed = { p, p->questions, p->settings.target };
	struct prober *prober = prober_create(&p->settings, false);
	int status = EX_OK;

	p->cache = open_cache(s);
	/* without maps every address is asked for as it stands */
	if (s->dbases != NULL)
		status = routing_each(&routing, s->addresses, p->count, on_routed, &routed);
	else
		for (size_t i = 0; i < p->count; i++)
			place_at(p, &p->questions[i], p->settings.target, p->questions[i].address);
	if (status != EX_OK)
		exit(status);
	if (p->cache != NULL)
		cache_answers(p->cache, &p->settings, p->questions, p->count);
	prober_ask(prober, p->questions, p->count, p->deadline);
	if (p->cache != NULL)
		cache_remember(p->cache, &p->settings, p->questions, p->count);
	print_all(p, out);
	prober_destroy(&prober);
}

/* The answers are out: whatever befalls the cache does not matter to them. */
static void write_cache(struct probing *p)
{
	if (p->cache != NULL)
		probe_cache_write(p->cache);
	probe_cache_close(&p->cache);
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
	struct buf out = { 0 };

	start_connections(p);
	if (p->count > 0) {
		ask_all(p, &out);
		guard_answer(fd, questions_exit_status(p->questions, p->count), &out);
		write_cache(p);
	} else {
		struct peer *peer = given_peer(p);

		probe_server(&p->settings, peer, p->deadline, &p->check);
		server_check_print(&p->check, peer, wants_json(p), &out);
		guard_answer(fd, p->check.ready ? EX_OK : EX_TEMPFAIL, &out);
		server_check_free(&p->check);
	}
	buf_free(&out);
	peers_free(&p->peers);
	security_free(&p->settings.security);
}

/* ---- questions that come on standard input ---- */

struct asked {
	struct question question;
	char *line;
	int64_t deadline;
	bool is_told;
};

struct inquiry {
	struct probing *p;
	struct prober *prober;
	struct routing routing;      /* by maps that are open; without a router if there are none */
	struct buf in;
	bool skips;                  /* to the end of a line that is too long */
	bool ended;
	struct asked *all[LINES_MAX];        /* in the order in which they came */
	size_t count;
	struct buf out;
	int worst;                   /* exit status */
};

/* A NUL byte, which no command can hold, must not hide what is behind it. */
static struct asked *new_question(struct inquiry *s, const char *line, size_t n)
{
	struct asked *a = xcalloc(1, sizeof *a);

	a->line = xmalloc(n + 1);
	memcpy(a->line, line, n);
	a->line[n] = '\0';
	for (char *nul = a->line; (nul = memchr(nul, '\0', n - (size_t)(nul - a->line))) != NULL;)
		*nul = '\x01';
	a->question.address = a->line;
	a->deadline = clock_ms() + s->p->settings.probe.time;
	s->all[s->count++] = a;
	return a;
}

/* ADDRESS, or ADDRESS TAB SERVER. */
static void ask_line(struct inquiry *s, const char *line, size_t n)
{
	struct asked *a = new_question(s, line, n - (n > 0 && line[n - 1] == '\r'));
	struct question *q = &a->question;
	char *tab = strchr(a->line, '\t');
	struct routed_questions routed = { s->p, q, tab != NULL ? tab + 1 : s->p->settings.target };
	int status = EX_OK;

	if (tab != NULL)
		*tab = '\0';
	if (s->routing.router != NULL)
		(void)routing_renew(&s->routing);
	if (s->routing.router != NULL)
		status = routing_each(&s->routing, &a->line, 1, on_routed, &routed);
	else
		place_at(s->p, q, routed.server, a->line);
	if (status != EX_OK)
		exit(status);
	if (s->p->cache != NULL)
		cache_answers(s->p->cache, &s->p->settings, q, 1);
	prober_add(s->prober, q);
}

static bool is_settled(const struct question *q)
{
	for (size_t k = 0; k < q->count; k++)
		if (!q->places[k].settled)
			return false;
	return true;
}

/*
 * Prints what is known, in the order of the lines as far as that goes; what no server is at any more goes.  True if there was
 * any.
 */
static bool tell_settled(struct inquiry *s)
{
	size_t kept = 0, told = 0;

	for (size_t i = 0; i < s->count; i++) {
		struct asked *a = s->all[i];
		struct question *q = &a->question;

		if (!a->is_told && is_settled(q)) {
			if (s->p->cache != NULL)
				cache_remember(s->p->cache, &s->p->settings, q, 1);
			question_print(q, wants_json(s->p), &s->out);
			if (questions_exit_status(q, 1) > s->worst)
				s->worst = questions_exit_status(q, 1);
			a->is_told = true;
			told++;
		}
		if (!a->is_told || !prober_is_done(q)) {
			s->all[kept++] = a;
			continue;
		}
		prober_remove(s->prober, q);
		question_free(q);
		free(a->line);
		free(a);
	}
	s->count = kept;
	if (fwrite(buf_str(&s->out), 1, s->out.len, stdout) != s->out.len || fflush(stdout) != 0)
		die(EX_TEMPFAIL, "cannot write answers: %m");
	buf_clear(&s->out);
	return told > 0;
}

static int64_t next_deadline(const struct inquiry *s)
{
	int64_t deadline = CLOCK_NEVER;

	for (size_t i = 0; i < s->count; i++)
		if (!s->all[i]->is_told && s->all[i]->deadline < deadline)
			deadline = s->all[i]->deadline;
	return deadline;
}

/* The lines that are there; at the end of the input what is left is one, too. */
static void take_lines(struct inquiry *s)
{
	size_t at = 0;

	while (s->count < LINES_MAX && at < s->in.len) {
		const char *line = s->in.data + at, *lf = memchr(line, '\n', s->in.len - at);
		const size_t n = lf != NULL ? (size_t)(lf - line) : s->in.len - at;

		if (lf == NULL && n <= LINE_MAX_BYTES && !s->ended && !s->skips)
			break;
		at += n + (lf != NULL);
		if (!s->skips && n > LINE_MAX_BYTES) {
			/* a question without its end, which is not asked */
			struct asked *a = new_question(s, line, LINE_MAX_BYTES);
			char *why = xasprintf("the line is longer than %d bytes", LINE_MAX_BYTES);

			place_say(question_add(&a->question, NULL, ""), ANSWER_UNCLEAR, "5.1.3", why);
			free(why);
		} else if (!s->skips) {
			ask_line(s, line, n);
		}
		s->skips = lf == NULL && (s->skips || n > LINE_MAX_BYTES);
	}
	buf_consume(&s->in, at);
}

/* Each is answered when it is known; the next ones find the sessions that those before have opened. */
static void answer_all(struct inquiry *s)
{
	while (!s->ended || s->in.len > 0 || s->count > 0) {
		bool told;
		int64_t now;

		s->p->cache = open_cache(&s->p->settings.probe);
		take_lines(s);
		prober_go(s->prober);
		now = clock_ms();
		for (size_t i = 0; i < s->count; i++)
			if (!s->all[i]->is_told && s->all[i]->deadline <= now)
				prober_give_up(s->prober, &s->all[i]->question);
		told = tell_settled(s);
		write_cache(s->p);
		if (told || (s->ended && s->in.len == 0 && s->count == 0))
			continue;
		/* with as much as may be asked at a time no more is read */
		if (prober_wait(s->prober, s->ended || s->count == LINES_MAX ? -1 : STDIN_FILENO, next_deadline(s))) {
			ssize_t n = read(STDIN_FILENO, buf_reserve(&s->in, LINE_MAX_BYTES), LINE_MAX_BYTES);

			if (n < 0 && errno != EINTR && errno != EAGAIN)
				die(EX_IOERR, "standard input: %m");
			s->in.len += n > 0 ? (size_t)n : 0;
			s->ended = n == 0;
		}
	}
}

static int answer_stream(struct probing *p)
{
	struct inquiry s = { .p = p, .prober = prober_create(&p->settings, true),
	                    .routing = { .dbases = p->settings.probe.dbases, .privilege = NOBODY } };
	int status = EX_OK;

	start_connections(p);
	if (s.routing.dbases != NULL)
		status = routing_open(&s.routing);
	if (status != EX_OK)
		exit(status);
	answer_all(&s);
	prober_destroy(&s.prober);
	peers_free(&p->peers);
	security_free(&p->settings.security);
	routing_close(&s.routing);
	buf_free(&s.in);
	buf_free(&s.out);
	return s.worst;
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
	lmtp_settings_from(&p.settings, argc, argv);
	if (!p.settings.probe.wanted)
		die(EX_USAGE, "expected -B: this is the part of lmtp that asks about recipients");
	if (p.settings.probe.stream)
		return answer_stream(&p);
	p.questions = xcalloc(p.settings.probe.count + 1, sizeof *p.questions);
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
	buf_free(&out);
	peers_free(&p.peers);
	return status;
}
