#include "db/store/guard.h"

#include <setjmp.h>
#include <signal.h>
#include <stddef.h>
#include <stdlib.h>

static _Thread_local sigjmp_buf way_out;
static _Thread_local volatile sig_atomic_t is_guarded;

static const int faults[] = { SIGBUS, SIGSEGV };
#define FAULTS (sizeof faults / sizeof faults[0])
static struct sigaction before[FAULTS];

_Noreturn void guard_leave(void)
{
	if (!is_guarded)
		abort();
	siglongjmp(way_out, 1);
}

/* These signals come from the very instruction that failed, so that the thread is the one that reads. */
static void leave(int sig)
{
	if (is_guarded)
		guard_leave();
	/* the instruction is tried again, and fails for the handler that was there before */
	for (size_t i = 0; i < FAULTS; i++)
		if (faults[i] == sig)
			sigaction(sig, &before[i], NULL);
}

void guard_install(void)
{
	/* a handler that is left by a jump must not leave its signal blocked */
	struct sigaction action = { .sa_handler = leave, .sa_flags = SA_NODEFER }, now;

	sigemptyset(&action.sa_mask);
	for (size_t i = 0; i < FAULTS; i++) {
		if (sigaction(faults[i], NULL, &now) < 0 || now.sa_handler == leave)
			continue;
		before[i] = now;
		sigaction(faults[i], &action, NULL);
	}
}

bool guard_read(void (*read)(void *context), void *context)
{
	if (sigsetjmp(way_out, 0) != 0) {
		is_guarded = 0;
		return false;
	}
	is_guarded = 1;
	read(context);
	is_guarded = 0;
	return true;
}
