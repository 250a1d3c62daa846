/*
 * dbserve: answers Postfix, Exim and sendmail from the maps.
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
#include "db/route/routeconf.h"
#include "db/serve/answer.h"
#include "db/serve/stores.h"
#include "db/serve/talk.h"
#include "config.h"
#include "lib/alloc.h"
#include "lib/clock.h"
#include "lib/desk.h"
#include "lib/listen.h"
#include "lib/log.h"
#include "lib/options.h"
#include "lib/process.h"
#include "lib/restraint.h"
#include "lib/wait.h"
#include "lib/zenv.h"

static const struct option_help options_help[] = {
	{ 'B', "OPTIONS", "for policy: ask the store, too, by lmtp -B with these options" },
	{ 'f', "DBASES", "the maps (default: db/dbases.conf in MAILVAR of ZENV)" },
	{ 'L', "PROTOCOL:ADDRESS", "listen: socketmap, policy, or tcp; UNIX:/path[,mode=0660][,group=G] or [ADDRESS]:PORT" },
	{ 'm', "MAP", "what tcp clients ask (recipient)" },
	{ 'o', "NAME=VALUE", "a setting of the router; any number" },
	{ 'T', "FILE", "the table from CHANNEL/HOST to a transport, for the map transport" },
	{ 0 },
};

static const struct program program = {
	.name = "dbserve",
	.synopsis = "[-V] [-B options] [-f dbases] [-m map] [-o name=value] ... [-T file] -L protocol:address ...",
	.purpose = "Answers Postfix, Exim and sendmail from the maps.",
	.options = options_help,
	.notes = "Maps that a client can name: a relation of DBASES, recipient, alias, transport, domain.\n"
	         "Sockets that systemd has opened are served, too.  ZENV is the file that ZCONFIG names, or " ZCONFIG_PATH ".",
	.help = 'h',
};

/* A client that sends or takes nothing for so long is gone, in milliseconds; Postfix closes earlier. */
#define IDLE_PAUSE (60 * 60 * 1000)
#define MOST_CLIENTS 10000

/* Where there are too many, one that has asked nothing yet counts as silent for so much longer. */
#define NOTHING_YET (60 * 1000)

/* Descriptors for all that is no client: maps, children, the log. */
#define OTHER_DESCRIPTORS 100
#define PIECE 65536

/* A client that does not read its replies gets no more of them. */
#define OUT_MAX (256 * 1024)

/* Between two lines of the log about the same thing. */
#define TELL_PAUSE (10 * 1000)

/* Slow maps, and stores, are asked by so many children; a client waits so long for all of it, in milliseconds. */
#define CHILDREN 16
#define STORE_CHILDREN 32
#define PATIENCE 30000
#define PROBE_SECONDS 20

struct options {
	const char *dbases, *map, *transports, *probe;
	char **settings;
	size_t setting_count, setting_capacity;
	char **addresses;
	size_t address_count;
};

struct client {
	int fd;
	bool over, eof;
	bool waits;                /* for the desk, or for stores */
	bool has_more;             /* of requests than it has taken replies for */
	int64_t asked;             /* clock_ms(): since then */
	int64_t deadline;
	struct talk talk;
};

struct service {
	struct options options;
	struct listeners listeners;
	struct route_config *config;
	struct answers answers;
	struct desk *desk;         /* of slow maps; made when it is needed */
	struct stores *stores;     /* NULL without -B */
	struct client **clients;
	size_t count, capacity;
	struct pollfd *fds;
	size_t room;
	struct buf value;          /* of the answer in hand */
	size_t most;               /* clients at a time */
	struct restraint *bad, *late, *full;    /* the log hears of bad requests, lookups without an answer, too many clients once in a while */
};

/* ---- start ---- */

