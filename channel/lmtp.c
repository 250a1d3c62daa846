/*
 * lmtp: the transport agent.  Job lines in on standard input, LMTP out, one
 * report per recipient on standard output.
 *
 * One poll loop: the scheduler on one side, the sessions on the other.
 */
#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sysexits.h>
#include <unistd.h>

#include "channel/jobs.h"
#include "channel/peers.h"
#include "channel/session.h"
#include "channel/settings.h"
#include "channel/spool/agent_protocol.h"
#include "lib/clock.h"
#include "lib/file.h"
#include "lib/log.h"
#include "lib/process.h"
#include "lib/title.h"
#include "lib/wait.h"

/* ---- the loop ---- */

#define DESCRIPTORS_WANTED 4096

struct loop {
	struct lmtp_settings *settings;
	struct jobs jobs;
	struct peers peers;
	struct session sessions[CONNECTIONS_MAX];
	unsigned count;              /* of sessions in use */
	struct buf input;            /* the incomplete last line of the scheduler */
	bool input_ended;
};

static volatile sig_atomic_t stop_signal;

static void on_signal(int sig)
{
	stop_signal = sig;
}

/* A server that takes no more connections is asked again after this time, in milliseconds. */
#define PAUSE 5000

/* So many milliseconds has the scheduler to take what we say last. */
#define LAST_ANSWERS 10000

/* Another session that has a connection to the peer, or hope of one; NULL if there is none. */
static const struct session *other_session(const struct loop *loop, const struct peer *peer, const struct session *but)
{
	for (unsigned i = 0; i < loop->count; i++) {
		const struct session *s = &loop->sessions[i];

		if (s != but && s->peer == peer && s->state != SESSION_CLOSED)
			return s;
	}
	return NULL;
}

/* Is it better to wait for what another session has or gets than to begin one more connection? */
static bool must_wait(const struct loop *loop, const struct peer *peer, const struct session *s)
{
	const struct session *other = other_session(loop, peer, s);

	/* one is enough to wait for a resolver: the others are for other peers */
	return other != NULL && (other->state == SESSION_RESOLVING || peer->pause_until > clock_ms());
}

/*
 * From a session.  A peer is judged when no session has a connection to it any more: jobs that are here already are not
 * tried on their own then; those that come later are.
 */
static bool on_unreachable(void *context, const struct session *s)
{
	const struct loop *loop = context;
	struct peer *peer = s->peer;

	if (other_session(loop, peer, s) != NULL) {
		peer->pause_until = clock_ms() + PAUSE;
		return false;
	}
	peer->failed_behind = loop->jobs.received;
	return true;
}

/* From a session: a recipient has its outcome. */
static void on_settled(void *context, struct session *s, struct transaction *t, size_t recipient,
                       const struct result *result)
{
	struct loop *loop = context;
	const struct record_connection connection = session_record(s);
	const struct settlement how = {
		.remote = buf_str(&s->remote),
		.server_reports = s->state == SESSION_READY && (s->opening.caps.has & CAP_DSN),
		.connection = &connection,
	};

	outcome_conclude(&loop->jobs.outcomes, t->owner, t->recipients[recipient].owner, result, t, &t->recipients[recipient],
	                 &how);
}

static void on_done(void *context, struct session *s, struct transaction *t)
{
	struct loop *loop = context;

	(void)s;
	if (t->sent_at != 0)
		tally_step(&loop->settings->tally, STEP_SENDING, t->sent_at - t->begun_at);
	jobs_done(&loop->jobs, t);
}

static bool on_prepare(void *context, struct transaction *t, const struct caps *caps, struct buf *why)
{
	struct loop *loop = context;

	return jobs_prepare(&loop->jobs, t, caps, why);
}

static void on_content(void *context, struct transaction *t, struct source *source)
{
	(void)context;
	jobs_content(t, source);
}

static void title(const struct loop *loop, const char *peer, const char *what)
{
	if (loop->settings->titles)
		title_set("lmtp >%s %s", peer, what);
}

