/*
 * runqueue: runs the queue of a ZMailer spool in place of its scheduler, and lists it.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <sysexits.h>
#include <unistd.h>

#include "channel/operator/control_socket.h"
#include "channel/operator/listing.h"
#include "channel/operator/mailq.h"
#include "channel/operator/queue_state.h"
#include "channel/queue/litter.h"
#include "channel/queue/lock.h"
#include "channel/queue/schedconf.h"
#include "channel/queue/scheduler.h"
#include "channel/queue/walk.h"
#include "channel/queue/watch.h"
#include "channel/spool/notify.h"
#include "channel/spool/postoffice.h"
#include "channel/spool/restore.h"
#include "config.h"
#include "lib/alloc.h"
#include "lib/clock.h"
#include "lib/file.h"
#include "lib/log.h"
#include "lib/logline.h"
#include "lib/options.h"
#include "lib/parse.h"
#include "lib/process.h"
#include "lib/wait.h"
#include "lib/zenv.h"

static const struct option_help options[] = {
	{ '1', NULL, "try everything in the queue once, then end" },
	{ 'F', "DBASES", "the maps that route reports to senders (default: db/dbases.conf in MAILVAR of ZENV)" },
	{ 'f', "FILE", "scheduler.conf (default: MAILSHARE/scheduler.conf of ZENV)" },
	{ 'j', NULL, "with -l: a JSON object for each line" },
	{ 'l', NULL, "list the queue; changes nothing, whether or not a runqueue runs" },
	{ 'O', "KEY=VALUE", "see below" },
	{ 'P', "DIRECTORY", "the post office (default: POSTOFFICE of ZENV)" },
	{ 'v', NULL, "print a line for each outcome" },
	{ 'w', NULL, "run and wait for new mail, until SIGTERM" },
	{ 0 },
};

static const struct program program = {
	.name = "runqueue",
	.synopsis = "[-vV] [-F dbases] [-f file] [-O key=value] [-P directory] -1 | -w\n[-j] [-P directory] -l",
	.purpose = "Starts the transport agents of scheduler.conf and feeds them the mail in the queue.",
	.options = options,
	.notes = "-O log=keys|json    form of log lines (keys)\n"
	         "-O silence=TIME     an agent that has mail and sends no report for so long is stopped (5h), zlmtp-report after\n"
	         "                    half an hour at the latest\n"
	         "ZENV is the file that ZCONFIG names, or " ZCONFIG_PATH ".\n"
	         "zlmtp-report, in the directory of runqueue, writes reports to senders.  Without it or without maps, and for\n"
	         "mail without a sender, failures are written to files in postman/ of the post office.",
	.help = 'h',
};

/* zlmtp-report answers for two hundred messages at a time, each of which may have to wait for a map; in seconds. */
#define REPORTER_SILENCE (30 * 60)

/* Between looks through the whole spool, in milliseconds: with and without a system that tells of new files. */
#define SCAN_PAUSE (60 * 1000)
#define BLIND_SCAN_PAUSE (5 * 1000)
/* What may be long is done in parts of so many milliseconds. */
#define SLICE 50

struct options {
	const char *postoffice;
	const char *conf;
	const char *dbases;
	bool once, watch, verbose, list, json, log_json;
	int64_t silence;           /* seconds, 0: as usual */
};

static volatile sig_atomic_t children, stops;

static void on_signal(int sig)
{
	if (sig == SIGCHLD)
		children = 1;
	else
		stops++;
}

