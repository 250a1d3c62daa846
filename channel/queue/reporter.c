#include "channel/queue/reporter.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <poll.h>
#include <sysexits.h>
#include <unistd.h>

#include "lib/alloc.h"
#include "lib/child.h"
#include "lib/clock.h"
#include "lib/file.h"
#include "lib/log.h"
#include "lib/loglimit.h"
#include "lib/parse.h"

enum { CHUNK = 64 * 1024 };

#define LONGEST_ANSWER ((size_t)16 * 1024 * 1024)
#define IDLE_MAX (30 * 1000)               /* without a request it leaves */
#define RESTART_PAUSE (5 * 1000)           /* after one that failed */
#define SILENT_PAUSE (10 * 1000)           /* from being told to end to being ended */
#define LAST_PAUSE (2 * 1000)              /* the same when we end ourselves */
/* When no map can tell, no report can be made, each time again: so many lines a minute, listings have the reason of each. */
#define LATER_LINES 10

struct reporter {
	const struct reporter_options *options;
	reporter_told *told;
	void *context;
	pid_t pid;                /* 0: it does not run */
	int fd;                   /* -1: it does not run, or was told to go */
	struct buf in, out;
	struct reporter_request *requests;     /* without an answer, from `first` on */
	size_t first, count, capacity;
	int64_t idle_since, start_at;
	int64_t silent_since;     /* its last word, or the first request after it */
	int64_t kill_at;          /* it was told to end; CLOCK_NEVER: it was not */
	bool complained;          /* the log says what is missing */
	struct loglimit later;    /* lines about reports that could not be made */
};

struct reporter *reporter_create(const struct reporter_options *options, reporter_told *told, void *context)
{
	struct reporter *r = xcalloc(1, sizeof *r);

	*r = (struct reporter){ .options = options, .told = told, .context = context, .fd = -1, .kill_at = CLOCK_NEVER,
	                         .later.most = LATER_LINES };
	return r;
}

static void tell_left_out(struct reporter *r, int64_t now, bool last)
{
	unsigned long n = loglimit_left_out(&r->later, now, last);

	if (n > 0)
		complain("%lu more times a report could not be made; \"zlmtp-queue list state=report\" has the reasons", n);
}

void reporter_destroy(struct reporter **reporter)
{
	struct reporter *r = *reporter;

	tell_left_out(r, 0, true);
	if (r->fd >= 0)
		close(r->fd);
	/*
	 * A reporter that waits for a map that hangs, or was stopped, is not waited for: what it has not reported is asked for
	 * again
	 */
	if (r->pid > 0 && r->first < r->count)
		kill(r->pid, SIGTERM);
	if (r->pid > 0)
		child_end(r->pid, CHILD_KILL, clock_ms() + LAST_PAUSE, &(int){ 0 });
	buf_free(&r->in);
	buf_free(&r->out);
	free(r->requests);
	free(r);
	*reporter = NULL;
}

/* What it lacks; NULL: nothing. */
static const char *lacks(const struct reporter_options *o)
{
	if (o->program == NULL || access(o->program, X_OK) < 0)
		return "the program zlmtp-report";
	if (o->dbases == NULL)
		return "MAILVAR of ZENV, or option -F";
	return file_is_missing(o->dbases) ? o->dbases : NULL;
}

bool reporter_is_there(const struct reporter *r)
{
	return lacks(r->options) == NULL;
}

bool reporter_can(struct reporter *r)
{
	const char *missing = lacks(r->options);

	if (missing != NULL && !r->complained)
		complain("no reports go to senders without %s; failures are reported in files in postman/", missing);
	r->complained = missing != NULL;
	return missing == NULL;
}

/* Nothing is known of what was asked: none of it is forgotten. */
static void give_up(struct reporter *r, const char *why)
{
	size_t count = r->count;

	buf_clear(&r->out);
	buf_clear(&r->in);
	while (r->first < count) {
		struct reporter_request request = r->requests[r->first++];
		char *words = xstrdup(why);

		r->told(r->context, &request, REPORTER_LATER, words);
		free(words);
	}
}

