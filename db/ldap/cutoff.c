#include "db/ldap/cutoff.h"

#include <pthread.h>
#include <signal.h>
#include <sys/socket.h>
#include <sysexits.h>
#include <time.h>
#include <unistd.h>

#include "lib/clock.h"
#include "lib/log.h"

/* `lock` guards the rest; the thread sleeps on `changed` until there is a deadline, and then until it is past. */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed;
static pid_t owner;
static int64_t deadline = CLOCK_NEVER;
static int watched = -1;
static bool struck;

static void wait_until(int64_t when)
{
	struct timespec t = { .tv_sec = (time_t)(when / 1000), .tv_nsec = (long)(when % 1000) * 1000000 };

	if (when == CLOCK_NEVER)
		pthread_cond_wait(&changed, &lock);
	else
		pthread_cond_timedwait(&changed, &lock, &t);
}

static void *guard(void *unused)
{
	(void)unused;
	pthread_mutex_lock(&lock);
	for (;;) {
		if (deadline == CLOCK_NEVER || struck || clock_ms() < deadline) {
			wait_until(struck ? CLOCK_NEVER : deadline);
			continue;
		}
		struck = true;
		if (watched >= 0)
			shutdown(watched, SHUT_RDWR);
	}
	return NULL;
}

void cutoff_begin(int64_t when)
{
	pthread_condattr_t clock;
	pthread_attr_t detached;
	pthread_t thread;
	sigset_t all, before;
	int error;

	/* the thread, made when it is first needed; it does not live on in a forked child */
	if (owner != getpid()) {
		pthread_condattr_init(&clock);
		pthread_condattr_setclock(&clock, CLOCK_MONOTONIC);
		pthread_cond_init(&changed, &clock);
		pthread_condattr_destroy(&clock);
		pthread_attr_init(&detached);
		pthread_attr_setdetachstate(&detached, PTHREAD_CREATE_DETACHED);
		/* signals are for the main thread */
		sigfillset(&all);
		pthread_sigmask(SIG_SETMASK, &all, &before);
		error = pthread_create(&thread, &detached, guard, NULL);
		pthread_sigmask(SIG_SETMASK, &before, NULL);
		pthread_attr_destroy(&detached);
		if (error != 0)
			die(EX_OSERR, "cannot start a thread");
		owner = getpid();
	}
	pthread_mutex_lock(&lock);
	deadline = when;
	watched = -1;
	struck = false;
	pthread_cond_signal(&changed);
	pthread_mutex_unlock(&lock);
}

void cutoff_watch(int fd)
{
	pthread_mutex_lock(&lock);
	watched = fd;
	/* the time may have been up before there was a socket */
	if (struck && fd >= 0)
		shutdown(fd, SHUT_RDWR);
	pthread_mutex_unlock(&lock);
}

bool cutoff_end(void)
{
	bool late;

	pthread_mutex_lock(&lock);
	late = struck;
	deadline = CLOCK_NEVER;
	watched = -1;
	pthread_mutex_unlock(&lock);
	return late;
}
