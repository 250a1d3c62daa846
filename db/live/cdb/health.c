#include "db/live/cdb/health.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>
#include <unistd.h>

#include "db/live/cdb/examine.h"
#include "db/live/cdb/journal.h"
#include "db/live/livemap_private.h"
#include "db/store/env.h"
#include "lib/alloc.h"
#include "lib/child.h"
#include "lib/clock.h"
#include "lib/text.h"

/* Reading and verifying go on for so long without a word, on a slow disk. */
#define READING_MS 60000

/* ... and for so long, beyond the wait for locks, the child goes on if its parent does not listen any more. */
#define LIMIT_S 70

#define TEXT_CAP 1000

enum { SAY_STEP = 's', SAY_RESULT = 'r' };

const char *health_name(enum health_state state)
{
	static const char *const names[] = { "healthy", "stale", "damaged", "wedged", "could not tell" };

	return names[state];
}

int health_exit_code(enum health_state state)
{
	static const int codes[] = { 0, 1, 2, 2, 3 };

	return codes[state];
}

void health_name_users(const struct users *users, struct buf *out)
{
	static const struct { unsigned use; const char *name; } names[] = {
		{ USES_REGIONS, "the environment" }, { USES_OLD_REGIONS, "an environment that was removed: end it" },
		{ USES_MAP, "the map" }, { USES_OLD_MAP, "an older file of the map" }, { USES_FENCE, "changes the map" },
	};

	for (size_t i = 0; i < users->count; i++) {
		const char *lead = ": ";

		buf_addf(out, "  %ld (%s)", (long)users->list[i].pid, users->list[i].name);
		for (size_t k = 0; k < sizeof names / sizeof names[0]; k++) {
			if ((users->list[i].uses & names[k].use) == 0)
				continue;
			buf_addf(out, "%s%s", lead, names[k].name);
			lead = ", ";
		}
		buf_addc(out, '\n');
	}
}

void health_free(struct health *health)
{
	buf_free(&health->text);
	users_free(&health->users);
}

static void find(struct health *h, enum health_state state, const char *format, ...) __attribute__((format(printf, 3, 4)));

static void find(struct health *h, enum health_state state, const char *format, ...)
{
	struct buf text = { 0 };
	va_list ap;

	va_start(ap, format);
	buf_vaddf(&text, format, ap);
	va_end(ap);
	h->state = state;
	buf_clear(&h->text);
	text_add_clean(&h->text, buf_str(&text), text.len, TEXT_CAP);
	buf_free(&text);
}

/* ---- in the child -------------------------------------------------------------------------- */

static void tell_step(struct examination *x, const char *what)
{
	/* the parent has gone already if it comes to that */
	worker_limit(x->live->inside ? 0 : x->live->wait + LIMIT_S);
	child_send(x->fd, SAY_STEP, what, strlen(what), CLOCK_NEVER);
}

static void serve(void *context, int fd)
{
	struct examination x = { .live = context, .step = tell_step, .fd = fd };
	struct buf out = { 0 };

	env_set_crash_status(WORKER_CRASH);
	examine(&x);
	worker_limit(0);
	buf_addf(&out, "%d %" PRIu64 " %s", (int)x.state, x.records, buf_str(&x.text));
	child_send(fd, SAY_RESULT, out.data, out.len, CLOCK_NEVER);
	buf_free(&out);
	buf_free(&x.text);
}

/* ---- the parent ------------------------------------------------------------------------------ */

/* These go on for long without a word, but not within the environment, where they would hang. */
static bool takes_long(const struct service *s, const char *step)
{
	return strcmp(step, "verifying the map") == 0 || strcmp(step, "reading the journal") == 0 ||
	       strcmp(step, "reading the file") == 0 ||
	       (s->live.config == NULL && strcmp(step, "reading the map") == 0);
}

/* Follows the child from step to step. */
static void follow(struct health *h, struct service *s)
{
	int64_t patience = (int64_t)s->live.wait * 1000;
	struct buf step = { 0 }, how = { 0 };
	enum child_news news;
	char kind = SAY_STEP;
	const char *result;
	int state, at = 0;

	buf_adds(&step, "starting");
	for (;;) {
		int64_t more = takes_long(s, buf_str(&step)) ? READING_MS : 0;

		news = child_receive(s->worker.fd, &kind, &s->answer, clock_ms() + patience + more);
		if (news != CHILD_FRAME || kind == SAY_RESULT)
			break;
		buf_clear(&step);
		buf_add(&step, s->answer.data, s->answer.len);
	}
	switch (news) {
	case CHILD_FRAME:
		result = s->answer.data;
		state = HEALTH_UNKNOWN;
		sscanf(result, "%d %" SCNu64 " %n", &state, &h->records, &at);
		if (at == 0)
			find(h, HEALTH_UNKNOWN, "no result");
		else if (state == HEALTH_HEALTHY)
			find(h, HEALTH_HEALTHY, "%" PRIu64 " record%s", h->records, h->records == 1 ? "" : "s");
		else
			find(h, (enum health_state)state, "%s", result + at);
		worker_end(&s->worker, clock_ms() + patience, &how);
		break;
	case CHILD_SILENT:
		find(h, s->live.config != NULL ? HEALTH_WEDGED : HEALTH_UNKNOWN, "no answer for %u s while %s", s->live.wait,
		     buf_str(&step));
		worker_leave(&s->worker);
		fence_leave(&s->fence);
		break;
	case CHILD_GONE:
		/* damage is what led it astray; a child that was killed, or had no memory, says nothing about the map */
		if (worker_end(&s->worker, clock_ms() + patience, &how))
			buf_adds(&how, "the child has ended");
		find(h, s->worker.crashed ? HEALTH_DAMAGED : HEALTH_UNKNOWN, "%s: %s", buf_str(&step), buf_str(&how));
		break;
	}
	buf_free(&step);
	buf_free(&how);
}

