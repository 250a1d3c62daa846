/*
 * lmtp: the transport agent.  Job lines in on standard input, LMTP out, one
 * report per recipient on standard output.
 *
 * One poll loop: the scheduler on one side, the sessions on the other.
 */
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>
#include <unistd.h>

#include "channel/jobs.h"
#include "channel/session.h"
#include "channel/spool/agent.h"
#include "channel/spool/tag.h"
#include "lib/alloc.h"
#include "lib/clock.h"
#include "lib/log.h"
#include "lib/options.h"
#include "lib/parse.h"
#include "lib/text.h"
#include "lib/title.h"

#define PORT_NONE 25

static const struct option_help options[] = {
	{ '1', NULL, "close the connection after each transaction" },
	{ 'A', "FILE", "authenticate with the secrets in FILE, see smtp-auth-secrets(5)" },
	{ 'c', "CHANNEL", "deliver recipients of this channel (default smtp)" },
	{ 'F', "TARGET", "deliver everything there: UNIX:/path, [address], [address]:port or name" },
	{ 'h', "NAME", "our name in LHLO (default: this host's name)" },
	{ 'l', "FILE", "append a protocol log to FILE" },
	{ 'O', "KEY[=VALUE]", "see below" },
	{ 'p', "PORT", "TCP port" },
	{ 'P', NULL, "no pipelining" },
	{ 's', NULL, "show progress in the process title" },
	{ 'S', "FILE", "how to do TLS, see tls.conf(5)" },
	{ 'T', "[STEP=]TIME", "time limits: conn, cmd, data, dot, tcpw; default cmd" },
	{ '6', NULL, "accepted, without meaning here" },
	{ 'd', NULL, "accepted, without meaning here" },
	{ 'e', NULL, "accepted, without meaning here" },
	{ 'E', NULL, "accepted, without meaning here" },
	{ 'M', NULL, "accepted and implied: the protocol is LMTP" },
	{ 'v', NULL, "accepted, without meaning here" },
	{ 'W', NULL, "accepted, without meaning here" },
	{ 'x', NULL, "accepted and implied: no MX lookup" },
	{ 'X', NULL, "accepted, without meaning here" },
	{ 'Z', "WORD", "accepted, without meaning here" },
	{ 0 },
};

static const struct program program = {
	.name = "lmtp",
	.synopsis = "[option ...] [host]",
	.purpose = "Delivers the messages a ZMailer scheduler names on standard input over LMTP.",
	.options = options,
	.notes = "-O auth=A,B           authenticate by these, in this order: login, plain, scram-sha-256, external\n"
	         "-O auth-cleartext     let a password cross a network unencrypted\n"
	         "-O chunking=no        always DATA, never BDAT\n"
	         "-O idle=TIME          keep an unused connection that long (default 60s)\n"
	         "-O ignore-caps=A,B    behave as if the server had not announced these\n"
	         "-O max-rcpts=N        recipients in one transaction (default 1000)\n"
	         "-O tls=none|may|must|verify    STARTTLS: never, if offered (default), always, always with a certificate\n"
	         "                      that is valid for the server\n"
	         "TIME is like 1h30m; bare digits are seconds.",
};

struct settings {
	struct jobs_options jobs;
	struct session_options session;
	struct security security;
	struct transcript transcript;
	const char *target;          /* -F, NULL without */
	uint16_t port;
	bool titles;
	char *ignore_caps;
	char name[256];
};

/* ---- command line ---- */

static const struct {
	const char *step;
	int64_t least;
} limits[] = { { "conn", 10 }, { "cmd", 5 }, { "data", 10 }, { "dot", 10 }, { "tcpw", 10 } };

static void set_limit(struct settings *set, size_t which, int64_t ms)
{
	switch (which) {
	case 0: set->session.connect.timeout = ms; break;
	case 1: set->session.dialogue.command_timeout = ms; break;
	case 2: set->session.dialogue.data_timeout = ms; break;
	case 3: set->session.dialogue.final_timeout = ms; break;
	case 4: set->session.dialogue.write_timeout = ms; break;
	}
}