static void read_options(struct options *o, int argc, char **argv)
{
	int c;

	o->map = "recipient";
	o->addresses = xcalloc((size_t)argc, sizeof(char *));
	while ((c = option_next(&program, argc, argv)) != -1) {
		switch (c) {
		case 'B': o->probe = optarg; break;
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
		option_usage(&program, "%s: expected no arguments", argv[optind]);
	if (o->dbases == NULL && zenv("MAILVAR") != NULL)
		o->dbases = xasprintf("%s/db/dbases.conf", zenv("MAILVAR"));
	if (o->dbases == NULL)
		option_usage(&program, "expected the maps: -f, or MAILVAR in the file that ZCONFIG names");
}

static void use_router(struct service *s, struct router *router)
{
	s->answers.dbases = route_config_dbases(s->config);
	s->answers.router = router;
	s->answers.looks_each_time = true;
	s->answers.verifies = s->options.probe != NULL;
}

static void open_transports(struct service *s)
{
	struct buf why = { 0 };
	int status;

	if (s->options.transports == NULL)
		return;
	s->answers.transports = transports_open(s->options.transports, &status, &why);
	if (s->answers.transports == NULL)
		die(status, "%s", buf_str(&why));
}

static void open_maps(struct service *s)
{
	struct router *router;
	int status;

	s->config = route_config_create(s->options.dbases, s->options.settings, s->options.setting_count);
	status = route_config_open(s->config, clock_now(), &router);
	if (status != EX_OK)
		exit(status);
	use_router(s, router);
	if (!answers_knows(&s->answers, s->options.map))
		option_usage(&program, "-m %s: expected recipient, alias, transport, domain or a relation of the maps",
		             s->options.map);
	open_transports(s);
}

/* Between two turns, in which no answer is in hand. */
static void renew_maps(struct service *s)
{
	struct router *router;

	if (!route_config_renew(s->config, clock_now(), &router))
		return;
	answers_forget(&s->answers);
	use_router(s, router);
	answers_remember(&s->answers);
	if (s->desk != NULL)
		desk_renew(s->desk);
}

static void open_stores(struct service *s)
{
	const struct verify_options options = { .arguments = s->options.probe, .seconds = PROBE_SECONDS };
	struct buf why = { 0 };
	int status;

	if (s->options.probe == NULL)
		return;
	s->stores = stores_create(&options, STORE_CHILDREN, PATIENCE, &status, &why);
	if (s->stores == NULL)
		die(status, "-B: %s", buf_str(&why));
}

/* ---- clients ---- */

/*
 * Between us and a child: the name of the map, NUL, the key; and back what is known of the answer, its value, and the
 * destinations of a policy: parent and child are one program.
 */
struct said {
	enum map_answer answer;
	bool unknown;
	size_t value;              /* bytes of the value; the rest are destinations */
};

static void open_in_child(void *context)
{
	struct service *s = context;
	struct restraint *tells = s->answers.tells;
	int status;
	struct router *router = route_config_router(s->config, &status);

	if (router == NULL)
		exit(status);
	s->answers = (struct answers){ .tells = tells };
	use_router(s, router);
	open_transports(s);
}

/* An environment wants to be left properly. */
static void close_in_child(void *context)
{
	struct service *s = context;

	answers_free(&s->answers);
}

static void answer_in_child(void *context, const char *question, size_t n, struct buf *answer)
{
	struct service *s = context;
	const size_t name = strlen(question) + 1;
	struct buf key = { 0 }, value = { 0 };
	struct said said = { 0 };

	/* which may hold a NUL */
	buf_add(&key, question + name, n - name);
	said.answer = answers_ask(&s->answers, question, buf_str(&key), key.len, &value, &said.unknown);
	said.value = value.len;
	buf_add(answer, (const char *)&said, sizeof said);
	buf_add(answer, buf_str(&value), value.len);
	buf_add(answer, buf_str(&s->answers.destinations), s->answers.destinations.len);
	buf_free(&value);
	buf_free(&key);
}

/* The maps have it, and the store decides: these are the destinations.  False if none of them is to be asked. */
static bool ask_stores(struct service *s, struct client *c, const char *bytes, size_t n)
{
	struct destination *to = xcalloc(n / 3 + 1, sizeof *to);
	size_t count = 0;

	for (const char *at = bytes; at < bytes + n; count++) {
		to[count].channel = at;
		to[count].host = at + strlen(at) + 1;
		to[count].user = to[count].host + strlen(to[count].host) + 1;
		at = to[count].user + strlen(to[count].user) + 1;
	}
	c->waits = !stores_ask(s->stores, to, count, c->asked + PATIENCE, c);
	free(to);
	return c->waits;
}

static void client_free(struct service *s, struct client **c)
{
	if (s->desk != NULL)
		desk_forget(s->desk, *c);
	if (s->stores != NULL)
		stores_forget(s->stores, *c);
	close((*c)->fd);
	talk_free(&(*c)->talk);
	free(*c);
	*c = NULL;
}

/*
 * The client that was silent longest makes room for a new one: clients keep connections for their next question, and make
 * another one when they find it closed.  True if there will be less than `most` behind this turn, false if all wait for an
 * answer.
 */
static bool make_room(struct service *s, size_t most)
{
	struct client *idlest = NULL;
	size_t left = 0;

	for (size_t i = 0; i < s->count; i++) {
		struct client *c = s->clients[i];

		if (c->over)
			continue;
		left++;
		if (!c->waits && (idlest == NULL || c->deadline < idlest->deadline))
			idlest = c;
	}
	if (left < most)
		return true;
	if (restraint_take(s->full))
		complain("%zu clients are connected, and more come: %s", s->count,
		         idlest != NULL ? "the one that was idle longest is disconnected" : "all of them wait for answers; others are not accepted");
	if (idlest != NULL)
		idlest->over = true;
	return idlest != NULL;
}

static void accept_clients(struct service *s, const struct listener *listener)
{
	for (;;) {
		struct sockaddr_storage address;
		int fd = listeners_accept(&s->listeners, listener, &address);
		struct client *c;

		if (fd < 0)
			return;
		if (s->count >= s->most && !make_room(s, s->most)) {
			close(fd);
			continue;
		}
		c = xcalloc(1, sizeof *c);
		c->fd = fd;
		c->talk.protocol = (enum talk_protocol)listener->kind;
		c->talk.tcp_map = s->options.map;
		c->deadline = clock_ms() + IDLE_PAUSE - NOTHING_YET;
		s->clients = xgrow(s->clients, s->count, &s->capacity, sizeof(struct client *));
		s->clients[s->count++] = c;
		/* those that make room are closed behind this turn */
		if (s->count > s->most)
			return;
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

static void answer(struct service *s, struct client *c)
{
	const char *map = buf_str(&c->talk.map), *key = buf_str(&c->talk.key);
	bool unknown;
	enum map_answer said;

	if (answers_are_slow(&s->answers, map)) {
		struct buf question = { 0 };

		c->asked = clock_ms();
		if (s->desk == NULL)
			s->desk = desk_create(&(struct desk_rules){ .children = CHILDREN, .patience = PATIENCE, .context = s,
			                                            .open = open_in_child, .answer = answer_in_child,
			                                            .close = close_in_child });
		buf_adds(&question, buf_str(&c->talk.map));
		buf_addc(&question, '\0');
		buf_add(&question, buf_str(&c->talk.key), c->talk.key.len);
		desk_ask(s->desk, &(struct desk_question){ .group = buf_str(&c->talk.map), .bytes = question.data,
		                                           .n = question.len,
		                                           .deadline = c->asked + PATIENCE }, c);
		c->waits = true;
		buf_free(&question);
		return;
	}
	buf_clear(&s->value);
	said = answers_ask(&s->answers, map, key, c->talk.key.len, &s->value, &unknown);
	if (s->answers.destinations.len > 0) {
		c->asked = clock_ms();
		if (ask_stores(s, c, s->answers.destinations.data, s->answers.destinations.len))
			return;
	}
	talk_reply(&c->talk, said, unknown, &s->value);
}

/* Answers what has come, as long as the client takes replies and none is waited for. */
static void work(struct service *s, struct client *c)
{
	enum talk_news news = TALK_REPLIED;

	c->has_more = true;
	while (!c->over && !c->waits && (news == TALK_REPLIED || news == TALK_ASKS)) {
		if (c->talk.out.len >= OUT_MAX)
			write_some(c);
		if (c->talk.out.len >= OUT_MAX)
			return;
		news = talk_next(&c->talk);
		if (news == TALK_ASKS)
			answer(s, c);
	}
	c->has_more = false;
	write_some(c);
	if (news == TALK_BAD) {
		static const char *const expected[] = {
			[TALK_SOCKETMAP] = "socketmap: a netstring of at most 100000 bytes",
			[TALK_POLICY] = "policy: lines NAME=VALUE, an empty one after them, at most 65536 bytes,",
			[TALK_TCP] = "tcp: a line of at most 4096 bytes",
		};

		/* a client that sends rubbish can do so all day: the log hears of it once in a while */
		if (restraint_take(s->bad))
			complain("%s was expected from a client, which sent something else; its connection is closed",
			         expected[c->talk.protocol]);
	}
	c->over |= news == TALK_BAD;
}

/* A client that does not take its replies is not read, nor one that waits for an answer, or has asked more already. */
static void receive(struct client *c)
{
	ssize_t n;

	write_some(c);
	if (c->over || c->eof || c->waits || c->has_more || c->talk.out.len > 0)
		return;
	n = recv(c->fd, buf_reserve(&c->talk.in, PIECE), PIECE, 0);
	if (n > 0) {
		c->talk.in.len += (size_t)n;
		c->deadline = clock_ms() + IDLE_PAUSE;
	}
	c->eof |= n == 0;
	c->over |= n < 0 && errno != EAGAIN && errno != EINTR;
}

/* The client has its answer, and may have asked more meanwhile. */
static void go_on(struct service *s, struct client *c)
{
	c->waits = false;
	c->deadline = clock_ms() + IDLE_PAUSE;
	work(s, c);
	c->over |= c->eof && !c->waits && c->talk.out.len == 0;
}

/* What the desk has for a client, unless stores are to be asked now. */
static void take_answer(struct service *s, struct client *c, const struct buf *bytes, const char *fault)
{
	struct said said = { .answer = MAP_COULD_NOT_TELL };
	const char *value = "the lookup took too long, or ended; try again later", *rest = NULL;
	size_t left = 0;

	if (fault == NULL && bytes->len >= sizeof said) {
		memcpy(&said, bytes->data, sizeof said);
		value = bytes->data + sizeof said;
		rest = value + said.value;
		left = bytes->len - sizeof said - said.value;
	} else {
		said.value = strlen(value);
		if (restraint_take(s->late))
			complain("a lookup in %s %s", buf_str(&c->talk.map), fault != NULL ? fault : "ended without an answer");
	}
	if (left > 0 && ask_stores(s, c, rest, left))
		return;
	buf_clear(&s->value);
	buf_add(&s->value, value, said.value);
	talk_reply(&c->talk, said.answer, said.unknown, &s->value);
	go_on(s, c);
}

/* ---- the loop ---- */

/* Entries: listeners, clients, children of maps and of stores. */
static size_t fill(struct service *s, int64_t *deadline)
{
	size_t n, wanted = s->listeners.count + s->count + CHILDREN + STORE_CHILDREN;

	*deadline = CLOCK_NEVER;
	if (wanted > s->room) {
		s->room = 2 * wanted;
		s->fds = xreallocarray(s->fds, s->room, sizeof *s->fds);
	}
	n = listeners_fill(&s->listeners, s->fds, deadline);
	for (size_t i = 0; i < s->count; i++) {
		const struct client *c = s->clients[i];

		s->fds[n++] = (struct pollfd){ .fd = c->fd, .events = c->talk.out.len > 0 ? POLLOUT : c->waits ? 0 : POLLIN };
		if (c->deadline < *deadline)
			*deadline = c->deadline;
	}
	if (s->desk != NULL) {
		n += desk_fill(s->desk, s->fds + n);
		if (desk_deadline(s->desk) < *deadline)
			*deadline = desk_deadline(s->desk);
	}
	if (s->stores != NULL) {
		n += stores_fill(s->stores, s->fds + n);
		if (stores_deadline(s->stores) < *deadline)
			*deadline = stores_deadline(s->stores);
	}
	return n;
}

/* What the first `clients` clients have sent. */
static void receive_all(struct service *s, size_t clients)
{
	const int64_t now = clock_ms();

	for (size_t i = 0; i < clients; i++) {
		const short events = s->fds[s->listeners.count + i].revents;

		/* one that has gone does not wait any more */
		if (s->clients[i]->waits && (events & (POLLHUP | POLLERR)) != 0)
			s->clients[i]->over = true;
		else if (events != 0)
			receive(s->clients[i]);
		else
			s->clients[i]->over |= s->clients[i]->deadline <= now;
	}
}

/* Answers of the desk and of stores go to the clients that wait for them. */
static void take_answers(struct service *s)
{
	struct buf bytes = { 0 };
	struct verdict verdict;
	const char *fault;
	struct client *c;

	while (s->desk != NULL && (c = desk_next(s->desk, &bytes, &fault)) != NULL) {
		take_answer(s, c, &bytes, fault);
		buf_clear(&bytes);
	}
	while (s->stores != NULL && (c = stores_next(s->stores, &verdict)) != NULL) {
		buf_clear(&s->value);
		answers_judge(&s->answers, verdict.code, verdict.status, verdict.text, &s->value);
		talk_reply(&c->talk, MAP_FOUND, false, &s->value);
		go_on(s, c);
	}
	buf_free(&bytes);
}

static void run(struct service *s, const sigset_t *unblocked)
{
	while (!wait_is_over()) {
		size_t clients = s->count, kept = 0;
		int64_t deadline;
		size_t n = fill(s, &deadline);

		if (wait_busily(s->fds, n, deadline, unblocked) < 0)
			continue;
		receive_all(s, clients);
		/* what was asked up to here is answered by the maps as they are behind it */
		renew_maps(s);
		answers_refresh(&s->answers);
		for (size_t i = 0; i < clients; i++) {
			struct client *c = s->clients[i];

			if (s->fds[s->listeners.count + i].revents == 0)
				continue;
			if (!c->over && c->talk.out.len == 0)
				work(s, c);
			/* what an end leaves of a request is none */
			c->over |= c->eof && !c->waits && c->talk.out.len == 0;
		}
		for (size_t i = 0; i < s->listeners.count; i++)
			if (s->fds[i].revents != 0)
				accept_clients(s, &s->listeners.list[i]);
		if (listeners_are_short(&s->listeners) && make_room(s, s->count))
			listeners_go_on(&s->listeners);
		take_answers(s);
		for (size_t i = 0; i < s->count; i++) {
			if (s->clients[i]->over)
				client_free(s, &s->clients[i]);
			else
				s->clients[kept++] = s->clients[i];
		}
		s->count = kept;
	}
}

int main(int argc, char **argv)
{
	struct buf why = { 0 };
	struct rlimit limit;
	rlim_t room;
	static const char *const kinds[] = {
		[TALK_SOCKETMAP] = "socketmap", [TALK_POLICY] = "policy", [TALK_TCP] = "tcp", NULL,
	};
	struct service s = { .listeners = { .kinds = kinds, .expected = "socketmap:, policy: or tcp:" } };
	sigset_t unblocked;

	process_begin(program.name);
	read_options(&s.options, argc, argv);
	s.bad = restraint_create(TELL_PAUSE);
	s.late = restraint_create(TELL_PAUSE);
	s.full = restraint_create(TELL_PAUSE);
	s.answers.tells = restraint_create(TELL_PAUSE);
	open_maps(&s);
	open_stores(&s);
	answers_remember(&s.answers);
	if (!listeners_from_systemd(&s.listeners, TALK_SOCKETMAP, TALK_SOCKETMAP, &why))
		die(EX_USAGE, "%s", buf_str(&why));
	if (s.options.address_count == 0 && s.listeners.count == 0)
		option_usage(&program, "expected where to listen: -L, or a socket of systemd");
	listeners_open(&s.listeners, &program, s.options.addresses, s.options.address_count);
	/* where there are few descriptors, clients have half of them */
	process_raise_descriptors(MOST_CLIENTS + OTHER_DESCRIPTORS);
	room = getrlimit(RLIMIT_NOFILE, &limit) == 0 ? limit.rlim_cur : OTHER_DESCRIPTORS;
	room = room > 2 * OTHER_DESCRIPTORS ? room - OTHER_DESCRIPTORS : room / 2;
	s.most = room < MOST_CLIENTS ? (size_t)room : MOST_CLIENTS;
	wait_catch_end(&unblocked);
	run(&s, &unblocked);
	for (size_t i = 0; i < s.count; i++)
		client_free(&s, &s.clients[i]);
	desk_free(&s.desk);
	stores_free(&s.stores);
	listeners_free(&s.listeners);
	answers_free(&s.answers);
	route_config_free(&s.config);
	buf_free(&s.value);
	restraint_free(&s.bad);
	restraint_free(&s.late);
	restraint_free(&s.full);
	free(s.clients);
	free(s.fds);
	free(s.options.settings);
	free(s.options.addresses);
	return EX_OK;
}
