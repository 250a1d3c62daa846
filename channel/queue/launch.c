#include "channel/queue/launch.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sysexits.h>
#include <unistd.h>

#include "channel/spool/fields.h"
#include "lib/account.h"
#include "lib/alloc.h"
#include "lib/child.h"
#include "lib/log.h"
#include "lib/zenv.h"

/* The words of a launch: where each begins in `text`, as that may move while it grows. */
struct words {
	struct buf text;
	size_t *starts;
	size_t count, capacity;
};

static void begin_word(struct words *w)
{
	w->starts = xgrow(w->starts, w->count, &w->capacity, sizeof *w->starts);
	w->starts[w->count++] = w->text.len;
}

static void end_word(struct words *w)
{
	buf_addc(&w->text, '\0');
}

/* Adds one word of n bytes with its ${NAME} replaced; a '$' without a brace stands for itself. */
static bool expand(struct words *w, const char *s, size_t n, const char *channel, const char *host, struct buf *why)
{
	const char *end = s + n;

	if ((n == 8 && memcmp(s, "$channel", 8) == 0) || (n == 5 && memcmp(s, "$host", 5) == 0)) {
		buf_adds(&w->text, n == 8 ? channel : host);
		return true;
	}
	while (s < end) {
		const char *brace = s[0] == '$' && s + 1 < end && s[1] == '{' ? memchr(s, '}', (size_t)(end - s)) : NULL;

		if (brace != NULL) {
			char *name = xstrndup(s + 2, (size_t)(brace - s) - 2);
			const char *value = strcmp(name, "channel") == 0 ? channel
			                    : strcmp(name, "host") == 0 ? host : zenv(name);

			if (value == NULL)
				buf_addf(why, "the command needs ${%s}, which ZENV does not have", name);
			else
				buf_adds(&w->text, value);
			free(name);
			if (value == NULL)
				return false;
			s = brace + 1;
		} else {
			buf_addc(&w->text, *s++);
		}
	}
	return true;
}

static bool add_words(struct words *w, const char *command, const char *channel, const char *host, struct buf *why)
{
	static const char blanks[] = " \t\n";

	for (const char *s = command + strspn(command, blanks); *s != '\0'; s += strspn(s, blanks)) {
		size_t n = strcspn(s, blanks);

		begin_word(w);
		if (!expand(w, s, n, channel, host, why))
			return false;
		end_word(w);
		s += n;
	}
	return true;
}

static void add_variable(struct words *w, const char *name, const char *value)
{
	if (value == NULL)
		return;
	begin_word(w);
	buf_addf(&w->text, "%s=%s", name, value);
	end_word(w);
}

/* The program is meant to be below MAILBIN unless its path is whole. */
static bool add_program(struct words *w, const char *name, size_t *at, struct buf *why)
{
	const char *mailbin = zenv("MAILBIN");
	char *copy;

	if (name[0] == '/')
		return true;
	if (mailbin == NULL) {
		buf_addf(why, "the command's program %s needs MAILBIN, which ZENV does not have", name);
		return false;
	}
	copy = xstrdup(name);
	*at = w->count;
	begin_word(w);
	buf_addf(&w->text, "%s/ta/%s", mailbin, copy);
	end_word(w);
	free(copy);
	return true;
}

static char **pointers(const struct words *w, size_t first, size_t count, size_t more)
{
	char **list = xcalloc(count + more + 1, sizeof *list);

	for (size_t i = 0; i < count; i++)
		list[i] = w->text.data + w->starts[first + i];
	return list;
}

static bool mentions(const char *command, const char *plain, const char *braced)
{
	return strstr(command, plain) != NULL || strstr(command, braced) != NULL;
}

const char *launch_unfit(const struct clause *clause, const char *channel, const char *host)
{
	const char *unfit = quad_unfit(channel);

	if (unfit != NULL && mentions(clause->command, "$channel", "${channel}"))
		return unfit;
	unfit = quad_unfit(host);
	return unfit != NULL && mentions(clause->command, "$host", "${host}") ? unfit : NULL;
}

bool launch_prepare(struct launch *launch, const struct clause *clause, const char *channel, const char *host,
                    struct buf *why)
{
	struct words w = { 0 };
	size_t set = 0, words, program, extra;
	bool ok = add_words(&w, clause->command, channel, host, why);

	*launch = (struct launch){ 0 };
	/* words in front may set the environment */
	while (ok && set < w.count && strchr(w.text.data + w.starts[set], '=') != NULL)
		set++;
	words = w.count;
	program = set;
	if (ok && set == words) {
		buf_adds(why, "the command has no program");
		ok = false;
	}
	ok = ok && add_program(&w, w.text.data + w.starts[set], &program, why);
	if (ok) {
		extra = w.count;
		add_variable(&w, "TZ", getenv("TZ"));
		add_variable(&w, "PATH", zenv("PATH"));
		/* the agent is to read the same settings, whatever its own usual place for them is */
		add_variable(&w, "ZCONFIG", zenv("ZCONFIG") != NULL ? zenv("ZCONFIG") : zenv_path());
		launch->text = w.text.data;
		launch->arguments = pointers(&w, set, words - set, 0);
		launch->arguments[0] = w.text.data + w.starts[program];
		launch->environment = pointers(&w, 0, set, w.count - extra);
		for (size_t i = extra; i < w.count; i++)
			launch->environment[set + i - extra] = w.text.data + w.starts[i];
	} else {
		buf_free(&w.text);
	}
	free(w.starts);
	return ok;
}

void launch_free(struct launch *launch)
{
	free(launch->text);
	free(launch->arguments);
	free(launch->environment);
	*launch = (struct launch){ 0 };
}

/* Only root can become another user; what fails then must not run as root. */
bool launch_become(const struct clause *clause)
{
	if (geteuid() != 0)
		return true;
	return setgroups(0, NULL) == 0 && (clause->gid == (gid_t)-1 || setgid(clause->gid) == 0) &&
	       (clause->uid == (uid_t)-1 || setuid(clause->uid) == 0);
}

static _Noreturn void run(const struct launch *launch, const struct clause *clause)
{
	log_as_comments();
	if (!launch_become(clause)) {
		int code = errno;
		struct buf who = { 0 };

		account_add_user(&who, clause->uid);
		buf_adds(&who, ", group ");
		account_add_group(&who, clause->gid);
		complain("cannot become user %s: %s", buf_str(&who), strerror(code));
		_exit(EX_NOPERM);
	}
	execve(launch->arguments[0], launch->arguments, launch->environment);
	complain("cannot run %s: %s", launch->arguments[0], strerror(errno));
	_exit(EX_UNAVAILABLE);
}

pid_t launch_start(const struct launch *launch, const struct clause *clause, int *fd, struct buf *why)
{
	/* a ^C is for us: agents end when we tell them */
	struct child_rules rules = { .closes = true, .own_group = true };
	int ends[2];
	pid_t pid;

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) < 0) {
		buf_addf(why, "socketpair: %s", strerror(errno));
		return -1;
	}
	/* each end has its own flags: the agent's stays a blocking one */
	fcntl(ends[0], F_SETFL, O_NONBLOCK);
	rules.in = rules.out = rules.err = ends[1];
	pid = child_fork(&rules);
	if (pid == 0)
		run(launch, clause);
	close(ends[1]);
	if (pid < 0) {
		buf_addf(why, "fork: %s", strerror(errno));
		close(ends[0]);
		return -1;
	}
	*fd = ends[0];
	return pid;
}