static void take_time_limit(struct settings *set, const char *argument)
{
	const char *equals = strchr(argument, '=');
	const char *value = equals ? equals + 1 : argument;
	size_t which = 1;
	int64_t seconds;

	if (equals != NULL) {
		size_t n = (size_t)(equals - argument);

		for (which = 0; which < sizeof limits / sizeof limits[0]; which++)
			if (strlen(limits[which].step) == n && strncasecmp(argument, limits[which].step, n) == 0)
				break;
		if (which == sizeof limits / sizeof limits[0])
			option_usage(&program, "-T %s: expected conn, cmd, data, dot or tcpw before the =", argument);
	}
	if (!parse_interval(value, &seconds))
		option_usage(&program, "-T %s: expected a time like 5m or 1h30m", argument);
	if (seconds < limits[which].least)
		option_usage(&program, "-T %s: at least %lld s", argument, (long long)limits[which].least);
	set_limit(set, which, seconds * 1000);
}

/* "A,B" as caps_parse() wants it: "A B". */
static void set_ignored_caps(struct settings *set, const char *list)
{
	free(set->ignore_caps);
	set->ignore_caps = xstrdup(list);
	for (char *p = set->ignore_caps; *p != '\0'; p++)
		if (*p == ',')
			*p = ' ';
	set->session.opening.ignore_caps = set->ignore_caps;
}

static void take_extra(struct settings *set, const char *argument)
{
	const char *equals = strchr(argument, '=');
	const char *value = equals ? equals + 1 : "";
	size_t n = equals ? (size_t)(equals - argument) : strlen(argument);
	struct buf why = { 0 };
	int64_t seconds;
	uint64_t number;

	if (security_option(&set->security, argument, &why)) {
		if (why.len > 0)
			option_usage(&program, "-O %s: %s", argument, buf_str(&why));
		return;
	}
#define KEY(name) (n == strlen(name) && strncmp(argument, name, n) == 0)
	if (KEY("chunking") && strcmp(value, "no") == 0)
		set->session.dialogue.no_chunking = true;
	else if (KEY("chunking") && strcmp(value, "yes") == 0)
		set->session.dialogue.no_chunking = false;
	else if (KEY("idle") && parse_interval(value, &seconds))
		set->session.idle_timeout = seconds * 1000;
	else if (KEY("ignore-caps") && *value != '\0')
		set_ignored_caps(set, value);
	else if (KEY("max-rcpts") && parse_number(value, 1000000, &number) && number > 0)
		set->jobs.max_recipients = (size_t)number;
	else
		option_usage(&program, "-O %s: unknown key or bad value", argument);
#undef KEY
}

static void set_defaults(struct settings *set)
{
	*set = (struct settings){
		.jobs = { .channel = "smtp", .max_recipients = 1000 },
		.session = {
			.dialogue = {
				.command_timeout = 5 * 60 * 1000,
				.data_timeout = 5 * 60 * 1000,
				.final_timeout = 20 * 60 * 1000,
				.write_timeout = 5 * 60 * 1000,
			},
			.connect = { .timeout = 3 * 60 * 1000 },
			.idle_timeout = 60 * 1000,
		},
		.transcript = { .fd = -1 },
		.port = PORT_NONE,
	};
	set->session.transcript = &set->transcript;
	security_init(&set->security);
	set->session.security = &set->security;
	if (gethostname(set->name, sizeof set->name - 1) != 0 || set->name[0] == '\0')
		strcpy(set->name, "localhost");
	set->session.opening.name = set->name;
}