static void read_options(struct options *set, int argc, char **argv)
{
	int c;

	while ((c = option_next(&program, argc, argv)) != -1) {
		switch (c) {
		case '1': set->once = true; break;
		case 'F': set->dbases = optarg; break;
		case 'f': set->conf = optarg; break;
		case 'j': set->json = true; break;
		case 'l': set->list = true; break;
		case 'O':
			if (strncmp(optarg, "silence=", 8) == 0) {
				if (!parse_interval(optarg + 8, &set->silence) || set->silence < 1)
					option_usage(&program, "-O %s: expected a time like 5h or 90m", optarg);
			} else if (!logline_form(optarg, &set->log_json))
				option_usage(&program, "-O %s: expected log=keys, log=json or silence=TIME", optarg);
			break;
		case 'P': set->postoffice = optarg; break;
		case 'v': set->verbose = true; break;
		case 'w': set->watch = true; break;
		}
	}
	if (optind < argc)
		option_usage(&program, "%s: expected no arguments", argv[optind]);
	if (set->once + set->watch + set->list != 1)
		option_usage(&program, "expected one of -1, -w and -l");
	if (set->json && !set->list)
		option_usage(&program, "-j is for -l");
	if (set->verbose)
		zenv_tell();
	if (set->postoffice == NULL)
		set->postoffice = zenv("POSTOFFICE");
	if (set->postoffice == NULL)
		option_usage(&program, "expected the post office: -P, or POSTOFFICE in the file that ZCONFIG names");
}

static struct schedconf *read_conf(const struct options *set)
{
	const char *share = zenv("MAILSHARE");
	struct buf path = { 0 }, why = { 0 };
	struct schedconf *conf;

	/* what is wrong there must show before an agent or zlmtp-report is started */
	zenv("MAILBIN");
	zenv("MAILVAR");
	zenv("SCHEDULERDIRHASH");
	if (set->conf == NULL && share == NULL)
		option_usage(&program, "expected scheduler.conf: -f, or MAILSHARE in the file that ZCONFIG names");
	if (set->conf != NULL)
		buf_adds(&path, set->conf);
	else
		buf_addf(&path, "%s/scheduler.conf", share);
	conf = schedconf_read(buf_str(&path), &why);
	if (conf == NULL)
		die(file_can_be_read(buf_str(&path)) ? EX_CONFIG : EX_NOINPUT, "%s", buf_str(&why));
	/* a name that was mistyped would show with the first report only: in a file in postman/, and not at its sender */
	if (set->dbases != NULL && !file_can_be_read(set->dbases))
		die(EX_NOINPUT, "%s: %s", set->dbases, file_error(errno));
	if (set->verbose && conf->pool.ignored.len > 0)
		complain("%s: no effect here: %s", buf_str(&path), buf_str(&conf->pool.ignored));
	buf_free(&path);
	return conf;
}

/* How long an operator's zlmtp-queue may have the lock when we start, in milliseconds. */
#define LOCK_PATIENCE 5000

/* One of us for each post office, and no scheduler of ZMailer: the lock ends with the process, whatever ends that. */
static void lock_postoffice(const char *postoffice)
{
	pid_t zmailer = lock_zmailer(postoffice);
	struct buf why = { 0 };
	int status, fd;

	if (zmailer != 0)
		die(EX_TEMPFAIL, "a scheduler runs here: process %ld, by %s/.pid.scheduler", (long)zmailer, postoffice);
	fd = lock_take(postoffice, LOCK_PATIENCE, &why, &status);
	if (fd < 0)
		die(status, "%s", buf_str(&why));
	/* the lock is what counts: on a full disk, delivery is what makes room */
	if (ftruncate(fd, 0) < 0 || dprintf(fd, "%ld\n", (long)getpid()) < 0)
		complain("%s/.pid.runqueue: cannot write the process number: %s; going on", postoffice, strerror(errno));
	/* stays open as long as we live */
}

static void enter_transport(const char *postoffice)
{
	struct buf why = { 0 };
	int status = spool_enter_transport(postoffice, &why);

	if (status != EX_OK)
		die(status, "%s", buf_str(&why));
}

/* Signals arrive while we wait and nowhere else. */
/* ---- the loop ---- */

struct loop {
	struct scheduler scheduler;
	struct queue_state_writer state;
	int watch;                 /* -1 if the system does not tell of new mail */
	int notify;                /* the socket of SCHEDULERNOTIFY, -1 for none */
	struct control_server *control;   /* NULL: operators cannot reach us */
	int64_t scan_at, clean_at;
	struct walk *held;         /* where clean() is, NULL if it is not at work */
	struct pollfd *fds;
	struct agent **polled;    /* whose descriptor each of them is, from the fourth on */
	size_t room;
	sig_atomic_t stops_seen;
	bool progress;             /* on the terminal of stderr */
	int64_t began, progress_at;
	size_t progress_width;     /* of what stands there, 0 for nothing */
};

