#include "db/serve/verify.h"

#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <sysexits.h>
#include <unistd.h>

#include "lib/alloc.h"
#include "lib/buf.h"
#include "lib/child.h"
#include "lib/clock.h"
#include "lib/file.h"
#include "lib/log.h"
#include "lib/pool.h"
#include "lib/process.h"
#include "lib/restraint.h"
#include "lib/text.h"

#define ARGUMENTS_MAX 64

/* The agent has its own limit; it gets so much more to say that it was reached, in milliseconds. */
#define GRACE 1000

/* How long the end of one is waited for, after SIGTERM, in milliseconds. */
#define END_PAUSE 1000

/* Looking at its options takes it no longer, in milliseconds. */
#define CHECK_TIME 20000

/* Between two starts of an agent that ends at once, by whichever process, in milliseconds. */
#define START_PAUSE 10000

struct verifier {
	char *words[ARGUMENTS_MAX + 12];    /* how the agent is called */
	size_t count;
	bool has_more;         /* words than can be taken */
	struct pool pool;
	const char *channel;   /* of -c; NULL without */
	bool has_target;       /* -F */
	int64_t patience;      /* milliseconds */
	pid_t pid;             /* of the agent; 0: none runs */
	int fd;                /* its standard input and output */
	struct buf said;
	struct restraint *starts;
};

/* The agent, below this program or beside it, or in the build tree. */
static const char *agent_path(struct pool *pool)
{
	static const char *const places[] = { "ta/lmtp", "lmtp", "../channel/lmtp" };
	char *directory = process_beside("");
	const char *agent = NULL;

	for (size_t i = 0; i < sizeof places / sizeof places[0]; i++) {
		agent = pool_format(pool, "%s%s", directory != NULL ? directory : "/", places[i]);
		if (access(agent, X_OK) == 0)
			break;
	}
	free(directory);
	return agent;
}

static void add_words(struct verifier *v, const char *text)
{
	char *copy = pool_copy(&v->pool, text, strlen(text)), *rest = NULL;

	for (char *word = strtok_r(copy, " \t", &rest); word != NULL; word = strtok_r(NULL, " \t", &rest)) {
		const char *before = v->count > 0 ? v->words[v->count - 1] : "";

		if (v->count == ARGUMENTS_MAX) {
			v->has_more = true;
			return;
		}
		if (strcmp(before, "-c") == 0)
			v->channel = word;
		else if (strncmp(word, "-c", 2) == 0 && word[2] != '\0')
			v->channel = word + 2;
		v->has_target |= strncmp(word, "-F", 2) == 0;
		v->words[v->count++] = word;
	}
}

/* execv() changes none of them. */
static void add(struct verifier *v, const char *word)
{
	v->words[v->count++] = (char *)word;
}

struct verifier *verifier_create(const struct verify_options *options)
{
	struct verifier *v = xcalloc(1, sizeof *v);

	v->patience = (int64_t)options->seconds * 1000 + GRACE;
	v->starts = restraint_create(START_PAUSE);
	add(v, agent_path(&v->pool));
	add_words(v, options->arguments);
	if (options->cache != NULL) {
		add(v, "-O");
		add(v, pool_format(&v->pool, "probe-cache=%s", options->cache));
	}
	add(v, "-O");
	add(v, pool_format(&v->pool, "probe-time=%" PRIu64, options->seconds));
	add(v, "-O");
	add(v, "log=keys");
	add(v, "-B");
	add(v, "--");
	add(v, "-");
	return v;
}

/* ---- the start ---- */

/* Judges how it ended. */
static int judge_check(int status, bool ended, int out, int err, struct buf *why)
{
	const size_t before = why->len;
	int code;
	struct buf text = { 0 };

	/* what it wrote into a file in memory: the first line, clean */
	if (lseek(err, 0, SEEK_SET) == 0 && file_read(err, &text) && text.len > 0)
		text_add_clean(why, text.data, strcspn(buf_str(&text), "\n"), 300);
	buf_free(&text);
	if (ended && status == 0 && lseek(out, 0, SEEK_END) == 0) {
		/* a warning is for the agent to repeat */
		why->len = before;
		return EX_OK;
	}
	if (ended && status == 0)
		buf_adds(why, "these options make lmtp end without asking a store; remove -V and --help");
	else if (!ended)
		buf_adds(why, "it does not end");
	else if (why->len == before)
		child_describe_end(why, status);
	code = ended && WIFEXITED(status) ? WEXITSTATUS(status) : 0;
	return code >= EX__BASE && code <= EX__MAX ? code : EX_CONFIG;
}