static void parse_options(struct settings *set, int argc, char **argv, const char **log)
{
	uint64_t number;
	int c;

	while ((c = option_next(&program, argc, argv)) != -1) {
		switch (c) {
		case '1': set->session.one_transaction = true; break;
		case 'A': set->security.secrets_path = xstrdup(optarg); break;
		case 'c': set->jobs.channel = xstrdup(optarg); break;
		case 'F': set->target = xstrdup(optarg); break;
		case 'h': set->session.opening.name = xstrdup(optarg); break;
		case 'l': *log = optarg; break;
		case 'O': take_extra(set, optarg); break;
		case 'p':
			if (!parse_number(optarg, 65535, &number) || number == 0)
				option_usage(&program, "-p %s: expected a port between 1 and 65535", optarg);
			set->port = (uint16_t)number;
			break;
		case 'P': set->session.dialogue.no_pipelining = true; break;
		case 'S': set->security.tls_path = xstrdup(optarg); break;
		case 's': set->titles = true; break;
		case 'T': take_time_limit(set, optarg); break;
		default: break;
		}
	}
	if (optind < argc)
		set->jobs.host = xstrdup(argv[optind++]);
	if (optind < argc)
		option_usage(&program, "unexpected argument %s", argv[optind]);
}

/* Port 25 is SMTP's; without a port of its own LMTP over TCP cannot be meant (RFC 2033 section 5). */
static void check_target(struct settings *set)
{
	struct buf why = { 0 };
	struct target *t;

	if (set->target == NULL) {
		if (set->port == PORT_NONE)
			option_usage(&program, "give -F UNIX:/path, or -p with the port of the LMTP server");
		return;
	}
	t = target_create(set->target, set->port, &why);
	if (t == NULL)
		option_usage(&program, "-F %s", buf_str(&why));
	if (t->kind != TARGET_UNIX && t->port == PORT_NONE)
		option_usage(&program, "-F %s: give the port of the LMTP server with -p", set->target);
	target_destroy(&t);
}

/* With damaged settings nothing is delivered: what they should have protected would go unprotected. */
static void start_security(struct security *security, const char *channel)
{
	struct buf why = { 0 };

	security->channel = channel;
	if (!security_start(security, &why))
		die(EX_CONFIG, "%s", buf_str(&why));
}

/*
 * The pid for locks has six columns.  With a larger one we write a number that belongs to nobody: the lock
 * then protects against our own kind, and counts as stale when the
 * scheduler asks, which at worst costs a duplicate after its restart (spool.md section 11).
 */
static pid_t lock_pid(void)
{
	pid_t pid = getpid();

	if (tag_pid_fits(pid))
		return pid;
	for (pid = 999999; pid > 1; pid--)
		if (kill(pid, 0) < 0 && errno == ESRCH)
			return pid;
	return 999999;
}

/* ---- peers ---- */

struct peers {
	struct peer **list;
	size_t count, capacity;
};

/* The peer behind a target's name; NULL with one line in `why` if it cannot be one. */
static struct peer *find_peer(struct peers *peers, const char *text, uint16_t port, struct buf *why)
{
	struct target *target;
	struct peer *peer;

	for (size_t i = 0; i < peers->count; i++)
		if (strcmp(peers->list[i]->target->text, text) == 0)
			return peers->list[i];
	target = target_create(text, port, why);
	if (target == NULL)
		return NULL;
	peer = xcalloc(1, sizeof *peer);
	peer->target = target;
	peers->list = xgrow(peers->list, peers->count, &peers->capacity, sizeof *peers->list);
	peers->list[peers->count++] = peer;
	return peer;
}

static void free_peers(struct peers *peers)
{
	for (size_t i = 0; i < peers->count; i++) {
		target_destroy(&peers->list[i]->target);
		tls_peer_forget(&peers->list[i]->tls);
		buf_free(&peers->list[i]->failure_words);
		free(peers->list[i]);
	}
	free(peers->list);
}

/* ---- the loop ---- */

struct loop {
	struct settings *settings;
	struct jobs jobs;
	struct peers peers;
	struct session session;
	struct buf input;            /* the incomplete last line of the scheduler */
	bool input_ended;
};

static volatile sig_atomic_t stop_signal;

