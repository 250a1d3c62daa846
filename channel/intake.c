/*
 * intake: takes mail in, by LMTP and ESMTP, and puts it into the queue.
 */
#include <inttypes.h>
#include <malloc.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sysexits.h>
#include <unistd.h>

#include "channel/server/client.h"
#include "channel/server/figures.h"
#include "channel/server/intake.h"
#include "channel/net/tls.h"
#include "channel/spool/notify.h"
#include "channel/spool/restore.h"
#include "lib/account.h"
#include "lib/alloc.h"
#include "lib/clock.h"
#include "lib/file.h"
#include "lib/listen.h"
#include "lib/log.h"
#include "lib/logline.h"
#include "lib/metrics.h"
#include "lib/options.h"
#include "lib/process.h"
#include "lib/wait.h"
#include "lib/zenv.h"

/* Milliseconds between two times that figures are written, and how long the last time waits for other writers. */
#define FIGURES_EVERY 10000
#define FIGURES_PATIENCE 2000

/* So many connections are taken before the others are looked after again. */
#define ACCEPTED_TOGETHER 64

static const struct option_help help[] = {
	{ 'f', "DBASES", "the maps that route recipients (default: db/dbases.conf in MAILVAR of ZENV)" },
	{ 'H', NULL, "hash the queue in one level of directories, -HH in two" },
	{ 'L', "PROTOCOL:ADDRESS", "listen: lmtp: or smtp:, then UNIX:/path[,mode=0660][,group=G] or [ADDRESS]:PORT" },
	{ 'm', NULL, "make the directories of the post office that are missing" },
	{ 'M', "FILE", "add what is counted to FILE, in the text form of Prometheus" },
	{ 'o', "NAME=VALUE", "a setting of the router; any number" },
	{ 'O', "KEY=VALUE", "see below" },
	{ 'P', "DIRECTORY", "the post office (default: POSTOFFICE of ZENV)" },
	{ 'S', "FILE", "offer STARTTLS, with the certificate that FILE names: tls.conf(5)" },
	{ 'v', NULL, "log lines on stderr, too" },
	{ 0 },
};

static struct program program = {
	.name = "intake",
	.synopsis = "[-HmvV] [-f dbases] [-M file] [-o name=value] [-O key=value] [-P directory] [-S file] -L protocol:address ...",
	.purpose = "Takes mail by LMTP and ESMTP; each recipient is judged by the maps while the client waits.",
	.options = help,
	.help = 'h',
};

struct options {
	struct routing routing;
	char **settings;
	size_t setting_count, setting_capacity;
	const char *tls_file;
	struct listeners listeners;
	bool make;
};

/* ---- options ---- */

static void set_key(struct intake *in, const char *assignment)
{
	struct buf why = { 0 };
	bool json;

	if (logline_form(assignment, &json))
		in->json = json;
	else if (strncmp(assignment, "log=", 4) == 0)
		option_usage(&program, "-O %s: expected log=keys or log=json", assignment);
	else if (!policy_set(&in->policy, assignment, &why))
		option_usage(&program, "-O %s", buf_str(&why));
	buf_free(&why);
}

