#include "db/serve/verify.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "lib/child.h"
#include "lib/clock.h"
#include "lib/file.h"
#include "lib/log.h"
#include "lib/pool.h"
#include "lib/text.h"

#define ARGUMENTS_MAX 64

struct arguments {
	char *words[ARGUMENTS_MAX + 12];
	size_t count;
	struct pool pool;
	const char *channel;   /* of -c; NULL without */
	bool has_target;       /* -F */
};

/* The agent, below this program or beside it, or in the build tree. */
static const char *agent_path(struct pool *pool)
{
	static const char *const places[] = { "ta/lmtp", "lmtp", "../channel/lmtp" };
	char path[PATH_MAX];
	ssize_t n = readlink("/proc/self/exe", path, sizeof path - 1);
	const char *agent = NULL;
	char *slash;

	path[n > 0 ? n : 0] = '\0';
	slash = strrchr(path, '/');
	if (slash != NULL)
		*slash = '\0';
	for (size_t i = 0; i < sizeof places / sizeof places[0]; i++) {
		agent = pool_format(pool, "%s/%s", path, places[i]);
		if (access(agent, X_OK) == 0)
			break;
	}
	return agent;
}

static void add_words(struct arguments *a, const char *text)
{
	char *copy = pool_copy(&a->pool, text, strlen(text)), *rest = NULL;

	for (char *word = strtok_r(copy, " \t", &rest); word != NULL && a->count < ARGUMENTS_MAX; word = strtok_r(NULL, " \t", &rest)) {
		const char *before = a->count > 0 ? a->words[a->count - 1] : "";

		if (strcmp(before, "-c") == 0)
			a->channel = word;
		a->has_target |= strncmp(word, "-F", 2) == 0;
		a->words[a->count++] = word;
	}
}

/* execv() changes none of them. */
static void add(struct arguments *a, const char *word)
{
	a->words[a->count++] = (char *)word;
}

/* All that the agent says, and what it ends with; 75 if it cannot be asked. */
static int ask(struct arguments *a, struct buf *said)
{
	struct child_rules rules = { .in = CHILD_SAME, .err = CHILD_SAME };
	int ends[2], status = 0;
	pid_t pid;

	if (pipe2(ends, O_CLOEXEC) < 0)
		return 75;
	rules.out = ends[1];
	pid = child_run(&rules, a->words);
	if (pid < 0)
		complain("%s: %s", a->words[0], strerror(errno));
	close(ends[1]);
	said->limit = 65536;
	if (pid > 0)
		(void)file_read(ends[0], said);
	close(ends[0]);
	if (pid < 0)
		return 75;
	child_end(pid, CHILD_LEAVE, CLOCK_NEVER, &status);
	if (!WIFEXITED(status))
		return 75;
	return WEXITSTATUS(status);
}

/* "5.1.1" and the like, if the words have one of this class. */
static void find_status(const char *words, char class, char status[12])
{
	for (const char *s = words; *s != '\0'; s++) {
		size_t n = strspn(s, "0123456789.");

		if (*s == class && s[1] == '.' && isdigit((unsigned char)s[2]) && n >= 5 && n < 10 && (s == words || s[-1] == ' ')) {
			snprintf(status, 12, "%.*s", (int)n, s);
			return;
		}
		if (n > 1)
			s += n - 1;
	}
}

/* The words behind the code, and the status if it is the one that was found: who answers with them says both itself. */
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
static void judge(int status, const struct buf *said, struct verdict *verdict)
{
	const char *words = strchr(buf_str(said), '\t');
	struct buf clean = { 0 };

	words = words != NULL ? strchr(words + 1, '\t') : NULL;
	text_add_clean_string(&clean, words != NULL ? words + 1 : "the store cannot be asked now; try again later", 300);
	verdict->code = status == 1 ? 550 : 450;
	snprintf(verdict->status, sizeof verdict->status, "%s", status == 1 ? "5.1.1" : "4.3.0");
	find_status(buf_str(&clean), status == 1 ? '5' : '4', verdict->status);
	snprintf(verdict->text, sizeof verdict->text, "%s", text_of(buf_str(&clean), verdict->status));
	buf_free(&clean);
}

void verify_destination(const struct verify_options *options, const char *channel, const char *host, const char *user,
                        struct verdict *verdict)
{
	struct arguments a = { 0 };
	struct buf said = { 0 };
	int status;

	*verdict = (struct verdict){ .code = 250, .status = "2.1.5", .text = "ok" };
	add(&a, agent_path(&a.pool));
	add_words(&a, options->arguments);
	if (strcmp(channel, "smtp") == 0 || (a.channel != NULL && strcmp(a.channel, channel) != 0)) {
		pool_free(&a.pool);
		return;
	}
	if (options->cache != NULL) {
		add(&a, "-O");
		add(&a, pool_format(&a.pool, "probe-cache=%s", options->cache));
	}
	add(&a, "-O");
	add(&a, pool_format(&a.pool, "probe-time=%" PRIu64, options->seconds));
	if (!a.has_target) {
		add(&a, "-F");
		add(&a, host);
	}
	add(&a, "-B");
	add(&a, "--");
	add(&a, user);
	status = ask(&a, &said);
	pool_free(&a.pool);
	if (status != 0)
		judge(status, &said, verdict);
	buf_free(&said);
}
