#include "channel/queue/agent.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "channel/queue/launch.h"
#include "lib/alloc.h"
#include "lib/clock.h"
#include "lib/log.h"
#include "lib/text.h"

enum { CHUNK = 64 * 1024, LONGEST_LINE = 16 * 1024 * 1024 };

#define FAILED_PAUSE 100                   /* after reading or writing failed */
#define FAILED_PATIENCE (10 * 1000)        /* so long it may go on */
/* An agent that never stops talking must not fill the log: so many of its lines a minute. */
#define TOLD_MAX 100
#define WORDS_MAX 300
#define HURRY_PAUSE (10 * 1000)            /* from SIGTERM to SIGKILL */

static void enter(struct agent *w, enum agent_state state, int64_t now)
{
	w->state = state;
	w->since = now;
}

struct agent *agent_launch(const struct clause *clause, const struct destination *d, int64_t now, struct buf *why)
{
	struct agent *w = NULL;
	struct launch launch;
	pid_t pid;
	int fd;

	if (!launch_prepare(&launch, clause, d->channel, d->host, why))
		return NULL;
	pid = launch_start(&launch, clause, &fd, why);
	if (pid > 0) {
		w = xcalloc(1, sizeof *w);
		w->pid = pid;
		w->fd = fd;
		w->clause = clause;
		w->channel = xstrdup(d->channel);
		w->host = clause->with_host ? xstrdup(d->host) : NULL;
		w->outstanding = 1;
		w->lines.most = TOLD_MAX;
		enter(w, AGENT_BUSY, now);
	}
	launch_free(&launch);
	return w;
}

static void hang_up(struct agent *w, int64_t now)
{
	if (w->fd >= 0)
		close(w->fd);
	w->fd = -1;
	w->again = 0;
	enter(w, AGENT_SILENT, now);
}

/* The system was short of something, most likely: a line that is thrown away would be waited for without end. */
static void failed(struct agent *w, int error, int64_t now)
{
	if (w->failing == 0)
		w->failing = now;
	w->again = now + FAILED_PAUSE;
	if (now - w->failing < FAILED_PATIENCE)
		return;
	complain("agent %ld (%s) cannot be written to: %s", (long)w->pid, w->channel, strerror(error));
	hang_up(w, now);
}

void agent_free(struct agent **w)
{
	if ((*w)->fd >= 0)
		close((*w)->fd);
	buf_free(&(*w)->in);
	buf_free(&(*w)->out);
	free((*w)->channel);
	free((*w)->host);
	free((*w)->words);
	free(*w);
	*w = NULL;
}

int64_t agent_too_silent_at(const struct agent *w, int64_t silence)
{
	bool works = w->state == AGENT_BUSY || (w->state == AGENT_LEAVING && w->fed.count > 0);
	int64_t quiet_since = w->answered > w->since ? w->answered : w->since;

	return works ? quiet_since + silence + (w->hurried ? HURRY_PAUSE : 0) : CLOCK_NEVER;
}

void agent_hurry(struct agent *w, int64_t silence, int64_t now)
{
	if (w->hurried) {
		kill(w->pid, SIGKILL);
		w->answered = now;
		return;
	}
	complain("agent %ld (%s) has mail and has %s for %lld s; it is stopped", (long)w->pid, w->channel,
	         now - w->heard < silence ? "sent no report" : "sent nothing", (long long)silence / 1000);
	w->hurried = true;
	kill(w->pid, SIGTERM);
}

bool agent_suits(const struct agent *w, const struct destination *d)
{
	return w->clause == d->clause && w->destination == NULL && (w->state == AGENT_HUNGRY || w->state == AGENT_IDLE) &&
	       strcmp(w->channel, d->channel) == 0 && (w->host == NULL || strcmp(w->host, d->host) == 0);
}

static void sent_line(struct agent *w, int64_t now)
{
	w->outstanding++;
	if (w->state != AGENT_BUSY)
		enter(w, AGENT_BUSY, now);
}

