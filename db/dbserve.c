/*
 * dbserve: answers Postfix, Exim, sendmail and Dovecot from the maps.
 */
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sysexits.h>
#include <unistd.h>

#include "db/build/fault.h"
#include "db/route/dbases.h"
#include "db/route/setup.h"
#include "db/serve/answer.h"
#include "db/serve/talk.h"
#include "config.h"
#include "lib/alloc.h"
#include "lib/clock.h"
#include "lib/listen.h"
#include "lib/log.h"
#include "lib/options.h"
#include "lib/process.h"
#include "lib/wait.h"
#include "lib/zenv.h"

static const struct option_help options_help[] = {
	{ 'f', "DBASES", "the maps (default: db/dbases.conf in MAILVAR of ZENV)" },
	{ 'L', "PROTOCOL:ADDRESS", "listen: socketmap, policy, or tcp; UNIX:/path[,mode=0660][,group=G] or [ADDRESS]:PORT" },
	{ 'm', "MAP", "what tcp clients ask (recipient)" },
	{ 'o', "NAME=VALUE", "a setting of the router; any number" },
	{ 'T', "FILE", "the table from CHANNEL/HOST to a transport, for the map transport" },
	{ 0 },
};

static const struct program program = {
	.name = "dbserve",
	.synopsis = "[-V] [-f dbases] [-m map] [-o name=value] ... [-T file] -L protocol:address ...",
	.purpose = "Answers Postfix, Exim, sendmail and Dovecot from the maps.",
	.options = options_help,
	.notes = "Maps that a client can name: a relation of DBASES, recipient, alias, transport, domain.\n"
	         "Sockets that systemd has opened are served, too.  ZENV is the file that ZCONFIG names, or " ZCONFIG_PATH ".",
	.help = 'h',
};

/* A client that sends or takes nothing for so long is gone, in milliseconds; Postfix closes earlier. */
#define IDLE_PAUSE (60 * 60 * 1000)
#define MOST_CLIENTS 10000
#define PIECE 65536

struct options {
	const char *dbases, *map, *transports;
	char **settings;
	size_t setting_count, setting_capacity;
	char **addresses;
	size_t address_count;
};

struct client {
	int fd;
	bool over, eof;
	int64_t deadline;
	struct talk talk;
};

struct service {
	struct options options;
	struct listeners listeners;
	struct dbases dbases;
	struct answers answers;
	struct client **clients;
	size_t count, capacity;
	struct pollfd *fds;
	size_t room;
	int64_t accept_again;      /* clock_ms(): descriptors had run out */
};

static volatile sig_atomic_t stop_wanted;

static void on_signal(int sig)
{
	(void)sig;
	stop_wanted = 1;
}

/* ---- start ---- */

static void read_options(struct options *o, int argc, char **argv)
{
	int c;

	o->map = "recipient";
	o->addresses = xcalloc((size_t)argc, sizeof(char *));
	while ((c = option_next(&program, argc, argv)) != -1) {
		switch (c) {
		case 'f': o->dbases = optarg; break;
		case 'L': o->addresses[o->address_count++] = optarg; break;
		case 'm': o->map = optarg; break;
		case 'o':
			o->settings = xgrow(o->settings, o->setting_count, &o->setting_capacity, sizeof(char *));
			o->settings[o->setting_count++] = optarg;
			break;
		case 'T': o->transports = optarg; break;
		}
	}
	if (optind < argc)
		option_usage(&program, "%s: no arguments expected", argv[optind]);
	if (o->dbases == NULL && zenv("MAILVAR") != NULL)
		o->dbases = xasprintf("%s/db/dbases.conf", zenv("MAILVAR"));
	if (o->dbases == NULL)
		option_usage(&program, "which maps? -f, or MAILVAR in the file that ZCONFIG names");
}

/* Lines in `lines`, each by itself. */
static void complain_lines(struct buf *lines)
{
	for (char *line = lines->len > 0 ? strtok(lines->data, "\n") : NULL; line != NULL; line = strtok(NULL, "\n"))
		complain("%s", line);
	buf_free(lines);
}

