#include "channel/check/agents.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <sysexits.h>
#include <unistd.h>

#include "channel/check/spool.h"
#include "channel/net/tlsconf.h"
#include "channel/queue/launch.h"
#include "lib/account.h"
#include "lib/alloc.h"
#include "lib/child.h"
#include "lib/clock.h"
#include "lib/file.h"
#include "lib/json.h"
#include "lib/metrics.h"

/* Options of lmtp as getopt(3) wants them; a test compares them with its help. */
#define AGENT_OPTIONS "+:178A:Bc:f:F:h:Hl:L:O:p:PrsS:T:w:6dDeEMvWxXZ:V"
/* Beyond the time that it was given itself. */
#define GRACE_MS 3000
#define OUTPUT_MAX ((size_t)64 * 1024)

struct agent {
	const struct clause *clause;
	struct launch launch;
	char *name;               /* of its clause, in words */
	const char *target;       /* -F, NULL without */
	const char *secrets;      /* -A */
	const char *tls;          /* -S */
	int operands;             /* index of the first argument that is no option */
	pid_t pid;                /* 0: it was not started */
	int fd;                   /* its output, -1 at its end */
	struct buf output;
};

struct agents {
	struct findings *findings;
	struct agent *list;
	size_t count, capacity;
};

/* ---- what the commands say ---- */

/* False if it is none of lmtp's command lines. */
static bool read_arguments(struct agent *a)
{
	int argc = 0, c;

	while (a->launch.arguments[argc] != NULL)
		argc++;
	opterr = 0;
	optind = 0;
	while ((c = getopt(argc, a->launch.arguments, AGENT_OPTIONS)) != -1) {
		switch (c) {
		case 'A': a->secrets = optarg; break;
		case 'F': a->target = optarg; break;
		case 'S': a->tls = optarg; break;
		case '?':
		case ':': return false;
		}
	}
	a->operands = optind;
	return true;
}

/* A pattern that stands for one name only. */
static const char *literal(const char *pattern, const char *otherwise)
{
	return strpbrk(pattern, "*?[{\\") == NULL ? pattern : otherwise;
}

static void free_agent(struct agent *a)
{
	launch_free(&a->launch);
	free(a->name);
	buf_free(&a->output);
}

/* Another clause has the same command. */
static bool is_known(const struct agents *all, const struct agent *a)
{
	for (size_t i = 0; i < all->count; i++) {
		const struct clause *c = all->list[i].clause;
		char **x = all->list[i].launch.arguments, **y = a->launch.arguments;

		for (; *x != NULL && *y != NULL && strcmp(*x, *y) == 0; x++, y++)
			continue;
		if (*x == NULL && *y == NULL && c->uid == a->clause->uid && c->gid == a->clause->gid)
			return true;
	}
	return false;
}

/* The program can be run by its user, or it was found why not. */
static bool has_program(struct findings *f, const struct agent *a)
{
	const char *path = a->launch.arguments[0];
	enum severity level = FINDING_CRITICAL;
	struct stat st;
	int code;

	if (stat(path, &st) < 0) {
		code = errno;
		if (code != ENOENT && code != ENOTDIR)
			level = FINDING_UNKNOWN;
	} else if (!S_ISREG(st.st_mode) || (st.st_mode & 0111) == 0) {
		code = S_ISDIR(st.st_mode) ? EISDIR : EACCES;
	} else if (access(path, X_OK) < 0) {
		code = errno;
		level = FINDING_UNKNOWN;    /* another user may */
	} else {
		return true;
	}
	finding_add(f, level, "%s: cannot run %s: %s", a->name, path, strerror(code));
	return false;
}

static void add_agent(struct agents *all, const struct clause *c)
{
	struct agent a = { .clause = c, .fd = -1 };
	struct buf why = { 0 };

	a.name = xasprintf("%s/%s", c->channel, c->host);
	if (!launch_prepare(&a.launch, c, literal(c->channel, "lmtp"), literal(c->host, "-"), &why)) {
		finding_add(all->findings, FINDING_CRITICAL, "%s: %s", a.name, buf_str(&why));
		free_agent(&a);
	} else if (!has_program(all->findings, &a)) {
		free_agent(&a);
	} else if (strcmp(file_name(a.launch.arguments[0]), "lmtp") != 0) {
		finding_add(all->findings, FINDING_OK, "%s: %s is not checked", a.name, a.launch.arguments[0]);
		free_agent(&a);
	} else if (!read_arguments(&a)) {
		finding_add(all->findings, FINDING_CRITICAL, "%s: not a command line of lmtp: %s", a.name, c->command);
		free_agent(&a);
	} else if (is_known(all, &a)) {
		free_agent(&a);
	} else {
		all->list = xgrow(all->list, all->count, &all->capacity, sizeof *all->list);
		all->list[all->count++] = a;
	}
	buf_free(&why);
}

/* ---- secrets ---- */