void agent_job(struct agent *w, const char *name, const char *host, int64_t now)
{
	buf_adds(&w->out, name);
	if (w->host == NULL) {
		buf_addc(&w->out, '\t');
		buf_adds(&w->out, host);
	}
	buf_addc(&w->out, '\n');
	w->idling = false;
	sent_line(w, now);
}

void agent_idle(struct agent *w, int64_t now)
{
	buf_adds(&w->out, "#idle\n");
	w->idling = true;
	sent_line(w, now);
}

void agent_dismiss(struct agent *w, int64_t now)
{
	if (w->state == AGENT_LEAVING || w->state == AGENT_SILENT)
		return;
	buf_addc(&w->out, '\n');
	enter(w, AGENT_LEAVING, now);
	agent_flush(w, now);
}

bool agent_hungry(struct agent *w, int64_t now)
{
	if (w->outstanding == 0) {
		if (!w->too_hungry)
			complain("agent %ld (%s) sent #hungry although nothing was outstanding", (long)w->pid, w->channel);
		w->too_hungry = true;
		return false;
	}
	w->answered = now;
	if (--w->outstanding == 0 && w->state == AGENT_BUSY)
		enter(w, w->idling ? AGENT_IDLE : AGENT_HUNGRY, now);
	else if (w->state == AGENT_LEAVING)
		enter(w, AGENT_LEAVING, now);
	return true;
}

void agent_flush(struct agent *w, int64_t now)
{
	if (w->fd < 0 || w->again > now)
		return;
	w->again = 0;
	while (w->out.len > 0) {
		ssize_t n = write(w->fd, w->out.data, w->out.len);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno == EAGAIN)
			return;
		if (n < 0) {
			failed(w, errno, now);
			return;
		}
		w->failing = 0;
		buf_consume(&w->out, (size_t)n);
	}
	if (w->state == AGENT_LEAVING)
		shutdown(w->fd, SHUT_WR);
}

void agent_said(struct agent *w, const char *text)
{
	struct buf words = { 0 };

	text_add_clean_string(&words, text, WORDS_MAX);
	free(w->words);
	w->words = words.data;
}

bool agent_may_tell(struct agent *w, int64_t now)
{
	agent_tell_untold(w, now, false);
	return loglimit_may(&w->lines, now);
}

void agent_tell_untold(struct agent *w, int64_t now, bool last)
{
	unsigned long n = loglimit_left_out(&w->lines, now, last);

	if (n > 0)
		complain("agent %ld (%s): %lu more lines are left out here", (long)w->pid, w->channel, n);
}

static void give_lines(struct agent *w, void (*line)(void *context, struct agent *w, char *text), void *context)
{
	size_t used = 0;
	char *lf;

	while ((lf = memchr(w->in.data + used, '\n', w->in.len - used)) != NULL) {
		char *text = w->in.data + used;

		*lf = '\0';
		used = (size_t)(lf - w->in.data) + 1;
		line(context, w, text);
	}
	buf_consume(&w->in, used);
}

bool agent_read(struct agent *w, int64_t now, void (*line)(void *context, struct agent *w, char *text),
                 void *context)
{
	ssize_t n;
	char *room;

	if (w->fd < 0)
		return false;
	room = buf_reserve(&w->in, CHUNK);
	do
		n = read(w->fd, room, CHUNK);
	while (n < 0 && errno == EINTR);
	if (n < 0 && errno == EAGAIN)
		return false;
	if (n < 0 && errno != ECONNRESET) {
		failed(w, errno, now);
		return false;
	}
	if (n <= 0) {
		hang_up(w, now);
		return false;
	}
	w->failing = 0;
	w->heard = now;
	w->in.len += (size_t)n;
	w->in.data[w->in.len] = '\0';
	give_lines(w, line, context);
	if (w->in.len > LONGEST_LINE) {
		complain("agent %ld (%s) sent a line of more than %d bytes; it is killed", (long)w->pid, w->channel,
		         (int)LONGEST_LINE);
		kill(w->pid, SIGKILL);
		hang_up(w, now);
	}
	return true;
}