static void arrived(void *context, const char *name)
{
	scheduler_arrived(context, name, clock_now());
}

/* Agents stand from the third place on, *agents is where they end; operators behind them. */
static size_t fill_fds(struct loop *loop, size_t *agents)
{
	size_t n = 0;

	if (loop->room < loop->scheduler.agent_count + 3 + CONTROL_DESCRIPTORS) {
		loop->room = 2 * loop->scheduler.agent_count + 8 + CONTROL_DESCRIPTORS;
		loop->fds = xreallocarray(loop->fds, loop->room, sizeof *loop->fds);
		loop->polled = xreallocarray(loop->polled, loop->room, sizeof(struct agent *));
	}
	loop->fds[n++] = (struct pollfd){ .fd = loop->watch, .events = POLLIN };
	loop->fds[n++] = (struct pollfd){ .fd = loop->notify, .events = POLLIN };
	loop->fds[n++] = (struct pollfd){
		.fd = reporter_descriptor(loop->scheduler.reporter), .events = reporter_events(loop->scheduler.reporter),
	};
	for (struct agent *w = loop->scheduler.agents; w != NULL; w = w->next) {
		if (w->fd < 0)
			continue;
		loop->polled[n] = w;
		/* after trouble the clock says when it is tried again */
		loop->fds[n++] = (struct pollfd){
			.fd = w->again != 0 ? -1 : w->fd, .events = POLLIN | (w->out.len > 0 ? POLLOUT : 0),
		};
	}
	*agents = n;
	return loop->control != NULL ? n + control_socket_poll(loop->control, loop->fds + n) : n;
}

/* Once a day; at the start when the queue was read, as what is to go shall not wait for it, or before a pass. */
static bool may_clean(const struct scheduler *s)
{
	return !s->stopping && (s->once || (s->read_whole && !scheduler_is_scanning(s)));
}

static void wait_for_events(struct loop *loop, const sigset_t *while_waiting)
{
	int64_t deadline = scheduler_deadline(&loop->scheduler), state = queue_state_deadline(&loop->state, &loop->scheduler);
	size_t agents, n = fill_fds(loop, &agents);
	struct moment now;

	if (loop->control != NULL && control_socket_deadline(loop->control) < deadline)
		deadline = control_socket_deadline(loop->control);

	if (loop->scan_at < deadline)
		deadline = loop->scan_at;
	if (may_clean(&loop->scheduler) && loop->clean_at < deadline)
		deadline = loop->clean_at;
	if (state < deadline)
		deadline = state;
	if (loop->progress && loop->progress_at < deadline)
		deadline = loop->progress_at;
	fflush(stdout);
	if (wait_for(loop->fds, n, deadline, while_waiting) < 0)
		return;
	now = clock_now();
	/* no agent is freed in here, so that every pointer stays good */
	for (size_t i = 3; i < agents; i++) {
		if (loop->fds[i].revents & POLLOUT)
			agent_flush(loop->polled[i], now.ms);
		if (loop->fds[i].revents & (POLLIN | POLLHUP | POLLERR))
			scheduler_read(&loop->scheduler, loop->polled[i], now);
	}
	if (loop->fds[0].revents != 0 && !watch_read(loop->watch, arrived, &loop->scheduler))
		loop->scan_at = clock_ms();
	if (loop->fds[1].revents != 0)
		notify_read(loop->notify, arrived, &loop->scheduler);
	if (loop->fds[2].revents != 0) {
		loop->scheduler.now = now;
		reporter_serve(loop->scheduler.reporter, now.ms);
	}
}

/* What a pass has come to. */
static void add_sums(struct buf *out, const struct loop *loop, const char *rest)
{
	const struct scheduler *s = &loop->scheduler;
	int64_t ms = clock_ms() - loop->began;
	size_t waiting, held;

	/* one message in 5 ms would be 200 messages/s */
	if (ms < 1000)
		ms = 1000;
	scheduler_count(s, &waiting, &held);
	buf_addf(out, "delivered %zu, failed %zu, %s %zu, held %zu; %.1f messages/s", s->delivered, s->failed, rest, waiting,
	         held, (double)s->removed * 1000 / (double)ms);
}

