/*
 * Changes under the write lock of an environment, a few at a time.
 */
#include <stdlib.h>
#include <sysexits.h>
#include <time.h>

#include "db/live/cdb/environment.h"
#include "db/live/cdb/locks.h"
#include "db/store/bdb.h"
#include "lib/clock.h"

/*
 * How long a lock is held, and how much longer it is then left to others: at least half of the time is theirs.  Where readers
 * leave it so rarely that we wait for long, more is done at once.
 */
#define HOLD_NS 200000
#define HOLD_AT_MOST_NS 5000000
#define REST 2
#define REST_AT_LEAST_NS 300000

/* The clock is looked at after so many changes. */
#define STEP 10

#define POLL_NS 20000
#define POLL_SLOW_NS 1000000
#define QUICK_POLLS 200

/* While the lock is held, dead holders are looked for at once and then now and then. */
#define LOOK_AFTER_MS 100
#define LOOK_AGAIN_MS 1000

/* ---- the lock --------------------------------------------------------------------------- */

struct wait {
	int64_t deadline;
	int64_t look;            /* when to look for the dead */
	unsigned polls;
	bool hopeless;           /* a dead writer has it */
	struct buf holders;
};

static struct wait begin_wait(const struct live *live)
{
	int64_t now = clock_ms();

	return (struct wait){ .deadline = now + (int64_t)live->wait * 1000, .look = now + LOOK_AFTER_MS };
}

/* After a poll in vain: false when it is time to give up. */
static bool wait_more(const struct live *live, struct wait *w)
{
	struct environment *e = live->state;
	int64_t now;

	clock_pause(++w->polls < QUICK_POLLS ? POLL_NS : POLL_SLOW_NS);
	now = clock_ms();
	if (now >= w->look) {
		buf_clear(&w->holders);
		w->hopeless = locks_look(env_handle(e->env), e->config.home, true, &w->holders) == LOCKS_DEAD_WRITER;
		if (w->hopeless)
			return false;
		w->look = now + LOOK_AGAIN_MS;
	}
	return now < w->deadline;
}

static int end_wait(const struct live *live, struct wait *w, int code, struct buf *why)
{
	int status = EX_OK;

	if (code == DB_LOCK_NOTGRANTED)
		status = live_fail_healable(live, EX_TEMPFAIL, why, "cannot get the write lock within %u s: %s%s", live->wait,
		                            w->holders.len > 0 ? w->holders.data : "other programs got it first",
		                            w->hopeless ? "" : "; if that does not end");
	else if (code != 0)
		status = environment_fail(live, "lock", code, why);
	buf_free(&w->holders);
	return status;
}

/* Takes the lock of the map for `locker`, without ever standing in the queue. */
static int take_lock(const struct live *live, u_int32_t locker, db_lockmode_t mode, DB_LOCK *lock, struct buf *why)
{
	struct environment *e = live->state;
	DB_ENV *env = env_handle(e->env);
	/* what CDB itself locks: one object for each file */
	DBT object = { .data = e->db->fileid, .size = DB_FILE_ID_LEN };
	struct wait w = begin_wait(live);
	int code;

	do
		code = env->lock_get(env, locker, DB_LOCK_NOWAIT, &object, mode, lock);
	while (code == DB_LOCK_NOTGRANTED && wait_more(live, &w));
	return end_wait(live, &w, code, why);
}

int environment_ask_lock(const struct live *live, db_lockmode_t mode, struct buf *why)
{
	struct environment *e = live->state;
	struct wait w = begin_wait(live);
	bool is_free;

	while (!(is_free = env_lock_is_free(e->env, e->db, mode, 0)) && wait_more(live, &w))
		;
	return end_wait(live, &w, is_free ? 0 : DB_LOCK_NOTGRANTED, why);
}

/* ---- changes -------------------------------------------------------------------------------- */

static int64_t nanoseconds(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

struct slice {
	const struct change *list;
	size_t count;
	size_t made;             /* of these, under the lock so far */
	int64_t waited;          /* ns for the lock */
	int64_t held;            /* ns */
};

/* Makes changes while the time is not over; 0 or a code of libdb. */
static int fill_slice(struct environment *e, DB_TXN *group, struct slice *s)
{
	int64_t began = nanoseconds(), most = s->waited / REST;
	int code = 0;

	most = most < HOLD_NS ? HOLD_NS : most > HOLD_AT_MOST_NS ? HOLD_AT_MOST_NS : most;
	while (code == 0 && s->made < s->count && s->held < most) {
		code = bdb_change(e->db, group, &s->list[s->made++]);
		if (s->made % STEP == 0)
			s->held = nanoseconds() - began;
	}
	s->held = nanoseconds() - began;
	return code;
}

static int make_slice(const struct live *live, struct slice *s, struct buf *why)
{
	struct environment *e = live->state;
	DB_ENV *env = env_handle(e->env);
	int64_t began = nanoseconds();
	DB_TXN *group;
	DB_LOCK lock;
	int code = env->cdsgroup_begin(env, &group), ended, status;

	if (code != 0)
		return environment_fail(live, "group", code, why);
	status = take_lock(live, group->id(group), DB_LOCK_WRITE, &lock, why);
	s->waited = nanoseconds() - began;
	if (status == EX_OK)
		code = fill_slice(e, group, s);
	/* gives the lock back, too */
	ended = group->commit(group, 0);
	if (status == EX_OK && (code != 0 || ended != 0))
		status = environment_fail(live, "change", code != 0 ? code : ended, why);
	return status;
}

int environment_change(const struct live *live, const struct change *list, size_t count, struct buf *why)
{
	int status = EX_OK;

	for (size_t done = 0; status == EX_OK && done < count;) {
		struct slice s = { .list = list + done, .count = count - done };
		int64_t rest;

		status = make_slice(live, &s, why);
		done += s.made;
		live_progress(live);
		/* the time in which we waited was the readers' */
		rest = s.held * REST - s.waited;
		if (done < count && rest > 0)
			clock_pause(rest > REST_AT_LEAST_NS ? (long)rest : REST_AT_LEAST_NS);
	}
	return status;
}