static void read_options(struct intake *in, struct options *options, char **listen_texts, size_t *listen_count, int argc,
                         char **argv)
{
	struct buf why = { 0 };
	unsigned levels = 0;
	int c;

	while ((c = option_next(&program, argc, argv)) != -1) {
		switch (c) {
		case 'f': options->routing.dbases = optarg; break;
		case 'H': levels++; break;
		case 'L': listen_texts[(*listen_count)++] = optarg; break;
		case 'm': options->make = true; break;
		case 'M': in->metrics = metrics_create(optarg); break;
		case 'o':
			options->settings = xgrow(options->settings, options->setting_count, &options->setting_capacity,
			                          sizeof(char *));
			options->settings[options->setting_count++] = optarg;
			break;
		case 'O': set_key(in, optarg); break;
		case 'P': in->spool.postoffice = optarg; break;
		case 'S': options->tls_file = optarg; break;
		case 'v': in->verbose = true; break;
		}
	}
	if (optind < argc)
		option_usage(&program, "%s: expected no arguments", argv[optind]);
	if (levels > 2)
		option_usage(&program, "there are no more than two levels of directories: -HH");
	if (in->policy.verify == NULL && *in->policy.verify_with != '\0')
		option_usage(&program, "-O verify-with=%s: expected -O verify=CACHE, too; without it no store is asked",
		             in->policy.verify_with);
	in->spool.levels = levels > 0 ? levels : zenv_levels();
	if (in->spool.postoffice == NULL)
		in->spool.postoffice = zenv("POSTOFFICE");
	if (in->spool.postoffice == NULL)
		option_usage(&program, "expected the post office: -P, or POSTOFFICE in the file that ZCONFIG names");
	/* what is wrong there must show before a message is taken */
	zenv("MAILSHARE");
	if (!notify_fits(&why))
		complain("%s; the scheduler is not notified of new mail", buf_str(&why));
	buf_free(&why);
}

/* ---- start ---- */

static void open_maps(struct intake *in, struct options *options)
{
	const char *mailvar = zenv("MAILVAR");
	int status;

	if (options->routing.dbases == NULL && mailvar != NULL)
		options->routing.dbases = xasprintf("%s/db/dbases.conf", mailvar);
	if (options->routing.dbases == NULL)
		option_usage(&program, "expected the maps that route recipients: -f, or MAILVAR in the file that ZCONFIG names");
	options->routing.settings = options->settings;
	options->routing.setting_count = options->setting_count;
	in->privilege = options->routing.privilege = account_nobody();
	in->recipients = recipients_open(&options->routing, &in->policy, &status);
	if (in->recipients == NULL)
		exit(status);
}

static void open_tls(struct intake *in, const char *file)
{
	static struct tlsconf conf;
	struct buf why = { 0 };

	if (file == NULL)
		return;
	if (!tlsconf_read(&conf, file, &why))
		die(EX_CONFIG, "%s", buf_str(&why));
	in->tls = tls_create_server(&conf, &why);
	if (in->tls == NULL)
		die(EX_CONFIG, "%s: %s", file, buf_str(&why));
	buf_free(&why);
}

/*
 * What the journal has is in the queue at once, but its files may be damaged by a power cut until intake or runqueue have
 * started.  ZMailer's scheduler does not know that.
 */
static bool wants_journal(const struct intake *in)
{
	static const char *const names[] = { "scheduler", "router" };
	bool zmailer = false;

	for (size_t i = 0; i < 2; i++) {
		char *path = xasprintf("%s/.pid.%s", in->spool.postoffice, names[i]);

		zmailer = zmailer || !file_is_missing(path);
		free(path);
	}
	return in->policy.journal == JOURNAL_YES || (in->policy.journal == JOURNAL_UNLESS_ZMAILER && !zmailer);
}

static void open_spool(struct intake *in, bool make)
{
	struct buf why = { 0 };
	size_t restored;
	int status;

	in->spool.host = process_host();
	if (make && !spool_make(in->spool.postoffice, &why))
		die(EX_CANTCREAT, "%s", buf_str(&why));
	if (!spool_open(&in->spool, &why))
		die(EX_CANTCREAT, "%s", buf_str(&why));
	in->journal = spool_restore(&in->spool, wants_journal(in), &restored, &status, &why);
	spool_restore_log(restored);
	if (status != EX_OK)
		die(status, "%s", buf_str(&why));
	if (why.len > 0)
		complain("%s", buf_str(&why));
	buf_free(&why);
}