/* How often a process gave up the processor: one that hangs never does again. */
static uint64_t switches_of(pid_t pid)
{
	char *path = xasprintf("/proc/%ld/status", (long)pid), line[256];
	FILE *f = fopen(path, "re");
	uint64_t sum = 0, n;

	while (f != NULL && fgets(line, sizeof line, f) != NULL)
		if (sscanf(line, "%*[a-z]_ctxt_switches: %" SCNu64, &n) == 1)
			sum += n;
	if (f != NULL)
		fclose(f);
	free(path);
	return sum;
}

static uint64_t switches_of_changers(const struct users *users)
{
	uint64_t sum = 0;

	for (size_t i = 0; i < users->count; i++)
		if ((users->list[i].uses & USES_FENCE) != 0 && (users->list[i].uses & USES_REGIONS) != 0)
			sum += switches_of(users->list[i].pid);
	return sum;
}

/* Takes the fence; if that is not possible: is the process that holds it still working? */
static bool take_fence(struct health *h, struct service *s)
{
	struct buf why = { 0 };
	uint64_t before = switches_of_changers(&h->users);
	int status = service_fence(s, &why);

	if (status == EX_TEMPFAIL && before != 0 && switches_of_changers(&h->users) == before)
		find(h, HEALTH_WEDGED, "%s", buf_str(&why));
	else if (status != EX_OK)
		find(h, HEALTH_UNKNOWN, "%s", buf_str(&why));
	buf_free(&why);
	return status == EX_OK;
}

static char *home_of(const char *config)
{
	struct env_config c;
	struct buf why = { 0 };
	char *home = NULL;

	if (config != NULL && env_config_read(&c, config, &why) == EX_OK) {
		home = xstrdup(c.home);
		env_config_free(&c);
	}
	buf_free(&why);
	return home;
}

static bool is_there(struct health *h, const struct livemap *u)
{
	char *journal = journal_path(u->path);
	bool has_journal = access(journal, F_OK) == 0, unsure = !has_journal && errno != ENOENT, there = access(u->path, F_OK) == 0;

	if (there && unsure)
		find(h, HEALTH_UNKNOWN, "%s cannot be looked at", journal);
	else if (!there)
		find(h, errno == ENOENT && has_journal ? HEALTH_DAMAGED : HEALTH_UNKNOWN, "%s: %s%s", u->path, strerror(errno),
		     has_journal ? ", but its journal is there" : "");
	else if (has_journal && u->config == NULL)
		find(h, HEALTH_UNKNOWN, "%s is in an environment (there is a journal); name its file by -C", u->path);
	free(journal);
	return there && h->state == HEALTH_HEALTHY;
}

void health_check(struct health *h, const struct livemap_settings *settings)
{
	struct buf why = { 0 };
	int status = EX_OK;
	struct livemap *u = livemap_new(settings, &status, &why);
	char *home = home_of(settings->config), *fence;
	struct users_of of;

	*h = (struct health){ .state = HEALTH_HEALTHY };
	if (u == NULL) {
		find(h, HEALTH_UNKNOWN, "%s", buf_str(&why));
	} else {
		fence = fence_path(u->path);
		of = (struct users_of){ .home = home, .map = u->path, .fence = fence };
		users_find(&h->users, &of);
		if (is_there(h, u) && take_fence(h, &u->service)) {
			unsigned n;

			if (worker_start(&u->service.worker, serve, &u->service.live, u->service.fence.fd))
				follow(h, &u->service);
			else
				find(h, HEALTH_UNKNOWN, "cannot start a process: %s", strerror(errno));
			/* leavings of killed programs are no danger, but the administrator should know */
			n = live_litter(u->path);
			if (n > 0 && h->state == HEALTH_HEALTHY)
				find(h, HEALTH_STALE,
				     "%" PRIu64 " record%s; %u temporary files of killed programs beside the map", h->records,
				     h->records == 1 ? "" : "s", n);
		}
		free(fence);
	}
	livemap_close(&u);
	free(home);
	buf_free(&why);
}
