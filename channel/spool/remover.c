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
#include "lib/log.h"

struct pair {
	void *owner;
	char *control, *message;
};

struct pairs {
	struct pair *list;
	size_t count, capacity;
};

struct remover {
	pthread_t thread;
	pthread_mutex_t lock;
	pthread_cond_t changed;
	struct pairs waiting, done;
	bool ending;
};

static bool is_removed(const char *path)
{
	if (unlink(path) == 0 || errno == ENOENT)
		return true;
	complain("cannot remove %s: %s", path, strerror(errno));
	return false;
}

static void remove_all(struct pairs *pairs)
{
	for (size_t i = 0; i < pairs->count; i++) {
		struct pair *p = &pairs->list[i];

		if (is_removed(p->control))
			is_removed(p->message);
		free(p->control);
		free(p->message);
	}
}

static void append(struct pairs *to, struct pair pair)
{
	to->list = xgrow(to->list, to->count, &to->capacity, sizeof *to->list);
	to->list[to->count++] = pair;
}

static void *work(void *context)
{
	struct remover *r = context;
	struct pairs mine = { 0 }, swap;

	for (;;) {
		pthread_mutex_lock(&r->lock);
		for (size_t i = 0; i < mine.count; i++)
			append(&r->done, mine.list[i]);
		mine.count = 0;
		while (r->waiting.count == 0 && !r->ending)
			pthread_cond_wait(&r->changed, &r->lock);
		swap = mine;
		mine = r->waiting;
		r->waiting = swap;
		pthread_mutex_unlock(&r->lock);
		if (mine.count == 0)
			break;
		remove_all(&mine);
	}
	free(mine.list);
	return NULL;
}

struct remover *remover_create(void)
{
	struct remover *r = xcalloc(1, sizeof *r);
	sigset_t all, old;
	int error;

	pthread_mutex_init(&r->lock, NULL);
	pthread_cond_init(&r->changed, NULL);
	/* signals are for the thread that waits for them */
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	error = pthread_create(&r->thread, NULL, work, r);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	if (error != 0)
		die(EX_OSERR, "cannot start a thread: %s", strerror(error));
	return r;
}

void remover_take(struct remover *r, void *owner, char *control_file, char *message_file)
{
	pthread_mutex_lock(&r->lock);
	append(&r->waiting, (struct pair){ owner, control_file, message_file });
	if (r->waiting.count == 1)
		pthread_cond_signal(&r->changed);
	pthread_mutex_unlock(&r->lock);
}

void *remover_removed(struct remover *r)
{
	void *owner = NULL;

	pthread_mutex_lock(&r->lock);
	if (r->done.count > 0)
		owner = r->done.list[--r->done.count].owner;
	pthread_mutex_unlock(&r->lock);
	return owner;
}

void remover_destroy(struct remover **remover)
{
	struct remover *r = *remover;

	pthread_mutex_lock(&r->lock);
	r->ending = true;
	pthread_cond_signal(&r->changed);
	pthread_mutex_unlock(&r->lock);
	pthread_join(r->thread, NULL);
	pthread_cond_destroy(&r->changed);
	pthread_mutex_destroy(&r->lock);
	free(r->waiting.list);
	free(r->done.list);
	free(r);
	*remover = NULL;
}