int verifier_check(struct verifier *v, struct buf *why)
{
	struct child_rules rules = { .in = CHILD_NULL, .out = memfd_create("out", MFD_CLOEXEC),
	                             .err = memfd_create("err", MFD_CLOEXEC) };
	int status = 0, result = EX_CONFIG;
	pid_t pid = -1;

	if (v->has_more) {
		buf_addf(why, "more than %d words", ARGUMENTS_MAX);
		result = EX_USAGE;
	} else if (rules.out < 0 || rules.err < 0 || (pid = child_run(&rules, v->words)) < 0) {
		buf_addf(why, "%s: %s", v->words[0], strerror(errno));
	} else {
		const bool ended = child_end(pid, CHILD_KILL, clock_ms() + CHECK_TIME, &status);

		result = judge_check(status, ended, rules.out, rules.err, why);
	}
	if (rules.out >= 0)
		close(rules.out);
	if (rules.err >= 0)
		close(rules.err);
	return result;
}

/* ---- the agent ---- */

static bool start(struct verifier *v)
{
	struct child_rules rules = { .err = CHILD_SAME };
	int ends[2];

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) < 0)
		return false;
	rules.in = rules.out = ends[1];
	v->pid = child_run(&rules, v->words);
	if (v->pid < 0)
		complain("%s: %s", v->words[0], strerror(errno));
	close(ends[1]);
	if (v->pid < 0) {
		v->pid = 0;
		close(ends[0]);
		return false;
	}
	v->fd = ends[0];
	return true;
}

/*
 * At the end of its input it takes leave of the stores; one that does not answer gets SIGTERM, and is left alone if it does not
 * end.
 */
static void stop(struct verifier *v, bool late)
{
	if (v->pid == 0)
		return;
	close(v->fd);
	if (late)
		kill(v->pid, SIGTERM);
	child_end(v->pid, CHILD_LEAVE, clock_ms() + END_PAUSE, &(int){ 0 });
	v->pid = 0;
	buf_clear(&v->said);
}

void verifier_destroy(struct verifier **at)
{
	struct verifier *v = *at;

	if (v == NULL)
		return;
	stop(v, false);
	buf_free(&v->said);
	restraint_free(&v->starts);
	pool_free(&v->pool);
	free(v);
	*at = NULL;
}

enum heard { HEARD, HEARD_NOTHING, HEARD_END };

/* Waits for a line, which is cut off at its end. */
static enum heard hear(struct verifier *v, int64_t deadline)
{
	struct pollfd p = { .fd = v->fd, .events = POLLIN };

	for (;;) {
		char *lf = v->said.len > 0 ? memchr(v->said.data, '\n', v->said.len) : NULL;
		ssize_t n;

		if (lf != NULL) {
			*lf = '\0';
			return HEARD;
		}
		n = poll(&p, 1, clock_poll_timeout(deadline));
		if (n == 0)
			return HEARD_NOTHING;
		n = n > 0 ? recv(v->fd, buf_reserve(&v->said, 4096), 4096, MSG_DONTWAIT) : -1;
		if (n == 0 || (n < 0 && errno != EINTR && errno != EAGAIN) || v->said.len > 65536)
			return HEARD_END;
		v->said.len += n > 0 ? (size_t)n : 0;
	}
}

/*
 * The line that the agent says about one address, in v->said; false if it cannot be asked.  One that has ended since the last
 * question is started again; one that ends at its first, as it would again, not before a while.
 */
