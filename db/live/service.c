#include "db/live/service.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>
#include <unistd.h>

#include "lib/child.h"
#include "lib/clock.h"

/* Beyond the wait for locks, if the mode has no grace of its own: how long a worker may say nothing. */
#define GRACE_MS 5000

/* Between two signs of life. */
#define SIGN_MS 200

/* So many seconds after its parent has lost patience a worker ends itself. */
#define LIMIT_S 5

enum { SAY_ALIVE = 'p', SAY_ANSWER = 'a' };

static int64_t patience_for(const struct live *live)
{
	int64_t wait = (int64_t)live->wait * 1000, grace = (int64_t)live->operations->grace * 1000;

	return wait + (grace != 0 ? grace : wait < GRACE_MS ? wait : GRACE_MS);
}

/* ---- in the worker --------------------------------------------------------------------- */

struct duty {
	struct live *live;
	int fd;
	int64_t next_sign;
};

/* Beyond the patience of the parent, which has gone if it comes to that.  Within an environment nothing ends us. */
static void set_limit(const struct live *live)
{
	worker_limit(live->inside ? 0 : (unsigned)(patience_for(live) / 1000) + LIMIT_S);
}

static void show_life(void *context)
{
	struct duty *duty = context;
	int64_t now = clock_ms();

	if (now < duty->next_sign)
		return;
	duty->next_sign = now + SIGN_MS;
	set_limit(duty->live);
	child_send(duty->fd, SAY_ALIVE, NULL, 0, now + GRACE_MS);
}

static int serve_apply(struct live *live, struct buf *request, struct buf *why)
{
	struct live_batch batch = { .bytes = request };
	int status;

	live->written = (struct live_file){ 0 };
	if (request->len >= sizeof live->expected) {
		request->len -= sizeof live->expected;
		memcpy(&live->expected, request->data + request->len, sizeof live->expected);
	}
	if (!changes_decode(&batch.changes, buf_str(request), request->len))
		status = live_fail(live, EX_SOFTWARE, why, "a batch arrived damaged");
	else
		status = live->operations->apply(live, &batch, why);
	changes_free(&batch.changes);
	return status;
}

/* The answer is "+VALUE" or "-". */
static int serve_find(struct live *live, const struct buf *request, struct buf *out, struct buf *why)
{
	buf_addc(out, '+');
	switch (live->operations->find(live, buf_str(request), request->len, out, why)) {
	case MAP_FOUND:
		return EX_OK;
	case MAP_NOT_FOUND:
		out->len = 0;
		buf_addc(out, '-');
		return EX_OK;
	case MAP_COULD_NOT_TELL:
		break;
	}
	return EX_TEMPFAIL;
}

static int serve_one(struct live *live, char kind, struct buf *request, struct buf *out, struct buf *why)
{
	struct buf after = { 0 };

	switch (kind) {
	case ASK_OPEN:
		return live->operations->open(live, why);
	case ASK_APPLY:
		return serve_apply(live, request, why);
	case ASK_FIND:
		return serve_find(live, request, out, why);
	case ASK_WALK:
		/* the request is empty, for the start, or '>' and a key */
		if (request->len == 0)
			return live->operations->walk(live, NULL, out, why);
		after.data = request->data + 1;
		after.len = request->len - 1;
		return live->operations->walk(live, &after, out, why);
	default:
		return EX_SOFTWARE;
	}
}

static void serve(void *context, int fd)
{
	struct live *live = context;
	struct duty duty = { live, fd, 0 };
	struct buf request = { 0 }, out = { 0 }, why = { 0 };
	char kind;
	int status = EX_OK;
	bool ok = true;

	live->progress = show_life;
	live->progress_context = &duty;
	/* after trouble a new worker begins with new handles */
	while (ok && status == EX_OK && child_receive(fd, &kind, &request, CLOCK_NEVER) == CHILD_FRAME) {
		const struct buf *text;
		struct buf frame = { 0 };

		buf_clear(&out);
		buf_clear(&why);
		duty.next_sign = clock_ms() + SIGN_MS;
		set_limit(live);
		status = serve_one(live, kind, &request, &out, &why);
		/*
		 * a program that deletes a map does not wait for the fence: then there is none, whatever a library says of it
		 */
		if (status != EX_OK && kind != ASK_APPLY && access(live->path, F_OK) < 0 && errno == ENOENT) {
			buf_clear(&why);
			status = live_fail(live, EX_NOINPUT, &why, "%s", strerror(ENOENT));
		}
		worker_limit(0);
		text = status == EX_OK ? &out : &why;
		buf_addc(&frame, (char)status);
		if (kind == ASK_APPLY)
			buf_add(&frame, (const char *)&live->written, sizeof live->written);
		buf_add(&frame, buf_str(text), text->len);
		/* a parent that takes nothing is stopped or gone; this process stands outside the library and may wait */
		ok = child_send(fd, SAY_ANSWER, frame.data, frame.len, CLOCK_NEVER);
		buf_free(&frame);
	}
	live->operations->close(live);
	buf_free(&request);
	buf_free(&out);
	buf_free(&why);
}