/*
 * Some of n bytes to the scheduler.  0 if it takes none until `deadline`, -1 with errno if it has gone.
 */
static ssize_t give(const char *bytes, size_t n, int64_t deadline)
{
	/* runqueue gives us a socket, which need not be asked first whether there is room */
	static bool is_socket = true;
	struct pollfd p = { .fd = STDOUT_FILENO, .events = POLLOUT };
	ssize_t given = is_socket ? send(STDOUT_FILENO, bytes, n, MSG_DONTWAIT) : -1;
	bool is_full = given < 0 && (errno == EAGAIN || errno == ENOBUFS);

	is_socket = is_socket && (given >= 0 || errno != ENOTSOCK);
	if (is_socket && !is_full)
		return given;
	given = poll(&p, 1, clock_poll_timeout(deadline));
	/* the descriptor is a blocking one, but there is room for so much */
	return given > 0 ? write(STDOUT_FILENO, bytes, n < PIPE_BUF ? n : PIPE_BUF) : given;
}

/*
 * What the scheduler must know goes out before the next event is looked at.  A scheduler that does not read holds up neither
 * the sessions nor our end: what it does not take until `deadline` waits, and with it its next jobs.
 */
static void flush_answers(struct loop *loop, int64_t deadline)
{
	struct buf *out = &loop->jobs.outcomes.answers;
	size_t done = 0;

	while (done < out->len) {
		ssize_t n = give(out->data + done, out->len - done, deadline);

		if (n == 0)
			break;
		if (n > 0) {
			done += (size_t)n;
		} else if (n < 0 && errno != EINTR && errno != EAGAIN) {
			/* the scheduler has gone: the marks in the control files stay true */
			loop->input_ended = true;
			done = out->len;
		}
	}
	buf_consume(out, done);
}

static void take_order(struct loop *loop, char *line)
{
	struct agent_order order = agent_order(line);

	switch (order.kind) {
	case ORDER_JOB:
		transcript_addf(&loop->settings->transcript, "jobspec: %s %s", order.path, order.host ? order.host : "");
		jobs_add(&loop->jobs, order.path, order.host);
		break;
	case ORDER_IDLE:
		title(loop, "", "#idle");
		buf_adds(&loop->jobs.outcomes.answers, "#hungry\n");
		break;
	case ORDER_QUIT:
		loop->input_ended = true;
		break;
	}
}

static void read_orders(struct loop *loop)
{
	char *room = buf_reserve(&loop->input, 64 * 1024), *line, *lf;
	ssize_t n = read(STDIN_FILENO, room, 64 * 1024);
	size_t used = 0;

	if (n < 0 && (errno == EINTR || errno == EAGAIN))
		return;
	if (n <= 0) {
		/* a last line without its LF is no job */
		loop->input_ended = true;
		return;
	}
	loop->input.len += (size_t)n;
	while (!loop->input_ended) {
		line = loop->input.data + used;
		lf = memchr(line, '\n', loop->input.len - used);
		if (lf == NULL)
			break;
		*lf = '\0';
		used = (size_t)(lf + 1 - loop->input.data);
		take_order(loop, line);
	}
	buf_consume(&loop->input, used);
}

/* A job that nothing was tried for now: what is known of its destination decides. */
static void fail_untried(struct loop *loop, struct job *job, const struct peer *peer, const struct result *result)
{
	const struct record_connection connection = { .peer = peer ? peer->target->text : "-", .session = "", .tls = "" };
	const struct settlement how = { .remote = "", .connection = &connection };

	job_fail(&loop->jobs, job, result, &how);
}

/* The peer of a job; NULL if the job ended here, because no server can be reached for it. */
static struct peer *peer_of(struct loop *loop, struct job *job)
{
	const char *text = loop->settings->target ? loop->settings->target : job_host(job);
	struct buf why = { 0 };
	struct peer *peer = peers_find(&loop->peers, text, loop->settings->port, &why);

