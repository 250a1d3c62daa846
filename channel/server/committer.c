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

/* Messages, and whom each belongs to. */
struct batch {
	struct spool_draft **drafts;
	void **owners;
	size_t count, capacity, owner_capacity;
};

struct committer {
	pthread_t thread;
	pthread_mutex_t lock;
	pthread_cond_t wake;
	int done_fd;               /* eventfd: there is something in `done` */
	struct batch given;        /* of who gives, until it starts them */
	struct batch started;      /* with the lock */
	struct batch working;      /* the thread's */
	struct batch done;         /* with the lock */
	size_t told;               /* of those in `done`: how many committer_next() has given back */
	bool end;
	struct committer_figures figures;
};

static void add(struct batch *b, struct spool_draft *draft, void *owner)
{
	b->drafts = xgrow(b->drafts, b->count, &b->capacity, sizeof(struct spool_draft *));
	b->owners = xgrow(b->owners, b->count, &b->owner_capacity, sizeof(void *));
	b->drafts[b->count] = draft;
	b->owners[b->count++] = owner;
}

static void move_all(struct batch *from, struct batch *to)
{
	for (size_t i = 0; i < from->count; i++)
		add(to, from->drafts[i], from->owners[i]);
	from->count = 0;
}

/* Each wait for the disk is for who came meanwhile, and for who was made visible behind the one before. */
static void *work(void *context)
{
	struct committer *c = context;

	pthread_mutex_lock(&c->lock);
	for (;;) {
		int64_t begun;
		struct batch *w;
		size_t left = 0;

		while (c->started.count == 0 && c->working.count == 0 && !c->end)
			pthread_cond_wait(&c->wake, &c->lock);
		if (c->started.count == 0 && c->working.count == 0)
			break;
		if (c->started.count > 0)
			c->figures.batches++;
		c->figures.messages += c->started.count;
		move_all(&c->started, &c->working);
		pthread_mutex_unlock(&c->lock);
		begun = clock_ms();
		spool_commit_step(c->working.drafts, c->working.count);
		pthread_mutex_lock(&c->lock);
		c->figures.ms += (uint64_t)(clock_ms() - begun);
		/* those that are done go to `done`, and the others stay */
		w = &c->working;
		for (size_t i = 0; i < w->count; i++) {
			if (spool_is_done(w->drafts[i])) {
				add(&c->done, w->drafts[i], w->owners[i]);
			} else {
				w->drafts[left] = w->drafts[i];
				w->owners[left++] = w->owners[i];
			}
		}
		if (left < w->count && eventfd_write(c->done_fd, 1) < 0)
			complain("eventfd: %s", strerror(errno));
		w->count = left;
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
	batch_free(&c->given);
	batch_free(&c->started);
	batch_free(&c->working);
	batch_free(&c->done);
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
	add(&c->given, draft, owner);
}

void committer_start(struct committer *c)
{
	if (c->given.count == 0)
		return;
	pthread_mutex_lock(&c->lock);
	move_all(&c->given, &c->started);
	pthread_cond_signal(&c->wake);
	pthread_mutex_unlock(&c->lock);
}

void *committer_next(struct committer *c, struct spool_draft **draft)
{
	void *owner = NULL;
	eventfd_t count;

	pthread_mutex_lock(&c->lock);
	if (c->told < c->done.count) {
		*draft = c->done.drafts[c->told];
		owner = c->done.owners[c->told++];
	} else if (c->told > 0) {
		c->told = c->done.count = 0;
		if (eventfd_read(c->done_fd, &count) < 0 && errno != EAGAIN)
			complain("eventfd: %s", strerror(errno));
	}
	pthread_mutex_unlock(&c->lock);
	return owner;
}

struct committer_figures committer_figures(struct committer *c)
{
	struct committer_figures figures;

	pthread_mutex_lock(&c->lock);
	figures = c->figures;
	pthread_mutex_unlock(&c->lock);
	return figures;
}
