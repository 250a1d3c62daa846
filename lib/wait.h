/*
 * Waiting for descriptors and signals at once.  Programs that do so block their signals all the time but here, so that
 * none is missed right before.
 */
#ifndef ZL_LIB_WAIT_H
#define ZL_LIB_WAIT_H

#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * Has `handler` called for these signals from now on, but only within wait_for() with the mask *unblocked.  SIGPIPE is
 * ignored: what it would tell is an errno.
 */
void wait_catch(const int *signals, size_t n, void (*handler)(int sig), sigset_t *unblocked);

/* Does so for the signals that end a daemon, SIGTERM, SIGINT and SIGHUP; wait_is_over() once one of them has come. */
void wait_catch_end(sigset_t *unblocked);

/* Is a signal that ends programs blocked, and has it arrived?  For what waits elsewhere than in here. */
bool wait_is_told_to_end(void);
bool wait_is_over(void);

/*
 * As poll(2), until `deadline` of lib/clock.h, with `unblocked` as the signal mask.  Signals that have come are handled
 * before it returns, also where descriptors are ready at once each time.
 */
int wait_for(struct pollfd *fds, nfds_t n, int64_t deadline, const sigset_t *unblocked);

/*
 * The same for a server of many small questions, each of which would cost one system call more: where descriptors are ready at
 * once each time, signals that have come are handled within 50 ms.
 */
int wait_busily(struct pollfd *fds, nfds_t n, int64_t deadline, const sigset_t *unblocked);

#endif