static void clean(struct loop *loop)
{
	const struct scheduler *s = &loop->scheduler;
	int64_t now = clock_ms();
	size_t removed;

	if (now < loop->clean_at || !may_clean(s))
		return;
	if (!operate_bring_back(&loop->held, s->json, time(NULL), s->once ? CLOCK_NEVER : now + SLICE))
		return;
	loop->clean_at = now + LITTER_AGE * 1000;
	removed = litter_remove(time(NULL));
	if (removed > 0)
		complain("removed %zu temporary file%s that killed programs had left in the post office", removed,
		         removed == 1 ? "" : "s");
}

/* What an intake had accepted before it was killed, or the power failed.  While one runs, it sees to that itself. */
static int take_from_journal(void)
{
	struct spool spool = { .postoffice = ".." };
	struct buf why = { 0 };
	size_t restored = 0;
	int status = EX_OK;

	if (spool_open(&spool, &why)) {
		spool_restore(&spool, false, &restored, &status, &why);
		spool_close(&spool);
	}
	spool_restore_log(restored);
	if (why.len > 0)
		complain("%s%s", buf_str(&why),
		         status != EX_OK ? "; the queue is read when that works, as mail in it may be damaged" : "");
	buf_free(&why);
	return status;
}

/* A line over the one before; so long a queue that counting it takes time is counted less often. */
static void show_progress(struct loop *loop)
{
	int64_t now = clock_ms();
	struct buf line = { 0 };

	if (!loop->progress || now < loop->progress_at)
		return;
	add_sums(&line, loop, "to go");
	fprintf(stderr, "\r%-*s", (int)loop->progress_width, buf_str(&line));
	loop->progress_width = line.len;
	loop->progress_at = now + 1000 + 100 * (clock_ms() - now);
	buf_free(&line);
}

static void run(struct loop *loop, const sigset_t *while_waiting)
{
	struct scheduler *s = &loop->scheduler;

	for (;;) {
		/* the first signal lets agents finish what they have; the next ones tell them to hurry */
		if (loop->stops_seen != stops) {
			if (loop->stops_seen == 0)
				scheduler_stop(&loop->scheduler, clock_now());
			else
				for (const struct agent *w = loop->scheduler.agents; w != NULL; w = w->next)
					kill(w->pid, SIGTERM);
			loop->stops_seen = stops;
		}
		clean(loop);
		if (!s->once && !s->stopping && !scheduler_is_scanning(s) && loop->scan_at <= clock_ms()) {
			if (take_from_journal() == EX_OK)
				scheduler_scan(s, clock_now());
			loop->scan_at = clock_ms() + (loop->watch >= 0 ? SCAN_PAUSE : BLIND_SCAN_PAUSE);
		}
		if (loop->control != NULL && !s->stopping)
			control_socket_work(loop->control, clock_now());
		scheduler_work(s, clock_now());
		queue_state_write(&loop->state, s, scheduler_finished(s));
		show_progress(loop);
		if (scheduler_finished(s))
			return;
		wait_for_events(loop, while_waiting);
		if (children) {
			pid_t pid;
			int status;

			children = 0;
			while ((pid = waitpid(-1, &status, WNOHANG)) > 0)
				if (!reporter_buried(loop->scheduler.reporter, pid, status, clock_ms()))
					scheduler_buried(&loop->scheduler, pid, status, clock_now());
		}
	}
}

/* ---- -l ---- */

static int list(const struct options *set)
{
	struct listing listing;
	struct buf out = { 0 };
	bool ok;

	enter_transport(set->postoffice);
	listing_read(&listing);
	if (set->json)
		mailq_json(&out, &listing);
	else
		mailq_text(&out, &listing, time(NULL));
	ok = file_write(STDOUT_FILENO, out.data, out.len);
	buf_free(&out);
	if (!ok)
		die(EX_IOERR, "standard output: %s", strerror(errno));
	if (listing.count == 0 && listing.finished == 0 && !set->json)
		mailq_nothing(MAILQ_EMPTY);
	if (listing.no_answers != NULL)
		complain("%s", listing.no_answers);
	ok = listing.trouble == 0;
	listing_free(&listing);
	return ok ? EX_OK : EX_DATAERR;
}

