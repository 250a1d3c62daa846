#include "db/live/cdb/locks.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>
#include <unistd.h>

#include "db/live/cdb/users.h"
#include "lib/alloc.h"

struct locker {
	unsigned long id;
	pid_t pid;
	bool in_the_way;         /* holds a lock that keeps others waiting, or stands in the queue for it */
	bool wrote;              /* holds a write lock, so it may have changed something */
};

struct table {
	struct locker *list;
	size_t count;
	size_t capacity;
};

/* libdb hands lines to a callback without a context; a worker has one thread that reads. */
static struct table *reading;

/*
 * What lock_stat_print() of 5.3 says: a line for each locker, followed by one for each of its locks:
 *   "       3 dd= 0 locks held 1    write locks 0    pid/thread 4711/140...  flags 0    priority 100"
 *   "       3 READ          1 HELD    0x12d58 len:  20 data: ..."
 *   "       4 READ          1 HELD    (a7c013 fe00 60274af0 2761 0) handle        0"
 * The last is what every process has for each map that is open; it is in no other's way.
 */
static void read_line(const DB_ENV *env, const char *line)
{
	unsigned long id, references;
	char mode[24], status[24];
	long dd, pid;
	int held, writes;

	(void)env;
	if (sscanf(line, "%lx dd=%ld locks held %d write locks %d pid/thread %ld", &id, &dd, &held, &writes, &pid) == 5) {
		reading->list = xgrow(reading->list, reading->count, &reading->capacity, sizeof *reading->list);
		reading->list[reading->count++] = (struct locker){ .id = id, .pid = (pid_t)pid };
	} else if (reading->count > 0 && sscanf(line, "%lx %23s %lu %23s", &id, mode, &references, status) == 4) {
		struct locker *locker = &reading->list[reading->count - 1];

		if (id != locker->id || strstr(line, ") handle ") != NULL)
			return;
		locker->in_the_way = true;
		/* a lock that waits or was just granted ("PENDING") has not been used */
		if (strcmp(mode, "READ") != 0 && strcmp(status, "HELD") == 0)
			locker->wrote = true;
	}
}

static bool give_back(DB_ENV *env, const struct locker *locker)
{
	DB_LOCKREQ all = { .op = DB_LOCK_PUT_ALL };

	if (env->lock_vec(env, (u_int32_t)locker->id, 0, &all, 1, NULL) != 0)
		return false;
	env->lock_id_free(env, (u_int32_t)locker->id);
	return true;
}

/* The processes that use the environment; looked for when it first matters. */
struct attached {
	const char *home;
	struct users users;
	bool known;
};

/* Another process may have got the number of one that has ended: then it does not use the environment. */
static bool is_dead(struct attached *a, const struct locker *l)
{
	const struct users_of of = { .home = a->home };

	if (l->pid == getpid())
		return false;
	if (kill(l->pid, 0) < 0 && errno == ESRCH)
		return true;
	if (!l->in_the_way)
		return false;
	if (!a->known)
		users_find(&a->users, &of);
	a->known = true;
	return !users_has_attached(&a->users, l->pid);
}

static enum locks_state judge(DB_ENV *env, const struct table *table, struct attached *attached, bool give, struct buf *text)
{
	enum locks_state state = LOCKS_CLEAN;

	for (size_t i = 0; i < table->count; i++) {
		const struct locker *l = &table->list[i];
		bool freed;

		if (!is_dead(attached, l))
			continue;
		if (l->in_the_way)
			buf_addf(text, "%sprocess %ld has ended with a %s lock", text->len > 0 ? ", " : "", (long)l->pid,
			         l->wrote ? "write" : "read");
		if (l->wrote)
			return LOCKS_DEAD_WRITER;
		freed = give && give_back(env, l);
		if (l->in_the_way)
			state = freed ? LOCKS_FREED : LOCKS_DEAD_READER;
	}
	for (size_t i = 0; state == LOCKS_CLEAN && i < table->count; i++)
		if (table->list[i].in_the_way && table->list[i].pid != getpid())
			buf_addf(text, "%sprocess %ld holds a lock", text->len > 0 ? ", " : "", (long)table->list[i].pid);
	return state;
}

enum locks_state locks_look(DB_ENV *env, const char *home, bool give, struct buf *text)
{
	struct attached attached = { .home = home };
	struct table table = { 0 };
	enum locks_state state = LOCKS_UNKNOWN;
	int code;

	reading = &table;
	env->set_msgcall(env, read_line);
	code = env->lock_stat_print(env, DB_STAT_LOCK_LOCKERS);
	env->set_msgcall(env, NULL);
	reading = NULL;
	if (code == 0)
		state = judge(env, &table, &attached, give, text);
	users_free(&attached.users);
	free(table.list);
	return state;
}