static void on_signal(int sig)
{
	stop_signal = sig;
}

/* From the session: a recipient has its outcome. */
static void on_settled(void *context, struct session *s, struct transaction *t, size_t recipient,
                       const struct result *result)
{
	struct loop *loop = context;
	bool server_reports = s->state == SESSION_READY && (s->opening.caps.has & CAP_DSN);

	jobs_settled(&loop->jobs, t, recipient, result, buf_str(&s->remote), server_reports);
}

static void on_done(void *context, struct session *s, struct transaction *t)
{
	struct loop *loop = context;

	(void)s;
	jobs_done(&loop->jobs, t);
}

static void on_content(void *context, struct transaction *t, struct source *source)
{
	(void)context;
	jobs_content(t, source);
}

static void title(struct loop *loop, const char *what)
{
	if (loop->settings->titles)
		title_set("lmtp >%s %s", loop->session.peer ? loop->session.peer->target->text : "", what);
}

/* Everything the scheduler must know goes out before the next event is looked at. */
static void flush_answers(struct loop *loop)
{
	struct buf *out = &loop->jobs.answers;

	while (out->len > 0) {
		ssize_t n = write(STDOUT_FILENO, out->data, out->len);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno == EAGAIN) {
			struct pollfd p = { .fd = STDOUT_FILENO, .events = POLLOUT };

			poll(&p, 1, -1);
			continue;
		}
		if (n < 0) {
			/* nobody listens any more: the marks in the control files stay true */
			loop->input_ended = true;
			buf_clear(out);
			return;
		}
		buf_consume(out, (size_t)n);
	}
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
		title(loop, "#idle");
		buf_adds(&loop->jobs.answers, "#hungry\n");
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

/* Jobs that came before their peer failed need no attempt of their own. */
static bool failed_already(struct loop *loop, struct job *job, const struct peer *peer)
{
	if (peer->failed_at == 0 || job_received_at(job) > peer->failed_at)
		return false;
	job_fail(&loop->jobs, job, &peer->failure, buf_str(&loop->session.remote));
	return true;
}

static struct peer *peer_of(struct loop *loop, struct job *job)
{
	const char *text = loop->settings->target ? loop->settings->target : job_host(job);
	struct buf why = { 0 };
	struct peer *peer = find_peer(&loop->peers, text, loop->settings->port, &why);

	if (peer == NULL) {
		struct result r = { .outcome = OUTCOME_DEFERRED, .stage = STAGE_LOCAL, .status = "4.3.5",
		                    .words = buf_str(&why), .destination = true };

		job_fail(&loop->jobs, job, &r, "");
	}
	buf_free(&why);
	return peer;
}

/* Gives the session what it can take; message content follows at once, so that both leave in one write. */
static void begin_transactions(struct loop *loop)
{
	struct session *s = &loop->session;
	struct job *job;

	session_fill(s, stop_signal != 0);
	while (stop_signal == 0 && (job = jobs_first_to_send(&loop->jobs)) != NULL) {
		struct peer *peer = peer_of(loop, job);
		size_t limit = s->state == SESSION_READY ? (size_t)s->opening.caps.rcpt_max : 0;

		if (peer == NULL || failed_already(loop, job, peer))
			continue;
		if (!session_wants(s, peer))
			break;
		session_begin(s, peer, job_take(&loop->jobs, job, limit));
		title(loop, "delivering");
		session_fill(s, false);
	}
}

static void wait_for_events(struct loop *loop, const sigset_t *unblocked)
{
	struct pollfd fds[1 + CONNECT_ATTEMPTS];
	size_t n = 1;
	int64_t deadline = session_deadline(&loop->session);
	int ms = clock_poll_timeout(deadline);
	struct timespec timeout = { .tv_sec = ms / 1000, .tv_nsec = (long)(ms % 1000) * 1000000 };

	fds[0] = (struct pollfd){ .fd = loop->input_ended ? -1 : STDIN_FILENO, .events = POLLIN };
	n += session_poll(&loop->session, fds + 1);
	if (ppoll(fds, n, ms < 0 ? NULL : &timeout, unblocked) < 0)
		return;
	session_polled(&loop->session, fds + 1, n - 1);
	if (fds[0].revents != 0)
		read_orders(loop);
}

