/*
 * Other processes of this machine, by their numbers.
 */
#ifndef ZL_LIB_PROCESS_H
#define ZL_LIB_PROCESS_H

#include <stdbool.h>
#include <sys/types.h>
#include <time.h>

/* True if a process with this number is there, whoever owns it.  False for 0 and below. */
bool process_lives(pid_t pid);

/*
 * True if the process that has this number now began after `moment` (CLOCK_REALTIME): what the number meant then is
 * gone.  False if it began before, within the second behind it, or where the system does not tell.
 */
bool process_began_after(pid_t pid, const struct timespec *moment);

/* The number in a file that holds one and a line end, if that process lives; 0 otherwise.  Never waits. */
pid_t process_named_in(const char *path);

#endif