static void start(struct reporter *r, int64_t now)
{
	/* a ^C is for us */
	struct child_rules rules = { .err = CHILD_SAME, .closes = true, .own_group = true };
	int ends[2] = { -1, -1 };
	struct buf why = { 0 };

	r->start_at = now + RESTART_PAUSE;
	r->silent_since = now;
	r->kill_at = CLOCK_NEVER;
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) == 0) {
		fcntl(ends[0], F_SETFL, O_NONBLOCK);
		rules.in = rules.out = ends[1];
		r->pid = child_fork(&rules);
		if (r->pid == 0) {
			const struct reporter_options *o = r->options;
			char *arguments[] = {
				(char *)o->program, (char *)"-f", (char *)o->dbases, (char *)"-P",
			                     (char *)o->postoffice, (char *)"-O",
				(char *)(o->json ? "log=json"
			        : "log=keys"), NULL,
			};

			execv(o->program, arguments);
			complain("cannot run %s: %s", o->program, strerror(errno));
			_exit(EX_UNAVAILABLE);
		}
		close(ends[1]);
		if (r->pid > 0) {
			r->fd = ends[0];
			return;
		}
		close(ends[0]);
	}
	r->pid = 0;
	buf_addf(&why, "cannot start %s: %s", r->options->program, strerror(errno));
	complain("%s", buf_str(&why));
	give_up(r, buf_str(&why));
	buf_free(&why);
}

static void hang_up(struct reporter *r)
{
	close(r->fd);
	r->fd = -1;
	if (r->pid > 0 && reporter_waiting(r) > 0)
		kill(r->pid, SIGTERM);
}

void reporter_ask(struct reporter *r, const struct reporter_request *request, const struct buf *text, int64_t now)
{
	if (r->first == r->count) {
		r->first = r->count = 0;
		r->silent_since = now;
	}
	r->requests = xgrow(r->requests, r->count, &r->capacity, sizeof *r->requests);
	r->requests[r->count++] = *request;
	buf_add(&r->out, text->data, text->len);
	r->idle_since = now;
}

size_t reporter_waiting(const struct reporter *r)
{
	return r->count - r->first;
}

int reporter_descriptor(const struct reporter *r)
{
	return r->fd;
}

short reporter_events(const struct reporter *r)
{
	return (short)(POLLIN | (r->out.len > 0 ? POLLOUT : 0));
}

static void flush(struct reporter *r)
{
	while (r->fd >= 0 && r->out.len > 0) {
		ssize_t n = write(r->fd, r->out.data, r->out.len);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && (errno == EAGAIN || errno == ENOBUFS || errno == ENOMEM))
			return;
		if (n < 0)
			hang_up(r);
		else
			buf_consume(&r->out, (size_t)n);
	}
}

/* "ID WORD [text]".  False if it is no answer to what was asked first. */
static bool answered(struct reporter *r, char *line, int64_t now)
{
	char *word = strchr(line, ' '), *text;
	struct reporter_request request;
	enum reporter_answer answer;
	uint64_t id;

	if (word == NULL || r->first == r->count)
		return false;
	*word++ = '\0';
	text = word + strcspn(word, " ");
	if (*text != '\0')
		*text++ = '\0';
	request = r->requests[r->first];
	if (!parse_number(line, UINT64_MAX, &id) || id != request.id)
		return false;
	if (strcmp(word, "done") == 0)
		answer = REPORTER_DONE;
	else if (strcmp(word, "file") == 0)
		answer = REPORTER_FILE;
	else if (strcmp(word, "later") == 0)
		answer = REPORTER_LATER;
	else if (strcmp(word, "moved") == 0)
		answer = REPORTER_MOVED;
	else
		return false;
	tell_left_out(r, now, false);
	if (answer == REPORTER_LATER && loglimit_may(&r->later, now))
		complain("%llu: the report to its sender cannot be made now: %s; it is tried again", (unsigned long long)id,
		         text);
	r->first++;
	r->told(r->context, &request, answer, text);
	return true;
}

