#include "channel/spool/remover.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>
#include <unistd.h>

#include "lib/alloc.h"
#include "lib/clock.h"
#include "lib/log.h"

/* Where unlink(2) waits for the disk, this many wait at once. */
#define THREADS 4
/* What one of them takes at a time, so that all get some, and is worth waking it for. */
#define BATCH 16
/* A smaller batch waits as long for others, in milliseconds. */
#define PAUSE 20

struct pair {
	void *owner;
	const char *control, *message;
};

struct pairs {
	struct pair *list;
	size_t count, capacity;
};

struct remover {
	struct pairs gathered;     /* the threads have not seen them yet */
	int64_t gathered_at;       /* when the first of them came */
	struct pairs removed;      /* the threads have done them, their owners do not know yet */
	pthread_t threads[THREADS];
	pthread_mutex_t lock;
	pthread_cond_t changed;
	struct pairs waiting, done;    /* below the lock, with what follows */
	bool ending;
};

static bool is_removed(const char *path)
{
	if (unlink(path) == 0 || errno == ENOENT)
		return true;
	complain("cannot remove %s: %s", path, strerror(errno));
	return false;
}

static void remove_pair(const struct pair *p)
{
	if (is_removed(p->control))
		is_removed(p->message);
}

static void append(struct pairs *to, struct pair pair)
{
	to->list = xgrow(to->list, to->count, &to->capacity, sizeof *to->list);
	to->list[to->count++] = pair;
}

/* Takes up to BATCH pairs, waiting for the first.  Returns how many; 0 at the end. */
static size_t take_batch(struct remover *r, struct pair *batch)
{
	size_t n;

	while (r->waiting.count == 0 && !r->ending)
		pthread_cond_wait(&r->changed, &r->lock);
	n = r->waiting.count < BATCH ? r->waiting.count : BATCH;
	r->waiting.count -= n;
	for (size_t i = 0; i < n; i++)
		batch[i] = r->waiting.list[r->waiting.count + i];
	return n;
}

static void *work(void *context)
{
	struct remover *r = context;
	struct pair batch[BATCH];
	size_t n;

	pthread_mutex_lock(&r->lock);
	while ((n = take_batch(r, batch)) > 0) {
		pthread_mutex_unlock(&r->lock);
		for (size_t i = 0; i < n; i++)
			remove_pair(&batch[i]);
		pthread_mutex_lock(&r->lock);
		for (size_t i = 0; i < n; i++)
			append(&r->done, batch[i]);
	}
	pthread_mutex_unlock(&r->lock);
	return NULL;
}

struct remover *remover_create(void)
{
	struct remover *r = xcalloc(1, sizeof *r);
	sigset_t all, old;
	int error = 0;

	pthread_mutex_init(&r->lock, NULL);
	pthread_cond_init(&r->changed, NULL);
	/* signals are for the thread that waits for them */
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	for (size_t i = 0; i < THREADS && error == 0; i++)
		error = pthread_create(&r->threads[i], NULL, work, r);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	if (error != 0)
		die(EX_OSERR, "cannot start a thread: %s", strerror(error));
	return r;
}

/* Moves all of them behind what is there. */
static void move_all(struct pairs *to, struct pairs *from)
{
	for (size_t i = 0; i < from->count; i++)
		append(to, from->list[i]);
	from->count = 0;
}

static void hand_over(struct remover *r)
{
	pthread_mutex_lock(&r->lock);
	move_all(&r->waiting, &r->gathered);
	pthread_cond_signal(&r->changed);
	pthread_mutex_unlock(&r->lock);
}

void remover_take(struct remover *r, void *owner, const char *control_file, const char *message_file)
{
	if (r->gathered.count == 0)
		r->gathered_at = clock_ms();
	append(&r->gathered, (struct pair){ owner, control_file, message_file });
	if (r->gathered.count >= BATCH)
		hand_over(r);
}

int64_t remover_deadline(const struct remover *r)
{
	return r->gathered.count > 0 ? r->gathered_at + PAUSE : CLOCK_NEVER;
}

void remover_run(struct remover *r)
{
	if (r->gathered.count > 0 && clock_ms() >= remover_deadline(r))
		hand_over(r);
}

void *remover_removed(struct remover *r)
{
	if (r->removed.count == 0) {
		pthread_mutex_lock(&r->lock);
		move_all(&r->removed, &r->done);
		pthread_mutex_unlock(&r->lock);
	}
	return r->removed.count > 0 ? r->removed.list[--r->removed.count].owner : NULL;
}

void remover_destroy(struct remover **remover)
{
	struct remover *r = *remover;

	pthread_mutex_lock(&r->lock);
	move_all(&r->waiting, &r->gathered);
	r->ending = true;
	pthread_cond_broadcast(&r->changed);
	pthread_mutex_unlock(&r->lock);
	for (size_t i = 0; i < THREADS; i++)
		pthread_join(r->threads[i], NULL);
	pthread_cond_destroy(&r->changed);
	pthread_mutex_destroy(&r->lock);
	free(r->gathered.list);
	free(r->removed.list);
	free(r->waiting.list);
	free(r->done.list);
	free(r);
	*remover = NULL;
}