static bool ask(struct verifier *v, const struct buf *question)
{
	const int64_t deadline = clock_ms() + v->patience;

	for (int tries = v->pid != 0 ? 2 : 1; tries > 0; tries--) {
		enum heard heard = HEARD_END;

		/* where one has failed a single process tries whether it is well again */
		if (v->pid == 0 && !restraint_is_off(v->starts) && !restraint_take(v->starts))
			return false;
		if (v->pid == 0 && !start(v))
			break;
		buf_clear(&v->said);
		if (send(v->fd, question->data, question->len, MSG_NOSIGNAL) == (ssize_t)question->len)
			heard = hear(v, deadline);
		if (heard == HEARD) {
			restraint_lift(v->starts);
			return true;
		}
		stop(v, heard == HEARD_NOTHING);
		if (heard == HEARD_NOTHING)
			return false;
	}
	(void)restraint_take(v->starts);
	return false;
}

/* ---- what it says ---- */

/* "5.1.1" and the like, if the words have one of this class. */
static void find_status(const char *words, char class, char status[12])
{
	for (const char *s = words; *s != '\0'; s++) {
		size_t n = strspn(s, "0123456789.");

		if (*s == class && s[1] == '.' && isdigit((unsigned char)s[2]) && n >= 5 && n < 10 &&
		    (s == words || s[-1] == ' ')) {
			snprintf(status, 12, "%.*s", (int)n, s);
			return;
		}
		if (n > 1)
			s += n - 1;
	}
}

/* The words behind the code, and the status if it is the one that was found: the caller adds both itself. */
static const char *text_of(const char *words, const char *status)
{
	size_t n = strlen(status);

	if (strspn(words, "0123456789") == 3 && (words[3] == ' ' || words[3] == '-'))
		words += 4;
	if (strncmp(words, status, n) == 0 && words[n] == ' ')
		words += n + 1;
	return words;
}

/* What the agent says of one address is ADDRESS, answer and words, with TABs between. */
static void judge(const char *line, struct verdict *verdict)
{
	const char *answer = strchr(line, '\t'), *words = answer != NULL ? strchr(answer + 1, '\t') : NULL;
	struct buf clean = { 0 };
	bool refused = words != NULL && strncmp(answer, "\tno\t", 4) == 0;

	if (words != NULL && strncmp(answer, "\tyes\t", 5) == 0)
		return;
	text_add_clean_string(&clean, words != NULL ? words + 1 : "the store cannot be asked now; try again later", 300);
	verdict->code = refused ? 550 : 450;
	snprintf(verdict->status, sizeof verdict->status, "%s", refused ? "5.1.1" : "4.3.0");
	find_status(buf_str(&clean), refused ? '5' : '4', verdict->status);
	snprintf(verdict->text, sizeof verdict->text, "%s", text_of(buf_str(&clean), verdict->status));
	buf_free(&clean);
}

bool verifier_concerns(const struct verifier *v, const char *channel)
{
	/* what these take no LMTP server knows, whichever -F names */
	static const char *const others[] = { "smtp", "local", "bitbucket", "hold", NULL };

	return !text_is_among(channel, others) && (v->channel == NULL || strcmp(v->channel, channel) == 0);
}

const char *verifier_store(const struct verifier *v, const char *host)
{
	return v->has_target ? "-F" : host;
}

void verdict_unasked(struct verdict *verdict, const char *fault)
{
	*verdict = (struct verdict){ .code = 450, .status = "4.3.0" };
	snprintf(verdict->text, sizeof verdict->text, "the question to the store %s; try again later",
	         fault != NULL ? fault : "was not answered");
}

void verifier_ask(struct verifier *v, const char *host, const char *user, struct verdict *verdict)
{
	struct buf question = { 0 };

	*verdict = (struct verdict){ .code = 250, .status = "2.1.5", .text = "ok" };
	if (text_has_controls(user, strlen(user))) {
		*verdict = (struct verdict){ .code = 550, .status = "5.1.3",
		                             .text = "the address cannot be written in a command" };
		return;
	}
	buf_adds(&question, user);
	if (!v->has_target && !text_has_controls(host, strlen(host)))
		buf_addf(&question, "\t%s", host);
	buf_addc(&question, '\n');
	judge(ask(v, &question) ? buf_str(&v->said) : "", verdict);
	buf_free(&question);
}