/* False if there was nothing: after true there may be more. */
static bool read_answers(struct reporter *r, int64_t now)
{
	char *room, *lf;
	size_t used = 0;
	ssize_t n;

	if (r->fd < 0)
		return false;
	room = buf_reserve(&r->in, CHUNK);
	do
		n = read(r->fd, room, CHUNK);
	while (n < 0 && errno == EINTR);
	if (n < 0 && errno == EAGAIN)
		return false;
	if (n <= 0) {
		hang_up(r);
		return false;
	}
	r->in.len += (size_t)n;
	r->silent_since = now;
	while ((lf = memchr(r->in.data + used, '\n', r->in.len - used)) != NULL) {
		char *line = r->in.data + used;

		*lf = '\0';
		used = (size_t)(lf - r->in.data) + 1;
		if (!answered(r, line, now)) {
			complain("zlmtp-report sent an answer without a request: %s", line);
			hang_up(r);
			return false;
		}
	}
	buf_consume(&r->in, used);
	if (r->in.len > LONGEST_ANSWER) {
		complain("zlmtp-report sends an answer without an end");
		hang_up(r);
		return false;
	}
	return true;
}

void reporter_serve(struct reporter *r, int64_t now)
{
	read_answers(r, now);
	tell_left_out(r, now, false);
	/* As an agent that says nothing: it gets SIGTERM, then SIGKILL.  What becomes of it is seen in reporter_buried(). */
	if (r->pid != 0) {
		if (now >= r->kill_at) {
			kill(r->pid, SIGKILL);
			r->kill_at = now + SILENT_PAUSE;
		} else if (r->kill_at == CLOCK_NEVER && reporter_waiting(r) > 0 &&
		           now - r->silent_since >= r->options->silence) {
			complain("zlmtp-report %ld has sent nothing for %lld s, with %zu open request%s; it is stopped",
			         (long)r->pid, (long long)(now - r->silent_since) / 1000, reporter_waiting(r),
			         reporter_waiting(r) == 1 ? "" : "s");
			kill(r->pid, SIGTERM);
			r->kill_at = now + SILENT_PAUSE;
		}
	}
	if (r->pid == 0 && reporter_waiting(r) > 0 && now >= r->start_at)
		start(r, now);
	flush(r);
	if (reporter_waiting(r) > 0)
		r->idle_since = now;
	else if (r->fd >= 0 && now - r->idle_since >= IDLE_MAX)
		hang_up(r);
}

int64_t reporter_deadline(const struct reporter *r)
{
	int64_t left_out = r->later.left_out > 0 ? r->later.end : CLOCK_NEVER;

	if (r->pid == 0)
		return reporter_waiting(r) > 0 && r->start_at < left_out ? r->start_at : left_out;
	if (r->kill_at != CLOCK_NEVER)
		return r->kill_at;
	if (reporter_waiting(r) > 0)
		return r->silent_since + r->options->silence;
	return r->fd >= 0 && r->idle_since + IDLE_MAX < left_out ? r->idle_since + IDLE_MAX : left_out;
}

bool reporter_buried(struct reporter *r, pid_t pid, int status, int64_t now)
{
	struct buf end = { 0 };

	if (pid != r->pid)
		return false;
	/* what it said before its end counts */
	while (read_answers(r, now))
		;
	if (r->fd >= 0)
		hang_up(r);
	r->pid = 0;
	buf_adds(&end, "zlmtp-report ");
	child_describe_end(&end, status);
	if (status != 0)
		complain("%s", buf_str(&end));
	else
		buf_adds(&end, "has ended");
	r->start_at = status != 0 ? now + RESTART_PAUSE : now;
	give_up(r, buf_str(&end));
	buf_free(&end);
	return true;
}