	if (peer == NULL) {
		struct result r = { .outcome = OUTCOME_DEFERRED, .stage = STAGE_LOCAL, .status = "4.3.5",
		                    .words = buf_str(&why), .destination = true };

		fail_untried(loop, job, NULL, &r);
	} else if (peer->failed && job_number(job) <= peer->failed_behind) {
		/* it came before its peer failed: no attempt of its own */
		fail_untried(loop, job, peer, &peer->failure);
		peer = NULL;
	}
	buf_free(&why);
	return peer;
}

/*
 * Which session gets a job's next transaction: the one with the highest of these; of busy ones that with the fewest
 * transactions.
 */
enum appetite {
	APPETITE_NONE,
	APPETITE_BUSY = 500,          /* it has work under way */
	APPETITE_OTHER_PEER = 900,    /* idle, but its connection leads elsewhere */
	APPETITE_CLOSED = 1000,       /* a new connection */
	APPETITE_IDLE = 2000,         /* connected, and nothing to do */
	APPETITE_NEW = 3000,          /* a new connection, where an old one will not do */
};

static unsigned appetite(const struct loop *loop, const struct session *s, const struct peer *peer,
                         const struct job *job)
{
	bool reused = s->state == SESSION_READY && s->peer == peer;

	if (!session_wants(s, peer))
		return APPETITE_NONE;
	if (!reused && must_wait(loop, peer, s))
		return APPETITE_NONE;
	if (s->state == SESSION_CLOSED)
		return job_wants_new(job) ? APPETITE_NEW : APPETITE_CLOSED;
	if (session_idle(s))
		return reused ? APPETITE_IDLE : APPETITE_OTHER_PEER;
	return APPETITE_BUSY - (unsigned)s->dialogue.flight_count;
}

static bool begin_on(struct loop *loop, struct session *s, struct peer *peer, struct job *job)
{
	bool reused = s->state == SESSION_READY && s->peer == peer;
	size_t limit = reused ? (size_t)s->opening.caps.rcpt_max : 0;
	unsigned number = (unsigned)(s - loop->sessions);
	struct transaction *t = job_take(&loop->jobs, job, limit, number, reused ? s->number : CONNECTION_NEW);

	if (t == NULL && reused && session_idle(s)) {
		/* this connection will not do */
		t = job_take(&loop->jobs, job, limit, number, CONNECTION_NEW);
		if (t != NULL)
			session_quit(s);
	}
	if (t == NULL)
		return false;
	title(loop, peer->target->text, "delivering");
	session_begin(s, peer, t);
	/* message content follows at once, so that it leaves in one write with what is behind it */
	session_fill(s, stop_signal != 0);
	return true;
}

/*
 * Begins a job's next transaction: on the session with the best appetite, or, if its recipients have mail
 * under way elsewhere, behind that mail.
 */
static bool begin_somewhere(struct loop *loop, struct peer *peer, struct job *job)
{
	unsigned best = 0, most = 0, bound;

	for (unsigned i = 0; i < loop->count; i++) {
		unsigned a = appetite(loop, &loop->sessions[i], peer, job);

		if (a > most)
			best = i, most = a;
	}
	if (most == 0)
		return false;
	bound = job_bound_to(&loop->jobs, job);
	if (bound >= loop->count || bound == best)
		return begin_on(loop, &loop->sessions[best], peer, job);
	/* others of a message need not wait for the first */
	if (!job_is_for_one(job) && begin_on(loop, &loop->sessions[best], peer, job))
		return true;
	return appetite(loop, &loop->sessions[bound], peer, job) > 0 && begin_on(loop, &loop->sessions[bound], peer, job);
}

static bool anybody_wants(const struct loop *loop)
{
	for (unsigned i = 0; i < loop->count; i++) {
		const struct session *s = &loop->sessions[i];

		if (session_wants(s, s->peer))
			return true;
	}
	return false;
}

