#include "channel/queue/remover.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>
#include <unistd.h>

#include "channel/spool/removals.h"
#include "lib/alloc.h"
#include "lib/clock.h"
#include "lib/file.h"
#include "lib/log.h"

/* Where unlink(2) waits for the disk, this many wait at once. */
#define THREADS 4
/* What one of them takes at a time, so that all get some, and is worth waking it for. */
#define BATCH 16
/* For fewer they are woken after as many milliseconds. */
#define PAUSE 20

struct pair {
	void *owner;
	const char *control, *message;
	bool gone;
};

struct pairs {
	struct pair *list;
	size_t count, capacity;
};

struct remover {
	struct removals *removals;
	pthread_t threads[THREADS];
	int64_t wake_at;           /* CLOCK_NEVER: they know of all that waits */
	size_t taken, returned;    /* pairs that came and owners that went */
	bool ended;                /* there are no threads any more */
	pthread_mutex_t lock;      /* for all below */
	pthread_cond_t changed;
	struct pairs waiting, done;
	bool ending;
};

static bool is_removed(const char *path, struct file_place *place)
{
	if (file_remove_found(path, place))
		return true;
	complain("cannot remove %s: %s", path, strerror(errno));
	return false;
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
	const char *messages[BATCH];
	struct file_place controls = { .is_open = false }, contents = { .is_open = false };
	size_t n;

	pthread_mutex_lock(&r->lock);
	while ((n = take_batch(r, batch)) > 0) {
		pthread_mutex_unlock(&r->lock);
		for (size_t i = 0; i < n; i++)
			messages[i] = batch[i].message;
		removals_add(r->removals, messages, n);
		for (size_t i = 0; i < n; i++) {
			batch[i].gone = is_removed(batch[i].control, &controls);
			if (batch[i].gone)
				is_removed(batch[i].message, &contents);
		}
		file_place_close(&controls);
		file_place_close(&contents);
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

	r->wake_at = CLOCK_NEVER;
	r->removals = removals_create("..");
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

/* What they do now is to be asked for a little later. */
static void wake(struct remover *r)
{
	pthread_cond_signal(&r->changed);
	r->wake_at = clock_ms() + PAUSE;
}

void remover_take(struct remover *r, void *owner, const char *control_file, const char *message_file)
{
	size_t count;

	pthread_mutex_lock(&r->lock);
	append(&r->waiting, (struct pair){ .owner = owner, .control = control_file, .message = message_file });
	r->taken++;
	count = r->waiting.count;
	pthread_mutex_unlock(&r->lock);
	if (count % BATCH == 0)
		wake(r);
	else if (r->wake_at == CLOCK_NEVER)
		r->wake_at = clock_ms() + PAUSE;
}

int64_t remover_deadline(const struct remover *r)
{
	return r->wake_at;
}

void remover_run(struct remover *r)
{
	if (r->wake_at == CLOCK_NEVER || clock_ms() < r->wake_at)
		return;
	if (r->returned < r->taken)
		wake(r);
	else
		r->wake_at = CLOCK_NEVER;
}

void *remover_removed(struct remover *r, bool *gone)
{
	void *owner = NULL;

	pthread_mutex_lock(&r->lock);
	if (r->done.count > 0) {
		const struct pair *p = &r->done.list[--r->done.count];

		owner = p->owner;
		*gone = p->gone;
		r->returned++;
	}
	pthread_mutex_unlock(&r->lock);
	return owner;
}

void remover_finish(struct remover *r)
{
	if (r->ended)
		return;
	pthread_mutex_lock(&r->lock);
	r->ending = true;
	pthread_cond_broadcast(&r->changed);
	pthread_mutex_unlock(&r->lock);
	for (size_t i = 0; i < THREADS; i++)
		pthread_join(r->threads[i], NULL);
	r->ended = true;
}

void remover_destroy(struct remover **remover)
{
	struct remover *r = *remover;

	remover_finish(r);
	removals_free(r->removals);
	pthread_cond_destroy(&r->changed);
	pthread_mutex_destroy(&r->lock);
	free(r->waiting.list);
	free(r->done.list);
	free(r);
	*remover = NULL;
}