static void print_sums(struct loop *loop)
{
	struct buf line = { 0 };

	if (loop->progress_width > 0)
		fprintf(stderr, "\r%*s\r", (int)loop->progress_width, "");
	loop->progress = false;
	add_sums(&line, loop, "deferred");
	puts(buf_str(&line));
	buf_free(&line);
}

/* What new mail and operators are heard by. */
static void open_loop(struct loop *loop, const struct options *set)
{
	struct buf why = { 0 };

	loop->began = clock_ms();
	if (set->once) {
		int status = take_from_journal();

		if (status != EX_OK)
			exit(wait_is_told_to_end() ? EX_OK : status);
		clean(loop);
		/* with -v there is progress to be seen, on what may be the same terminal */
		loop->progress = !set->verbose && isatty(STDERR_FILENO);
		loop->progress_at = loop->began + 1000;
		scheduler_scan(&loop->scheduler, clock_now());
	} else {
		loop->watch = watch_open();
		loop->notify = notify_open(&why);
		if (why.len > 0)
			complain("%s; runqueue finds new mail by reading the directories", buf_str(&why));
		buf_free(&why);
		loop->scan_at = clock_ms();
	}
	loop->control = control_socket_listen(&loop->scheduler, set->log_json, &why);
	if (loop->control == NULL)
		complain("%s; zlmtp-queue changes nothing while this runqueue runs", buf_str(&why));
	buf_free(&why);
}

int main(int argc, char **argv)
{
	static const int signals[] = { SIGCHLD, SIGTERM, SIGINT, SIGHUP };
	struct loop loop = { .watch = -1, .notify = -1, .scan_at = CLOCK_NEVER };
	struct options set = { 0 };
	struct schedconf *conf;
	struct reporter_options reporter = { 0 };
	char *office, *maps, *reporter_path;
	sigset_t while_waiting;
	bool trouble;

	process_begin(program.name);
	read_options(&set, argc, argv);
	if (set.list)
		return list(&set);
	conf = read_conf(&set);
	lock_postoffice(set.postoffice);
	/* we go to transport/, and so does zlmtp-report */
	reporter.postoffice = office = file_absolute(set.postoffice);
	reporter.dbases = maps = set.dbases != NULL ? file_absolute(set.dbases) : zenv_below("MAILVAR", "db/dbases.conf");
	reporter.program = reporter_path = process_beside("zlmtp-report");
	reporter.json = set.log_json;
	reporter.silence = set.silence > 0 && set.silence < REPORTER_SILENCE ? set.silence * 1000 : REPORTER_SILENCE * 1000;
	enter_transport(set.postoffice);
	wait_catch(signals, sizeof signals / sizeof signals[0], on_signal, &while_waiting);
	srandom((unsigned)getpid());

	scheduler_init(&loop.scheduler, conf, "../postman");
	loop.scheduler.reporter = reporter_create(&reporter, scheduler_answered, &loop.scheduler);
	loop.scheduler.json = set.log_json;
	loop.scheduler.once = set.once;
	if (set.silence > 0)
		loop.scheduler.silence = set.silence * 1000;
	loop.scheduler.verbose = set.verbose;
	logline_open_syslog(program.name);
	open_loop(&loop, &set);
	run(&loop, &while_waiting);
	walk_end(&loop.held);
	control_socket_close(&loop.control);
	if (set.once)
		print_sums(&loop);
	trouble = loop.scheduler.trouble;
	reporter_destroy(&loop.scheduler.reporter);
	free(reporter_path);
	free(maps);
	free(office);
	scheduler_free(&loop.scheduler);
	free(loop.fds);
	free(loop.polled);
	if (loop.watch >= 0)
		close(loop.watch);
	notify_close(loop.notify);
	schedconf_free(&conf);
	if (fflush(stdout) != 0)
		return EX_IOERR;
	return trouble && set.once ? EX_UNAVAILABLE : EX_OK;
}