static void open_maps(struct service *s)
{
	struct buf why = { 0 }, notes = { 0 };
	struct zenv zenv;
	int status = zenv_read(&zenv, &why);

	if (status == EX_OK) {
		status = dbases_read(&s->dbases, s->options.dbases, &zenv, fault_complain, NULL);
		zenv_free(&zenv);
	}
	if (status == EX_OK) {
		s->answers.dbases = &s->dbases;
		s->answers.router = router_open(&s->dbases, s->options.settings, s->options.setting_count, &status, &why, &notes);
	}
	complain_lines(&why);
	complain_lines(&notes);
	if (status != EX_OK)
		exit(status);
	for (size_t i = 0; i < ROUTE_RELATIONS; i++)
		for (size_t j = 0; s->answers.router->relations[i] != NULL && j < s->answers.router->relations[i]->count; j++)
			s->answers.router->relations[i]->maps[j].options.refresh = true;
	if (!answers_knows(&s->answers, s->options.map))
		option_usage(&program, "-m %s: there is no such map", s->options.map);
	if (s->options.transports != NULL) {
		s->answers.transports = transports_open(s->options.transports, &status, &why);
		if (s->answers.transports == NULL)
			die(status, "%s", buf_str(&why));
	}
}

static void open_sockets(struct service *s)
{
	struct buf why = { 0 };

	if (!listeners_from_systemd(&s->listeners, TALK_SOCKETMAP, TALK_SOCKETMAP, &why))
		die(EX_USAGE, "%s", buf_str(&why));
	if (s->options.address_count == 0 && s->listeners.count == 0)
		option_usage(&program, "where are questions taken? -L, or a socket of systemd");
	for (size_t i = 0; i < s->options.address_count; i++) {
		int status = listeners_add(&s->listeners, s->options.addresses[i], &why);

		if (status == EX_USAGE)
			option_usage(&program, "-L %s", buf_str(&why));
		if (status != EX_OK)
			die(status, "-L %s", buf_str(&why));
	}
}

static void raise_descriptor_limit(void)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit) < 0 || limit.rlim_cur >= MOST_CLIENTS + 100)
		return;
	limit.rlim_cur = limit.rlim_max < MOST_CLIENTS + 100 ? limit.rlim_max : MOST_CLIENTS + 100;
	setrlimit(RLIMIT_NOFILE, &limit);
}

/* ---- clients ---- */

static void client_free(struct client **c)
{
	close((*c)->fd);
	talk_free(&(*c)->talk);
	free(*c);
	*c = NULL;
}

static void accept_clients(struct service *s, const struct listener *listener)
{
	for (;;) {
		int fd = accept4(listener->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
		struct client *c;

		if (fd < 0) {
			if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM) {
				complain("%s: %s", listener->name, strerror(errno));
				s->accept_again = clock_ms() + 1000;
			}
			return;
		}
		if (s->count >= MOST_CLIENTS) {
			close(fd);
			continue;
		}
		c = xcalloc(1, sizeof *c);
		c->fd = fd;
		c->talk.protocol = (enum talk_protocol)listener->kind;
		c->talk.map = s->options.map;
		c->deadline = clock_ms() + IDLE_PAUSE;
		s->clients = xgrow(s->clients, s->count, &s->capacity, sizeof(struct client *));
		s->clients[s->count++] = c;
	}
}

static void write_some(struct client *c)
{
	while (c->talk.out.len > 0) {
		ssize_t n = send(c->fd, c->talk.out.data, c->talk.out.len, MSG_NOSIGNAL);

		if (n < 0) {
			c->over |= errno != EAGAIN && errno != EINTR;
			return;
		}
		buf_consume(&c->talk.out, (size_t)n);
	}
}