static void check_tls_file(struct findings *f, const struct agent *a)
{
	struct tlsconf conf = { 0 };
	struct buf why = { 0 };

	check_guarded(f, "TLS file", a->tls, false);
	if (!tlsconf_read(&conf, a->tls, &why)) {
		finding_add(f, FINDING_CRITICAL, "%s: %s", a->name, buf_str(&why));
	} else {
		if (conf.key_file != NULL || conf.cert_file != NULL)
			check_guarded(f, "key", conf.key_file != NULL ? conf.key_file : conf.cert_file, true);
		if (conf.dkey_file != NULL)
			check_guarded(f, "key", conf.dkey_file, true);
		tlsconf_free(&conf);
	}
	buf_free(&why);
}

/* ---- probes ---- */

/* Its command line with -B; what is no option goes, as it would be an address. */
static char **probe_arguments(const struct agent *a, char *time)
{
	static char probe[] = "-B", option[] = "-O", text[] = "log=json";
	char **list = xcalloc((size_t)a->operands + 6, sizeof *list);
	int n = 0;

	for (; n < a->operands && strcmp(a->launch.arguments[n], "--") != 0; n++)
		list[n] = a->launch.arguments[n];
	list[n++] = probe;
	list[n++] = option;
	list[n++] = text;
	list[n++] = option;
	list[n] = time;
	return list;
}

static _Noreturn void run(const struct agent *a, char **arguments)
{
	if (!launch_become(a->clause)) {
		int code = errno;
		struct buf who = { 0 };

		account_add_user(&who, a->clause->uid);
		dprintf(STDERR_FILENO, "cannot become user %s: %s\n", buf_str(&who), strerror(code));
	} else if (execve(arguments[0], arguments, a->launch.environment) < 0) {
		dprintf(STDERR_FILENO, "cannot run %s: %s\n", arguments[0], strerror(errno));
	}
	_exit(EX_UNAVAILABLE);
}

static void start(struct agents *all, struct agent *a, unsigned seconds)
{
	char *time = xasprintf("probe-time=%us", seconds), **arguments = probe_arguments(a, time);
	struct child_rules rules = { .in = CHILD_NULL, .closes = true, .own_group = true, .is_program = true };
	int ends[2];

	if (pipe2(ends, O_CLOEXEC) < 0) {
		finding_add(all->findings, FINDING_UNKNOWN, "%s: pipe: %s", a->name, strerror(errno));
	} else {
		rules.out = rules.err = ends[1];
		a->pid = child_fork(&rules);
		if (a->pid == 0)
			run(a, arguments);
		close(ends[1]);
		a->fd = ends[0];
		if (a->pid < 0) {
			finding_add(all->findings, FINDING_UNKNOWN, "%s: fork: %s", a->name, strerror(errno));
			close(a->fd);
			a->fd = -1;
			a->pid = 0;
		}
	}
	free(arguments);
	free(time);
}

static void read_output(struct agent *a)
{
	char bytes[4096];
	ssize_t n = read(a->fd, bytes, sizeof bytes);

	if (n < 0 && errno == EINTR)
		return;
	if (n > 0 && a->output.len < OUTPUT_MAX)
		buf_add(&a->output, bytes, (size_t)n);
	if (n <= 0) {
		close(a->fd);
		a->fd = -1;
	}
}

/* Until all have said what they have to say, or the time is up. */
static void listen_to(struct agents *all, int64_t deadline)
{
	struct pollfd *fds = xcalloc(all->count + 1, sizeof *fds);

	for (;;) {
		size_t open = 0;

		for (size_t i = 0; i < all->count; i++) {
			fds[i] = (struct pollfd){ .fd = all->list[i].fd, .events = POLLIN };
			open += all->list[i].fd >= 0;
		}
		if (open == 0 || clock_ms() >= deadline)
			break;
		if (poll(fds, all->count, clock_poll_timeout(deadline)) < 0)
			continue;
		for (size_t i = 0; i < all->count; i++)
			if (fds[i].revents != 0)
				read_output(&all->list[i]);
	}
	free(fds);
}

/* True if its end was one in time.  No process is left behind. */
static bool bury(struct agent *a, int *status)
{
	bool in_time = a->fd < 0;

	child_end(a->pid, CHILD_KILL, in_time ? CLOCK_NEVER : 0, status);
	if (!in_time)
		close(a->fd);
	a->fd = -1;
	return in_time;
}

/* ---- what they say ---- */

/* Its last line, terminated; "" if there is none. */
static char *last_line(struct buf *output)
{
	char *lf;

	buf_addc(output, '\0');
	while ((lf = strrchr(output->data, '\n')) != NULL && lf[1] == '\0')
		*lf = '\0';
	return lf != NULL ? lf + 1 : output->data;
}

/* No one can listen on the way there. */
static bool is_near(const char *peer)
{
	return strncasecmp(peer, "UNIX:", 5) == 0 || strncmp(peer, "[127.", 5) == 0 || strcasecmp(peer, "localhost") == 0 ||
	       strncasecmp(peer, "[IPv6:::1]", 10) == 0 || strncmp(peer, "[::1]", 5) == 0;
}