/*
 * Jobs opened ahead because those before them wait for a mailbox that another
 * session is busy with.
 */
#define LOOK_AHEAD 32

/* Gives the sessions what they can take. */
static void begin_transactions(struct loop *loop)
{
	struct job *job = NULL;
	unsigned passed_over = 0;

	for (unsigned i = 0; i < loop->count; i++)
		session_fill(&loop->sessions[i], stop_signal != 0);
	while (stop_signal == 0 && passed_over < LOOK_AHEAD && anybody_wants(loop) &&
	       (job = jobs_next_to_send(&loop->jobs, job)) != NULL) {
		struct peer *peer = peer_of(loop, job);

		if (peer != NULL && !begin_somewhere(loop, peer, job)) {
			passed_over++;
			continue;
		}
		/* the job may be gone now, or have more to send: look from the start again */
		job = NULL;
		passed_over = 0;
	}
}

static int64_t next_deadline(const struct loop *loop)
{
	int64_t deadline = tally_deadline(&loop->settings->tally), failures = jobs_failures_due(&loop->jobs);
	int64_t now = clock_ms();

	deadline = failures < deadline ? failures : deadline;

	for (size_t i = 0; i < loop->peers.count; i++)
		if (loop->peers.list[i]->pause_until > now && loop->peers.list[i]->pause_until < deadline)
			deadline = loop->peers.list[i]->pause_until;

	for (unsigned i = 0; i < loop->count; i++) {
		int64_t d = session_deadline(&loop->sessions[i]);

		deadline = d < deadline ? d : deadline;
	}
	return deadline;
}

static void wait_for_events(struct loop *loop, const sigset_t *unblocked)
{
	struct pollfd fds[2 + CONNECTIONS_MAX * CONNECT_ATTEMPTS];
	size_t at[CONNECTIONS_MAX + 1], n = 2;
	bool unsaid = loop->jobs.outcomes.answers.len > 0;

	fds[0] = (struct pollfd){ .fd = loop->input_ended || unsaid ? -1 : STDIN_FILENO, .events = POLLIN };
	fds[1] = (struct pollfd){ .fd = unsaid ? STDOUT_FILENO : -1, .events = POLLOUT };
	for (unsigned i = 0; i < loop->count; i++) {
		at[i] = n;
		n += session_poll(&loop->sessions[i], fds + n);
	}
	at[loop->count] = n;
	if (wait_for(fds, n, next_deadline(loop), unblocked) < 0)
		return;
	for (unsigned i = 0; i < loop->count; i++)
		session_polled(&loop->sessions[i], fds + at[i], at[i + 1] - at[i]);
	if (fds[0].revents != 0)
		read_orders(loop);
}

static const char told_to_stop[] = "the transport agent was told to stop";

/*
 * Told to stop: a session between final dot and reply goes on, since that is what prevents
 * duplicates.  All other sessions are broken off at once.  True when no session waits any more.
 */
static bool break_off(struct loop *loop)
{
	bool waiting = false;

	for (unsigned i = 0; i < loop->count; i++) {
		struct session *s = &loop->sessions[i];

		if (s->state == SESSION_READY && dialogue_in_doubt(&s->dialogue))
			waiting = true;
		else
			session_abort(s, told_to_stop);
	}
	return !waiting;
}

static bool all_idle(const struct loop *loop)
{
	for (unsigned i = 0; i < loop->count; i++)
		if (!session_idle(&loop->sessions[i]))
			return false;
	return true;
}

