#include "channel/server/committer.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sysexits.h>
#include <unistd.h>

#include "lib/alloc.h"
#include "lib/clock.h"
#include "lib/log.h"

/*
 * Milliseconds that accepted messages wait for others to be synced with.  Most are delivered and removed before, so that their
 * files are never written.  After a power cut those can come twice (INTERNALS).
 */
#define PACE 200

/* Milliseconds between two lines about a journal that cannot be written. */
#define TELL_AGAIN 60000

/* Messages, and what is known of each. */
struct batch {
	struct committed *list;
	size_t count, capacity;
};

/* A thread, and what it waits for. */
struct stage {
	pthread_t thread;
	pthread_cond_t wake;
	struct batch waiting;      /* with the lock */
	bool end;                  /* with the lock: nothing comes any more */
};

struct committer {
	struct spool_journal *journal;
	pthread_mutex_t lock;
	int done_fd;               /* eventfd: there is something in `done` */
	struct batch given;        /* of committer_give(), until committer_start() */
	struct stage record, settle;
	struct batch done;         /* with the lock */
	size_t urgent;             /* with the lock: messages to be settled that are not accepted */
	size_t told;               /* of those in `done`: how many committer_next() has given back */
	_Atomic int64_t tell_at;   /* when trouble with the journal may be logged again */
	struct committer_figures figures;
};

static void add(struct batch *b, struct committed one)
{
	b->list = xgrow(b->list, b->count, &b->capacity, sizeof *b->list);
	b->list[b->count++] = one;
}

static void move_all(struct batch *from, struct batch *to)
{
	for (size_t i = 0; i < from->count; i++)
		add(to, from->list[i]);
	from->count = 0;
}

static struct spool_draft **drafts_of(const struct batch *b)
{
	struct spool_draft **drafts = xcalloc(b->count + 1, sizeof *drafts);

	for (size_t i = 0; i < b->count; i++)
		drafts[i] = b->list[i].draft;
	return drafts;
}

/* With the lock: there may be something in `done`. */
static void wake_receiver(struct committer *c)
{
	if (c->told < c->done.count && eventfd_write(c->done_fd, 1) < 0)
		complain("eventfd: %s", strerror(errno));
}

/* False at the end. */
static bool wait_for_batch(struct committer *c, struct stage *s, const struct batch *working)
{
	while (s->waiting.count == 0 && working->count == 0 && !s->end)
		pthread_cond_wait(&s->wake, &c->lock);
	return s->waiting.count + working->count > 0;
}

/* Without a journal all is as safe, and slower. */
static void tell(struct committer *c)
{
	int code = errno;
	int64_t now = clock_ms(), at = c->tell_at;

	if (at <= now && atomic_compare_exchange_strong(&c->tell_at, &at, now + TELL_AGAIN))
		complain("%s cannot be written: %s; messages are accepted when their own files are on the disk",
		         spool_journal_path(c->journal), strerror(code));
}

/* Each wait for the journal is for the messages that came during the one before. */
static void *record(void *context)
{
	struct committer *c = context;
	struct batch working = { 0 };

	pthread_mutex_lock(&c->lock);
	while (wait_for_batch(c, &c->record, &working)) {
		int64_t begun = clock_ms();
		struct spool_draft **drafts;
		bool idle;

		move_all(&c->record.waiting, &working);
		pthread_mutex_unlock(&c->lock);
		drafts = drafts_of(&working);
		spool_name(drafts, working.count);
		if (c->journal != NULL && !spool_record(drafts, working.count, c->journal))
			tell(c);
		pthread_mutex_lock(&c->lock);
		idle = c->settle.waiting.count == 0;
		c->figures.batches++;
		c->figures.messages += working.count;
		c->figures.ms += (uint64_t)(clock_ms() - begun);
		for (size_t i = 0; i < working.count; i++) {
			struct committed one = working.list[i];

			/* one that failed behind its entry is still to be settled there */
			one.settled = spool_status(one.draft) != EX_OK && !spool_is_in_journal(one.draft);
			if (one.settled || spool_is_recorded(one.draft)) {
				add(&c->done, one);
				one.owner = NULL;
			}
			if (one.settled)
				continue;
			c->urgent += one.owner != NULL;
			add(&c->settle.waiting, one);
		}
		wake_receiver(c);
		if (idle || c->urgent > 0)
			pthread_cond_signal(&c->settle.wake);
		working.count = 0;
		free(drafts);
	}
	c->settle.end = true;
	pthread_cond_signal(&c->settle.wake);
	pthread_mutex_unlock(&c->lock);
	free(working.list);
	return NULL;
}