static void set_server_options(struct intake *in)
{
	for (size_t i = 0; i < 2; i++)
		in->options[i] = (struct server_options){
			.protocol = (enum server_protocol)i, .host = in->spool.host, .max_size = in->policy.limits[LIMIT_SIZE],
			.max_recipients = in->policy.limits[LIMIT_RECIPIENTS],
			.max_commands = in->policy.limits[LIMIT_COMMANDS],
			.max_errors = in->policy.limits[LIMIT_ERRORS],
		};
}

/* ---- the loop ---- */

struct loop {
	struct intake intake;
	struct listeners *listeners;
	struct client **clients;
	size_t count, capacity;
	struct pollfd *fds;
	size_t room;
	int64_t write_figures;     /* clock_ms(): when they are written */
};

static bool is_same_address(const struct sockaddr_storage *a, const struct sockaddr_storage *b)
{
	return a->ss_family == b->ss_family &&
	       (a->ss_family == AF_UNIX ? true : a->ss_family == AF_INET ? memcmp(&((const struct sockaddr_in *)a)->sin_addr,
	                                         &((const struct sockaddr_in *)b)->sin_addr, sizeof(struct in_addr)) == 0 :
	        a->ss_family == AF_INET6 && memcmp(&((const struct sockaddr_in6 *)a)->sin6_addr,
	                                           &((const struct sockaddr_in6 *)b)->sin6_addr, sizeof(struct in6_addr)) == 0);
}

/* Has this address, or this user of the machine, as many connections as one may have?  Root can do what it likes anyway. */
static bool has_enough(const struct loop *loop, const struct sockaddr_storage *address, uid_t user)
{
	bool is_local = address->ss_family == AF_UNIX;
	size_t n = 0;

	if (is_local && user == 0)
		return false;
	for (size_t i = 0; i < loop->count; i++)
		n += is_same_address(client_address(loop->clients[i]), address) &&
		     (!is_local || client_user(loop->clients[i]) == user);
	return n >= loop->intake.policy.limits[is_local ? LIMIT_PER_USER : LIMIT_PER_ADDRESS];
}

static void accept_clients(struct loop *loop, const struct listener *listener)
{
	struct intake *in = &loop->intake;

	/* a flood of connections leaves time for those that are there */
	for (int i = 0; i < ACCEPTED_TOGETHER; i++) {
		struct sockaddr_storage address;
		uid_t user = 0;
		int fd = listeners_accept(loop->listeners, listener, &address);

		if (fd < 0)
			return;
		if (address.ss_family == AF_UNIX) {
			struct ucred peer = { 0 };
			socklen_t length = sizeof peer;

			/* the user that connected to a UNIX socket; root if that cannot be told */
			user = getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &length) == 0 ? peer.uid : 0;
		}
		if (loop->count >= in->policy.limits[LIMIT_CONNECTIONS] || has_enough(loop, &address, user)) {
			static const char text[] = "421 4.3.2 too many connections; try again later\r\n";

			/* "421" as far as it goes without waiting, and the end */
			in->figures.refused[REFUSED_CONNECTIONS]++;
			(void)!send(fd, text, sizeof text - 1, MSG_NOSIGNAL | MSG_DONTWAIT);
			close(fd);
			continue;
		}
		loop->clients = xgrow(loop->clients, loop->count, &loop->capacity, sizeof(struct client *));
		loop->clients[loop->count++] = client_create(in, listener, fd, &address, user);
	}
}