static void read_some(struct client *c)
{
	ssize_t n = recv(c->fd, buf_reserve(&c->talk.in, PIECE), PIECE, 0);

	if (n > 0) {
		c->talk.in.len += (size_t)n;
		c->deadline = clock_ms() + IDLE_PAUSE;
	} else if (n == 0) {
		c->eof = true;
	} else {
		c->over |= errno != EAGAIN && errno != EINTR;
	}
}

/* A client that does not take its replies is not read. */
static void serve(struct service *s, struct client *c)
{
	write_some(c);
	if (!c->over && !c->eof && c->talk.out.len == 0)
		read_some(c);
	while (!c->over && c->talk.out.len == 0 && c->talk.in.len > 0) {
		bool ok = talk_work(&c->talk, &s->answers);
		bool answered = c->talk.out.len > 0;

		write_some(c);
		c->over |= !ok;
		if (!answered)
			break;
	}
	/* what an end leaves of a request is none */
	c->over |= c->eof && c->talk.out.len == 0;
}

/* ---- the loop ---- */

static size_t fill(struct service *s, int64_t *deadline)
{
	size_t n = 0, wanted = s->listeners.count + s->count;
	bool accepting = s->accept_again <= clock_ms();

	*deadline = accepting ? CLOCK_NEVER : s->accept_again;
	if (wanted > s->room) {
		s->room = 2 * wanted;
		s->fds = xreallocarray(s->fds, s->room, sizeof *s->fds);
	}
	for (size_t i = 0; i < s->listeners.count; i++)
		s->fds[n++] = (struct pollfd){ .fd = accepting ? s->listeners.list[i].fd : -1, .events = POLLIN };
	for (size_t i = 0; i < s->count; i++) {
		s->fds[n++] = (struct pollfd){ .fd = s->clients[i]->fd, .events = s->clients[i]->talk.out.len > 0 ? POLLOUT : POLLIN };
		if (s->clients[i]->deadline < *deadline)
			*deadline = s->clients[i]->deadline;
	}
	return n;
}

static void bury(struct service *s)
{
	size_t kept = 0;

	for (size_t i = 0; i < s->count; i++) {
		if (s->clients[i]->over)
			client_free(&s->clients[i]);
		else
			s->clients[kept++] = s->clients[i];
	}
	s->count = kept;
}

static void run(struct service *s, const sigset_t *unblocked)
{
	while (!stop_wanted) {
		size_t clients = s->count;
		int64_t deadline, now;
		size_t n = fill(s, &deadline);

		if (wait_for(s->fds, n, deadline, unblocked) < 0)
			continue;
		now = clock_ms();
		for (size_t i = 0; i < clients; i++) {
			if (s->fds[s->listeners.count + i].revents != 0)
				serve(s, s->clients[i]);
			else
				s->clients[i]->over |= s->clients[i]->deadline <= now;
		}
		for (size_t i = 0; i < s->listeners.count; i++)
			if (s->fds[i].revents != 0)
				accept_clients(s, &s->listeners.list[i]);
		bury(s);
	}
}

int main(int argc, char **argv)
{
	static const int signals[] = { SIGTERM, SIGINT, SIGHUP };
	static const char *const kinds[] = {
		[TALK_SOCKETMAP] = "socketmap", [TALK_POLICY] = "policy", [TALK_TCP] = "tcp", NULL,
	};
	struct service s = { .listeners = { .kinds = kinds, .expected = "socketmap:, policy: or tcp:" } };
	sigset_t unblocked;

	process_begin(program.name);
	read_options(&s.options, argc, argv);
	open_maps(&s);
	open_sockets(&s);
	raise_descriptor_limit();
	wait_catch(signals, sizeof signals / sizeof signals[0], on_signal, &unblocked);
	run(&s, &unblocked);
	for (size_t i = 0; i < s.count; i++)
		client_free(&s.clients[i]);
	listeners_free(&s.listeners);
	answers_free(&s.answers);
	dbases_free(&s.dbases);
	free(s.clients);
	free(s.fds);
	free(s.options.settings);
	free(s.options.addresses);
	return EX_OK;
}
