#include "channel/server/committer.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sysexits.h>
#include <unistd.h>

#include "lib/alloc.h"
#include "lib/clock.h"
#include "lib/log.h"

struct batch {
	struct spool_draft **drafts;
	void **owners;
	size_t count, capacity, owner_capacity;
};

struct committer {
	pthread_t thread;
	pthread_mutex_t lock;
	pthread_cond_t wake;
	int done_fd;               /* eventfd: a batch is done */
	struct batch gathering;
	struct batch batch;        /* the thread's while `busy` */
	size_t told;               /* of a batch that is done: how many committer_next() has given back */
	bool busy, done, end;
	struct committer_figures figures;
};

static void *work(void *context)
{
	struct committer *c = context;

	pthread_mutex_lock(&c->lock);
	for (;;) {
		int64_t begun;

		while (!c->busy && !c->end)
			pthread_cond_wait(&c->wake, &c->lock);
		if (!c->busy)
			break;
		pthread_mutex_unlock(&c->lock);
		begun = clock_ms();
		spool_commit(c->batch.drafts, c->batch.count);
		pthread_mutex_lock(&c->lock);
		c->figures.ms += (uint64_t)(clock_ms() - begun);
		c->busy = false;
		c->done = true;
		if (eventfd_write(c->done_fd, 1) < 0)
			complain("eventfd: %s", strerror(errno));
	}
	pthread_mutex_unlock(&c->lock);
	return NULL;
}

struct committer *committer_create(void)
{
	struct committer *c = xcalloc(1, sizeof *c);
	sigset_t all, before;
	int error;

	c->done_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (c->done_fd < 0)
		die(EX_OSERR, "eventfd: %s", strerror(errno));
	pthread_mutex_init(&c->lock, NULL);
	pthread_cond_init(&c->wake, NULL);
	/* signals are for the loop */
	sigfillset(&all);
	pthread_sigmask(SIG_BLOCK, &all, &before);
	error = pthread_create(&c->thread, NULL, work, c);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	if (error != 0)
		die(EX_OSERR, "cannot start a thread: %s", strerror(error));
	return c;
}

static void batch_free(struct batch *b)
{
	free(b->drafts);
	free(b->owners);
}

void committer_destroy(struct committer **at)
{
	struct committer *c = *at;

	pthread_mutex_lock(&c->lock);
	c->end = true;
	pthread_cond_signal(&c->wake);
	pthread_mutex_unlock(&c->lock);
	pthread_join(c->thread, NULL);
	pthread_mutex_destroy(&c->lock);
	pthread_cond_destroy(&c->wake);
	batch_free(&c->gathering);
	batch_free(&c->batch);
	close(c->done_fd);
	free(c);
	*at = NULL;
}

int committer_descriptor(const struct committer *c)
{
	return c->done_fd;
}

void committer_give(struct committer *c, struct spool_draft *draft, void *owner)
{
	struct batch *b = &c->gathering;

	b->drafts = xgrow(b->drafts, b->count, &b->capacity, sizeof(struct spool_draft *));
	b->owners = xgrow(b->owners, b->count, &b->owner_capacity, sizeof(void *));
	b->drafts[b->count] = draft;
	b->owners[b->count++] = owner;
}

void committer_start(struct committer *c)
{
	struct batch idle;

	if (c->gathering.count == 0)
		return;
	pthread_mutex_lock(&c->lock);
	if (!c->busy && !c->done) {
		idle = c->batch;
		c->batch = c->gathering;
		c->gathering = idle;
		c->gathering.count = 0;
		c->told = 0;
		c->busy = true;
		c->figures.batches++;
		c->figures.messages += c->batch.count;
		pthread_cond_signal(&c->wake);
	}
	pthread_mutex_unlock(&c->lock);
}

void *committer_next(struct committer *c, struct spool_draft **draft)
{
	eventfd_t count;
	bool done;

	pthread_mutex_lock(&c->lock);
	done = c->done;
	if (done && c->told == c->batch.count) {
		c->done = done = false;
		c->batch.count = c->told = 0;
		if (eventfd_read(c->done_fd, &count) < 0 && errno != EAGAIN)
			complain("eventfd: %s", strerror(errno));
	}
	pthread_mutex_unlock(&c->lock);
	if (!done)
		return NULL;
	*draft = c->batch.drafts[c->told];
	return c->batch.owners[c->told++];
}

struct committer_figures committer_figures(struct committer *c)
{
	struct committer_figures figures;

	pthread_mutex_lock(&c->lock);
	figures = c->figures;
	pthread_mutex_unlock(&c->lock);
	return figures;
}