static void count(const struct agents *all, const struct agent *a, const char *peer, bool ready)
{
	static const struct metric reached = { "zlmtp_target_ready", METRIC_GAUGE,
	                                       "1 if mail could be sent to the server: connection, LHLO, TLS, AUTH." };
	struct buf labels = { 0 };

	if (all->findings->metrics == NULL)
		return;
	metrics_label(&labels, "channel", a->clause->channel);
	metrics_label(&labels, "host", a->clause->host);
	metrics_label(&labels, "target", peer);
	metrics_add(all->findings->metrics, &reached, labels.data, ready ? 1000 : 0);
	buf_free(&labels);
}

static void judge_ready(struct agents *all, const struct agent *a, const char *peer, const char *line)
{
	struct buf said = { 0 }, verified = { 0 };
	const char *tls;
	bool proved;

	json_member(line, "tls", &said);
	json_member(line, "verified", &verified);
	proved = strcmp(buf_str(&verified), "true") == 0;
	tls = said.len > 0 ? said.data : "no TLS";
	if (said.len == 0 && !is_near(peer))
		finding_add(all->findings, FINDING_WARNING, "%s: %s is ready, but mail goes there in clear", a->name, peer);
	else if (a->secrets != NULL && !proved && !is_near(peer))
		finding_add(all->findings, FINDING_WARNING, "%s: %s gets our password without having proved who it is: %s",
		            a->name, peer, tls);
	else
		finding_add(all->findings, FINDING_OK, "%s: %s is ready, %s", a->name, peer, tls);
	buf_free(&said);
	buf_free(&verified);
}

static void judge_failed(struct agents *all, const struct agent *a, const char *peer, const char *line)
{
	struct buf why = { 0 }, code = { 0 };

	json_member(line, "stage", &why);
	buf_adds(&why, ": ");
	json_member(line, "code", &code);
	if (strcmp(buf_str(&code), "0") != 0) {
		buf_addf(&why, "%s ", buf_str(&code));
		json_member(line, "status", &why);
		buf_addc(&why, ' ');
	}
	json_member(line, "words", &why);
	finding_add(all->findings, FINDING_CRITICAL, "%s: %s cannot be used: %s", a->name, peer, buf_str(&why));
	buf_free(&why);
	buf_free(&code);
}

/* Its last line is what lmtp(8) says of the server in JSON, or why lmtp could not look. */
static void judge(struct agents *all, struct agent *a, int status)
{
	const char *line = last_line(&a->output);
	struct buf answer = { 0 }, peer = { 0 };
	bool ready;

	if (!WIFEXITED(status) || (WEXITSTATUS(status) != EX_OK && WEXITSTATUS(status) != EX_TEMPFAIL) ||
	    !json_member(line, "answer", &answer) || !json_member(line, "peer", &peer)) {
		finding_add(all->findings, FINDING_CRITICAL, "%s: lmtp gave no answer: %s", a->name,
		            line[0] != '\0' ? line : "it printed nothing");
		count(all, a, a->target, false);
	} else {
		ready = strcmp(buf_str(&answer), "ready") == 0 && WEXITSTATUS(status) == EX_OK;
		if (ready)
			judge_ready(all, a, buf_str(&peer), line);
		else
			judge_failed(all, a, buf_str(&peer), line);
		count(all, a, buf_str(&peer), ready);
	}
	buf_free(&answer);
	buf_free(&peer);
}

void check_agents(struct findings *f, const struct schedconf *conf, const char *path, unsigned seconds)
{
	struct agents all = { .findings = f };
	int64_t begun = clock_ms();
	size_t commands = 0;

	for (size_t i = 0; i < conf->count; i++) {
		if (conf->clauses[i].command == NULL || strcmp(conf->clauses[i].channel, "*") == 0)
			continue;
		commands++;
		add_agent(&all, &conf->clauses[i]);
	}
	if (commands == 0)
		finding_add(f, FINDING_CRITICAL, "%s: no clause for mail has a command", path);
	for (size_t i = 0; i < all.count; i++) {
		struct agent *a = &all.list[i];

		if (a->secrets != NULL)
			check_guarded(f, "secrets file", a->secrets, true);
		if (a->tls != NULL)
			check_tls_file(f, a);
		if (a->target != NULL)
			start(&all, a, seconds);
		else
			finding_add(f, FINDING_OK, "%s: its servers are the hosts of the mail; none is checked", a->name);
	}
	/* waits for them in their order; the numbers for graphs are of all together */
	listen_to(&all, begun + (int64_t)seconds * 1000 + GRACE_MS);
	for (size_t i = 0; i < all.count; i++) {
		struct agent *a = &all.list[i];
		int status = 0;

		if (a->pid == 0)
			continue;
		if (bury(a, &status)) {
			judge(&all, a, status);
		} else {
			finding_add(all.findings, FINDING_CRITICAL, "%s: no answer from %s within %u s", a->name, a->target,
			            seconds);
			count(&all, a, a->target, false);
		}
	}
	performance_add(f, "agents", (int64_t)all.count, "", NULL);
	performance_add(f, "agents_time", clock_ms() - begun, "ms", NULL);
	for (size_t i = 0; i < all.count; i++)
		free_agent(&all.list[i]);
	free(all.list);
}