/* Everything to wait for: listeners, clients, the committer, slow maps, in this order. */
static size_t fill(struct loop *loop, int64_t *deadline)
{
	size_t n;

	*deadline = recipients_deadline(loop->intake.recipients);
	if (loop->intake.metrics != NULL && loop->write_figures < *deadline)
		*deadline = loop->write_figures;
	n = loop->listeners->count + loop->count + 1 + recipients_room(loop->intake.recipients);
	if (n > loop->room) {
		loop->room = 2 * n;
		loop->fds = xreallocarray(loop->fds, loop->room, sizeof *loop->fds);
	}
	n = listeners_fill(loop->listeners, loop->fds, deadline);
	for (size_t i = 0; wait_is_over() && i < n; i++)
		loop->fds[i].fd = -1;
	for (size_t i = 0; i < loop->count; i++) {
		short events = client_events(loop->clients[i]);

		/* a client that waits is not polled for: its end would be reported again and again */
		loop->fds[n++] = (struct pollfd){ .fd = events != 0 ? client_descriptor(loop->clients[i]) : -1,
		                                  .events = events };
		if (client_deadline(loop->clients[i]) < *deadline)
			*deadline = client_deadline(loop->clients[i]);
	}
	loop->fds[n++] = (struct pollfd){ .fd = committer_descriptor(loop->intake.committer), .events = POLLIN };
	return n + recipients_fill(loop->intake.recipients, loop->fds + n);
}

/* Beyond the limit the clients with most go: one with a great deal under way shall not stop many with little. */
static void free_memory(struct loop *loop)
{
	while (loop->intake.held > loop->intake.policy.limits[LIMIT_MEMORY] * 1000000) {
		struct client *largest = NULL;

		for (size_t i = 0; i < loop->count; i++)
			if (!client_is_over(loop->clients[i]) &&
			    (largest == NULL || client_held(loop->clients[i]) > client_held(largest)))
				largest = loop->clients[i];
		if (largest == NULL)
			return;
		loop->intake.figures.refused[REFUSED_MEMORY]++;
		client_drop(largest, "not enough memory; try again later");
		if (!client_is_over(largest))
			return;
	}
}

/*
 * A message that was accepted and cannot be synced stays in the journal: whoever starts next puts it into the queue, or says
 * why not.
 */
static void take_committed(struct loop *loop)
{
	struct intake *in = &loop->intake;
	struct committed done;

	while (committer_next(in->committer, &done)) {
		if (done.owner != NULL)
			client_committed(done.owner, done.draft, !done.settled || spool_status(done.draft) == EX_OK);
		if (!done.settled)
			continue;
		if (spool_status(done.draft) != EX_OK && spool_is_recorded(done.draft))
			die(EX_IOERR, "%s; mail that was accepted is kept in %s, and comes into the queue when intake or runqueue starts",
			    spool_why(done.draft), spool_journal_path(in->journal));
		spool_free(&done.draft);
	}
}

static void run(struct loop *loop, const sigset_t *unblocked)
{
	while (!wait_is_over() || loop->count > 0) {
		size_t clients = loop->count, first = loop->listeners->count, kept = 0, n;
		int64_t deadline, now;
		struct recipient_answer answer;
		void *owner;

		committer_start(loop->intake.committer);
		n = fill(loop, &deadline);
		wait_for(loop->fds, n, deadline, unblocked);
		now = clock_ms();
		for (size_t i = 0; i < clients; i++) {
			if (loop->fds[first + i].revents != 0)
				client_ready(loop->clients[i]);
			else if (client_deadline(loop->clients[i]) <= now)
				client_late(loop->clients[i]);
		}
		while ((owner = recipients_next(loop->intake.recipients, &answer)) != NULL)
			client_recipient(owner, &answer);
		take_committed(loop);
		for (size_t i = 0; i < first; i++)
			if (loop->fds[i].revents != 0)
				accept_clients(loop, &loop->listeners->list[i]);
		/* at the end every client gets 421, also one that has just connected, or that waited for the disk */
		for (size_t i = 0; wait_is_over() && i < loop->count; i++)
			client_shut(loop->clients[i], "the server stops");
		free_memory(loop);
		for (size_t i = 0; i < loop->count; i++) {
			if (client_is_over(loop->clients[i]))
				client_destroy(&loop->clients[i]);
			else
				loop->clients[kept++] = loop->clients[i];
		}
		loop->count = kept;
		if (loop->intake.metrics != NULL && loop->write_figures <= now) {
			loop->write_figures = now + FIGURES_EVERY;
			figures_write(&loop->intake, 0);
		}
	}
}

