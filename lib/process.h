/*
 * Processes of this machine, by their numbers; and what each program of ours does about itself before anything else.
 */
#ifndef ZL_LIB_PROCESS_H
#define ZL_LIB_PROCESS_H

#include <stdbool.h>
#include <sys/types.h>
#include <time.h>

/*
 * First thing in main: descriptors 0 to 2 that our parent had closed become /dev/null, so that no file of ours gets
 * their number and is written to as if it were standard output.  To use one still fails (EBADF).  Ends the program with
 * EX_OSERR if that cannot be done.
 */
void process_begin(const char *name);

/* The name of this machine, "localhost" without one; it lives as long as the program. */
const char *process_host(void);

/* The path, allocated, of what is called `name` in the directory of this program.  NULL with errno if that cannot be told. */
char *process_beside(const char *name);

/* From now on this process leaves no core file, and others of its user cannot look into it: it knows a secret. */
void process_keep_secrets(void);

/*
 * Has this process open up to `wanted` descriptors, or as many as its hard limit lets it; more than that if it may already.
 * False with errno if the system refuses.
 */
bool process_raise_descriptors(unsigned long wanted);

/* True if a process with this number is there, of any user.  False for 0 and below. */
bool process_lives(pid_t pid);

/*
 * True if the process that has this number now began after `moment` (CLOCK_REALTIME): what the number meant then is
 * gone.  False if it began before, within the second behind it, or where the system does not tell.
 */
bool process_began_after(pid_t pid, const struct timespec *moment);

/* The number in a file that holds one and a line end, if that process lives; 0 otherwise.  Never waits. */
pid_t process_named_in(const char *path);

#endif
