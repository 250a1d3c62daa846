/*
 * The list of served domains as a text file, and the command that is run after it has changed.
 */
#ifndef ZL_DB_SYNC_DOMAINS_H
#define ZL_DB_SYNC_DOMAINS_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "db/ldap/template.h"
#include "lib/buf.h"

struct domains {
	const char *path;
	const struct template *format;   /* of a line, with {domain}; NULL: the domain alone */
	char *const *command;            /* program and arguments; NULL: none */
	bool may_shrink;                 /* no guard */
	bool must_run;                   /* the file is newer than the last run that went well */
	pid_t pid;                       /* of the command that runs; 0: none */
	int64_t deadline;                /* clock_ms() at which it is ended; without one: before which it is not started again */
};

/*
 * Whether domains_write() would put `list` there.  EX_OK; EX_TEMPFAIL with `why` if that would be empty, or more than 50
 * domains and a fifth of all would go; EX_IOERR.
 */
int domains_judge(const struct domains *domains, char *const *list, struct buf *why);

/*
 * Puts `list` (NULL at the end) into the file if that says something else; its owner and mode stay, a new one has mode
 * 644. EX_OK; EX_TEMPFAIL with `why` if the list would be empty, or more than 50 domains and a fifth of all would
 * go; EX_IOERR, EX_CANTCREAT.
 */
int domains_write(struct domains *domains, char *const *list, struct buf *why);

/*
 * Starts the command if it must run, sees after it if it does, without waiting.  False with `why` if it failed; it will
 * be started again after a while.
 */
bool domains_run(struct domains *domains, struct buf *why);

/* Ends the command that runs; it must run again. */
void domains_stop(struct domains *domains);

/* When to call domains_run() next (clock_ms); CLOCK_NEVER if there is nothing to do. */
int64_t domains_deadline(const struct domains *domains);

#endif