/* Where the process may open few files, clients beyond them get 421 at once, and do not wait for idle ones. */
static void fit_connections(uint64_t *most)
{
	/*
	 * a descriptor for each connection, and two files for each message; maps, listeners, and what waits for the disk has
	 * the others
	 */
	const uint64_t others = 100, least = 40, wanted = 3 * *most + others;
	struct rlimit limit;
	uint64_t fits;

	process_raise_descriptors(wanted);
	if (getrlimit(RLIMIT_NOFILE, &limit) < 0 || limit.rlim_cur >= wanted)
		return;
	fits = limit.rlim_cur >= 4 * others ? (limit.rlim_cur - others) / 3 :
	       limit.rlim_cur >= 4 * least ? limit.rlim_cur / 4 : limit.rlim_cur > least ? (limit.rlim_cur - least) / 3 : 0;
	fits = fits == 0 ? 1 : fits;
	complain("warning: %" PRIu64 " connections need %" PRIu64 " open files, and the limit is %" PRIu64 ": no more than %" PRIu64
	         " are accepted; raise the limit (LimitNOFILE=, ulimit -n)", *most, wanted, (uint64_t)limit.rlim_cur, fits);
	*most = fits;
}

int main(int argc, char **argv)
{
	struct loop loop = { 0 };
	static const char *const kinds[] = { [SERVER_LMTP] = "lmtp", [SERVER_SMTP] = "smtp", NULL };
	struct options options = { .listeners = { .kinds = kinds, .expected = "lmtp: or smtp:" } };
	char **texts = xcalloc((size_t)argc, sizeof(char *));
	size_t count = 0;
	struct buf why = { 0 }, text = { 0 };
	sigset_t unblocked;

	process_begin(program.name);
	/* what large headers took goes back to the system, and leaves no holes */
	mallopt(M_MMAP_THRESHOLD, 64 * 1024);
	policy_init(&loop.intake.policy);
	/* -h names the keys of -O */
	policy_help(&text);
	buf_adds(&text, "Sockets that systemd has opened are served, too.  ZENV is the file that ZCONFIG names.");
	program.notes = text.data;
	read_options(&loop.intake, &options, texts, &count, argc, argv);
	if (!listeners_from_systemd(&options.listeners, SERVER_LMTP, SERVER_SMTP, &why))
		die(EX_USAGE, "%s", buf_str(&why));
	if (count == 0 && options.listeners.count == 0)
		option_usage(&program, "expected where to listen: -L, or a socket of systemd");
	open_maps(&loop.intake, &options);
	open_tls(&loop.intake, options.tls_file);
	open_spool(&loop.intake, options.make);
	listeners_open(&options.listeners, &program, texts, count);
	set_server_options(&loop.intake);
	fit_connections(&loop.intake.policy.limits[LIMIT_CONNECTIONS]);
	wait_catch_end(&unblocked);
	logline_open_syslog(program.name);
	loop.intake.committer = committer_create(loop.intake.journal);
	loop.listeners = &options.listeners;
	run(&loop, &unblocked);
	committer_stop(loop.intake.committer);
	take_committed(&loop);
	client_tell_untold(&loop.intake);
	if (loop.intake.metrics != NULL)
		figures_write(&loop.intake, FIGURES_PATIENCE);
	metrics_destroy(&loop.intake.metrics);
	committer_destroy(&loop.intake.committer);
	spool_journal_close(&loop.intake.journal);
	recipients_close(&loop.intake.recipients);
	tls_destroy(&loop.intake.tls);
	listeners_free(&options.listeners);
	spool_close(&loop.intake.spool);
	policy_free(&loop.intake.policy);
	free(loop.clients);
	free(loop.fds);
	free(options.settings);
	free(texts);
	buf_free(&why);
	return EX_OK;
}