/* Each step is for the messages that came meanwhile, and for those that the one before made visible. */
static void *settle(void *context)
{
	struct committer *c = context;
	struct batch working = { 0 };

	pthread_mutex_lock(&c->lock);
	while (wait_for_batch(c, &c->settle, &working)) {
		int64_t end = clock_ms() + PACE;
		struct timespec until = { .tv_sec = end / 1000, .tv_nsec = end % 1000 * 1000000 };
		struct spool_draft **drafts;
		size_t left = 0;

		while (c->urgent == 0 && !c->settle.end && clock_ms() < end)
			pthread_cond_timedwait(&c->settle.wake, &c->lock, &until);
		move_all(&c->settle.waiting, &working);
		pthread_mutex_unlock(&c->lock);
		drafts = drafts_of(&working);
		if (!spool_commit_step(drafts, working.count, c->journal))
			tell(c);
		free(drafts);
		pthread_mutex_lock(&c->lock);
		/* those that are done are reported, and the others stay */
		for (size_t i = 0; i < working.count; i++) {
			struct committed one = working.list[i];

			one.settled = true;
			if (spool_is_done(one.draft)) {
				c->urgent -= one.owner != NULL;
				add(&c->done, one);
			} else {
				working.list[left++] = working.list[i];
			}
		}
		wake_receiver(c);
		working.count = left;
	}
	pthread_mutex_unlock(&c->lock);
	free(working.list);
	return NULL;
}

static void start(struct committer *c, struct stage *s, void *(*work)(void *))
{
	sigset_t all, before;
	pthread_condattr_t attributes;
	int error;

	pthread_condattr_init(&attributes);
	pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
	pthread_cond_init(&s->wake, &attributes);
	pthread_condattr_destroy(&attributes);
	/* signals are for the loop */
	sigfillset(&all);
	pthread_sigmask(SIG_BLOCK, &all, &before);
	error = pthread_create(&s->thread, NULL, work, c);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	if (error != 0)
		die(EX_OSERR, "cannot start a thread: %s", strerror(error));
}

struct committer *committer_create(struct spool_journal *journal)
{
	struct committer *c = xcalloc(1, sizeof *c);

	c->journal = journal;
	c->done_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (c->done_fd < 0)
		die(EX_OSERR, "eventfd: %s", strerror(errno));
	pthread_mutex_init(&c->lock, NULL);
	start(c, &c->settle, settle);
	start(c, &c->record, record);
	return c;
}

void committer_stop(struct committer *c)
{
	pthread_mutex_lock(&c->lock);
	c->record.end = true;
	pthread_cond_signal(&c->record.wake);
	pthread_mutex_unlock(&c->lock);
	pthread_join(c->record.thread, NULL);
	pthread_join(c->settle.thread, NULL);
}

void committer_destroy(struct committer **at)
{
	struct committer *c = *at;

	pthread_mutex_destroy(&c->lock);
	pthread_cond_destroy(&c->record.wake);
	pthread_cond_destroy(&c->settle.wake);
	free(c->given.list);
	free(c->record.waiting.list);
	free(c->settle.waiting.list);
	free(c->done.list);
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
	add(&c->given, (struct committed){ .draft = draft, .owner = owner });
}

void committer_start(struct committer *c)
{
	if (c->given.count == 0)
		return;
	pthread_mutex_lock(&c->lock);
	move_all(&c->given, &c->record.waiting);
	pthread_cond_signal(&c->record.wake);
	pthread_mutex_unlock(&c->lock);
}

bool committer_next(struct committer *c, struct committed *committed)
{
	bool found = false;
	eventfd_t count;

	pthread_mutex_lock(&c->lock);
	if (c->told < c->done.count) {
		*committed = c->done.list[c->told++];
		found = true;
	} else if (c->told > 0) {
		c->told = c->done.count = 0;
		if (eventfd_read(c->done_fd, &count) < 0 && errno != EAGAIN)
			complain("eventfd: %s", strerror(errno));
	}
	pthread_mutex_unlock(&c->lock);
	return found;
}

struct committer_figures committer_figures(struct committer *c)
{
	struct committer_figures figures;

	pthread_mutex_lock(&c->lock);
	figures = c->figures;
	pthread_mutex_unlock(&c->lock);
	return figures;
}
