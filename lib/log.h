/*
 * What a program says to the administrator who runs it: one line each, on stderr.
 */
#ifndef ZL_LIB_LOG_H
#define ZL_LIB_LOG_H

/* The name in front of every line; call it first in main().  `name` is kept, not copied. */
void log_program(const char *name);
const char *log_name(void);

/*
 * Once called, lines begin with '#': stderr of a transport agent is the
 * scheduler's socket, where any other line would be taken for a report
 * (transport-agent.md section 1).
 */
void log_as_comments(void);

/* "NAME: text".  Control bytes in the text become '?'; no newline needed. */
void complain(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* The lines of a text, each by itself; empty ones are none. */
void complain_lines(const char *text);

/*
 * complain(), then exit(status); status from <sysexits.h>.  A program that has exit codes of its own, as a plugin of a
 * monitoring system, says once by log_failure() with which one it ends instead.
 */
void log_failure(int status);
_Noreturn void die(int status, const char *format, ...) __attribute__((format(printf, 2, 3)));

#endif