static void run(struct loop *loop, const sigset_t *unblocked)
{
	bool more;

	buf_adds(&loop->jobs.outcomes.answers, "#hungry\n");
	for (;;) {
		for (unsigned i = 0; i < loop->count; i++)
			session_run(&loop->sessions[i]);
		begin_transactions(loop);
		for (unsigned i = 0; i < loop->count; i++)
			session_flush(&loop->sessions[i]);
		if (all_idle(loop) || clock_ms() >= jobs_failures_due(&loop->jobs))
			jobs_write_failures(&loop->jobs);
		flush_answers(loop, 0);
		if (stop_signal != 0 && break_off(loop)) {
			const struct result r = { .outcome = OUTCOME_DEFERRED, .stage = STAGE_LOCAL, .status = "4.3.2",
			                          .words = told_to_stop };
			struct job *job;

			/* what was not begun is the scheduler's again, what was begun is deferred */
			jobs_drop_unopened(&loop->jobs);
			while ((job = jobs_next_to_send(&loop->jobs, NULL)) != NULL)
				fail_untried(loop, job, NULL, &r);
			jobs_write_failures(&loop->jobs);
			break;
		}
		if (loop->input_ended && jobs_empty(&loop->jobs) && all_idle(loop))
			break;
		tally_write(&loop->settings->tally, loop->settings->jobs.channel, false);
		/* a write that broke may have given jobs back: then there is something to do at once */
		more = all_idle(loop) && jobs_next_to_send(&loop->jobs, NULL) != NULL;
		flush_answers(loop, 0);
		if (!more)
			wait_for_events(loop, unblocked);
	}
	flush_answers(loop, clock_ms() + LAST_ANSWERS);
}

static void catch_signals(sigset_t *unblocked)
{
	int signals[] = { SIGTERM, SIGINT, SIGQUIT, SIGHUP };
	size_t n = 0;

	/* what our starter has us ignore stays ignored */
	for (size_t i = 0; i < sizeof signals / sizeof signals[0]; i++) {
		struct sigaction now;

		if (sigaction(signals[i], NULL, &now) == 0 && now.sa_handler != SIG_IGN)
			signals[n++] = signals[i];
	}
	wait_catch(signals, n, on_signal, unblocked);
}

int main(int argc, char **argv)
{
	static struct lmtp_settings settings;
	struct loop loop = { .settings = &settings };
	const struct session_owner owner = { &loop, on_settled, on_done, on_prepare, on_content, on_unreachable };
	struct buf why = { 0 };
	sigset_t unblocked;

	process_begin("lmtp");
	lmtp_settings_from(&settings, argc, argv);
	if (settings.probe.wanted) {
		/* the work of a program beside us, which carries libraries for maps: delivery does not need them */
		const char *path = process_beside("lmtp-probe");

		if (path != NULL)
			execv(path, argv);
		die(EX_TEMPFAIL, "-B needs the program lmtp-probe in the directory of lmtp: %s: %s",
		    path != NULL ? path : "/proc/self/exe", strerror(errno));
	}
	log_as_comments();
	/* with damaged settings nothing is delivered: what they should protect would go unprotected */
	if (!security_start(&settings.security, &why))
		die(EX_CONFIG, "%s", buf_str(&why));
	record_open(&settings.record);
	if (settings.log != NULL && !transcript_open(&settings.transcript, settings.log))
		complain("protocol log %s: %s; going on without", settings.log, file_error(errno));
	/* ZMailer's scheduler leaves us 32 descriptors; jobs under way on several sessions need more */
	if (!process_raise_descriptors(DESCRIPTORS_WANTED))
		complain("cannot raise the limit of descriptors: %s", strerror(errno));
	catch_signals(&unblocked);
	if (settings.titles)
		title_init(argc, argv);

	jobs_init(&loop.jobs, &settings.jobs);
	loop.count = settings.connections;
	for (unsigned i = 0; i < loop.count; i++)
		session_init(&loop.sessions[i], &settings.session, &owner);
	run(&loop, &unblocked);
	for (unsigned i = 0; i < loop.count; i++) {
		session_quit(&loop.sessions[i]);
		session_free(&loop.sessions[i]);
	}
	tally_write(&settings.tally, settings.jobs.channel, true);
	tally_free(&settings.tally);
	jobs_free(&loop.jobs);
	peers_free(&loop.peers);
	security_free(&settings.security);
	buf_free(&loop.input);
	return EX_OK;
}
