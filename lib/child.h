/*
 * Child processes: how one is started, heard, ended, and what is said of its end.
 */
#ifndef ZL_LIB_CHILD_H
#define ZL_LIB_CHILD_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "lib/buf.h"

/* ---- the start ---- */

/* In place of a descriptor: /dev/null, or that of the parent. */
enum { CHILD_NULL = -1, CHILD_SAME = -2 };

struct child_rules {
	int in, out, err;         /* what becomes standard input, output and error */
	bool closes;              /* the other descriptors are closed, but those of `keep` */
	int keep[2];              /* 0: none */
	bool own_group;           /* a process group of its own: ^C is for the parent alone */
	bool shielded;            /* no signal reaches it but SIGKILL, SIGALRM and faults of its own; otherwise none is blocked */
	bool dies_with_parent;    /* by SIGKILL */
	bool is_program;          /* of others: SIGPIPE and SIGXFSZ, which ours ignore, have their defaults */
};

/*
 * fork(2), where `rules` are carried out in the child before it goes on; it exits with EX_OSERR if that fails.  It leaves by
 * _exit(2) or execve(2).  -1 with errno.
 */
pid_t child_fork(const struct child_rules *rules);

/* The same for a program and its arguments, by its whole path; also -1 with errno if the program cannot be run. */
pid_t child_run(const struct child_rules *rules, char *const arguments[]);

/* ---- the end ---- */

/* What becomes of a child that has not ended at the deadline. */
enum child_rule {
	CHILD_KILL,         /* killed, with its process group, and waited for */
	CHILD_LEAVE,        /* left alone: to be killed within a lock that others share would block them */
};

/*
 * Waits for the end of `pid` until `deadline` (clock_ms).  False if it has not ended by itself; else *status is as of
 * waitpid(2).
 */
bool child_end(pid_t pid, enum child_rule rule, int64_t deadline, int *status);

/* Adds "was killed by signal 9" or "ended with status 3"; nothing for status 0. */
void child_describe_end(struct buf *text, int status);

/* True for the signals that come from what a process does itself: SIGSEGV, SIGBUS, SIGABRT, SIGFPE, SIGILL. */
bool child_is_crash(int sig);

/*
 * A process that is asked to stop waits no longer than 2 s for a child that says nothing, or does not end, whatever the
 * deadline; as one that was stopped itself (SIGSTOP).  In children this is forgotten.
 */
void child_heed(bool (*is_asked_to_stop)(void));

/* ---- frames: what both say to each other on a socket ---- */

enum child_news {
	CHILD_FRAME,        /* a frame has come */
	CHILD_SILENT,       /* nothing until the deadline */
	CHILD_GONE,         /* the other side has closed its end */
};

/* Sends a frame of a kind and n bytes; false if the other side is gone or takes nothing until the deadline. */
bool child_send(int fd, char kind, const char *bytes, size_t n, int64_t deadline);

/* Waits for a frame; its bytes replace those in `bytes`. */
enum child_news child_receive(int fd, char *kind, struct buf *bytes, int64_t deadline);

/* ---- one question ---- */

enum child_answer {
	CHILD_SAID,         /* it came to an end: *status is what `ask` returned */
	CHILD_CRASHED,      /* by a signal of its own making, as SIGSEGV: what it looked at led it astray; *status is the signal */
	CHILD_HUNG,         /* killed at the deadline */
	CHILD_KILLED,       /* by another process, or by the kernel for want of memory; *status is the signal */
	CHILD_FAILED,       /* could not be started; errno */
};

/*
 * Runs ask(context, out) in a child, because the answer may be a crash or no answer at all, and waits for it until `deadline`
 * (clock_ms).  `ask` returns 0 to 255; what it adds to `out` arrives in the caller's `out`.  The child writes nothing else,
 * runs no exit handlers, and does not outlive its parent.
 */
enum child_answer child_ask(int (*ask)(void *context, struct buf *out), void *context, int64_t deadline, int *status,
                            struct buf *out);

#endif