/* ---- asking the worker ------------------------------------------------------------------- */

static int64_t patience(const struct service *s)
{
	return patience_for(&s->live);
}

static void stop_worker(struct service *s)
{
	struct buf how = { 0 };

	if (worker_runs(&s->worker))
		worker_end(&s->worker, clock_ms() + patience(s), &how);
	buf_free(&how);
}

int service_ask(struct service *s, char kind, const char *bytes, size_t n, struct buf *why)
{
	enum child_news news = CHILD_GONE;
	char said = SAY_ALIVE;
	int64_t heard = clock_ms();
	struct buf how = { 0 };

	s->written = (struct live_file){ 0 };
	if (child_send(s->worker.fd, kind, bytes, n, heard + patience(s))) {
		do {
			heard = clock_ms();
			news = child_receive(s->worker.fd, &said, &s->answer, heard + patience(s));
		} while (news == CHILD_FRAME && said == SAY_ALIVE);
	}
	switch (news) {
	case CHILD_FRAME:
		break;
	case CHILD_SILENT:
		/* It hangs, or is slow; to kill it could do harm (worker.h).  It keeps the fence. */
		live_fail(&s->live, EX_TEMPFAIL, why, "process %ld, which works on it, has reported nothing for %lld s: ",
		          (long)s->worker.pid,
		          (long long)(clock_ms() - heard) / 1000);
		buf_adds(why, s->live.config != NULL ? "the environment is wedged or the disk very slow; run "
		         : "the disk is very slow");
		if (s->live.config != NULL)
			live_add_recovery(&s->live, "", why);
		worker_leave(&s->worker);
		fence_leave(&s->fence);
		return EX_TEMPFAIL;
	case CHILD_GONE:
		if (worker_end(&s->worker, clock_ms() + patience(s), &how))
			buf_adds(&how, "has ended");
		/*
		 * within an environment it may have left locks, or half of a change; in the other ways the map is the old one
		 * or the new one
		 */
		if (s->live.config != NULL)
			live_fail_healable(&s->live, EX_TEMPFAIL, why, "the process that works on it: %s", buf_str(&how));
		else
			live_fail(&s->live, EX_TEMPFAIL, why, "the process that works on it: %s", buf_str(&how));
		buf_free(&how);
		return EX_TEMPFAIL;
	}
	if (s->answer.len == 0)
		return live_fail(&s->live, EX_SOFTWARE, why, "an empty answer");
	said = s->answer.data[0];
	buf_consume(&s->answer, 1);
	if (kind == ASK_APPLY && s->answer.len >= sizeof s->written) {
		memcpy(&s->written, s->answer.data, sizeof s->written);
		buf_consume(&s->answer, sizeof s->written);
	}
	if (said != EX_OK) {
		buf_add(why, s->answer.data, s->answer.len);
		stop_worker(s);
	}
	return said;
}

int service_fence(struct service *s, struct buf *why)
{
	const int64_t deadline = clock_ms() + (int64_t)s->live.wait * 1000;
	int status = EX_OK;

	for (;;) {
		if (s->fence.path == NULL)
			status = fence_open(&s->fence, s->live.path, why);
		if (status != EX_OK) {
			fence_close(&s->fence);
			return status;
		}
		status = fence_take(&s->fence, deadline, why);
		if (status != EX_OK || fence_is_named(&s->fence))
			return status;
		/* it was deleted; the worker has the old one, too */
		stop_worker(s);
		fence_close(&s->fence);
		if (clock_ms() >= deadline)
			return live_fail(&s->live, EX_TEMPFAIL, why, "its lock file is deleted again and again");
	}
}

int service_enter(struct service *s, struct buf *why)
{
	int status = service_fence(s, why);

	if (status != EX_OK)
		return status;
	if (worker_runs(&s->worker))
		status = EX_OK;
	else if (!worker_start(&s->worker, serve, &s->live, s->fence.fd))
		status = live_fail(&s->live, EX_OSERR, why, "cannot start a process: %s", strerror(errno));
	else
		status = service_ask(s, ASK_OPEN, NULL, 0, why);
	if (status != EX_OK)
		service_leave(s);
	return status;
}

void service_leave(struct service *s)
{
	fence_release(&s->fence);
}

void service_end(struct service *s)
{
	stop_worker(s);
	fence_close(&s->fence);
	buf_free(&s->answer);
}