/* Between final dot and reply we wait, whoever wants us gone: that is what prevents duplicates. */
static bool may_stop(const struct loop *loop)
{
	const struct session *s = &loop->session;

	return s->state != SESSION_READY || !dialogue_in_doubt(&s->dialogue);
}

static void stop(struct loop *loop)
{
	session_abort(&loop->session, "the transport agent was told to stop");
	jobs_drop_unopened(&loop->jobs);
	while (!jobs_empty(&loop->jobs)) {
		struct job *job = jobs_first_to_send(&loop->jobs);
		struct result r = { .outcome = OUTCOME_DEFERRED, .stage = STAGE_LOCAL, .status = "4.3.2",
		                    .words = "the transport agent was told to stop" };

		if (job == NULL)
			break;
		job_fail(&loop->jobs, job, &r, "");
	}
}

static void run(struct loop *loop, const sigset_t *unblocked)
{
	buf_adds(&loop->jobs.answers, "#hungry\n");
	for (;;) {
		session_run(&loop->session);
		begin_transactions(loop);
		session_flush(&loop->session);
		flush_answers(loop);
		if (stop_signal != 0 && may_stop(loop)) {
			stop(loop);
			flush_answers(loop);
			return;
		}
		/* a job that the last steps finished or freed may let the next one begin */
		if (loop->input_ended && jobs_empty(&loop->jobs) && session_idle(&loop->session)) {
			session_quit(&loop->session);
			return;
		}
		if (!session_idle(&loop->session) || jobs_first_to_send(&loop->jobs) == NULL)
			wait_for_events(loop, unblocked);
	}
}

static void catch_signals(sigset_t *unblocked)
{
	static const int signals[] = { SIGTERM, SIGINT, SIGQUIT, SIGHUP };
	sigset_t blocked;

	signal(SIGPIPE, SIG_IGN);
	sigemptyset(&blocked);
	sigprocmask(SIG_SETMASK, NULL, unblocked);
	for (size_t i = 0; i < sizeof signals / sizeof signals[0]; i++) {
		struct sigaction old, new = { .sa_handler = on_signal };

		sigaction(signals[i], NULL, &old);
		if (old.sa_handler == SIG_IGN)
			continue;
		sigaction(signals[i], &new, NULL);
		sigaddset(&blocked, signals[i]);
		sigdelset(unblocked, signals[i]);
	}
	/* they arrive while we wait and nowhere else */
	sigprocmask(SIG_BLOCK, &blocked, NULL);
}

int main(int argc, char **argv)
{
	struct settings settings;
	struct loop loop = { .settings = &settings };
	const struct session_owner owner = { &loop, on_settled, on_done, on_content };
	const char *log = NULL;
	sigset_t unblocked;

	log_program("lmtp");
	set_defaults(&settings);
	parse_options(&settings, argc, argv, &log);
	check_target(&settings);
	log_as_comments();
	start_security(&settings.security, settings.jobs.channel);
	settings.jobs.lock_pid = lock_pid();
	if (log != NULL && !transcript_open(&settings.transcript, log))
		complain("protocol log %s: %s; going on without", log, strerror(errno));
	catch_signals(&unblocked);
	if (settings.titles)
		title_init(argc, argv);

	jobs_init(&loop.jobs, &settings.jobs);
	session_init(&loop.session, &settings.session, &owner);
	run(&loop, &unblocked);
	session_free(&loop.session);
	jobs_free(&loop.jobs);
	free_peers(&loop.peers);
	security_free(&settings.security);
	buf_free(&loop.input);
	free(settings.ignore_caps);
	return EX_OK;
}
