/*
 * The connections that processes have, as the system knows them (proc(5)): of the same owner, or of all for root.
 */
#ifndef ZL_LIB_CONNECTIONS_H
#define ZL_LIB_CONNECTIONS_H

#include <stddef.h>
#include <sys/types.h>

struct connections {
	unsigned long *inodes;    /* of connected stream sockets, TCP and UNIX; in order */
	size_t count, capacity;
};

/* Reads what connections there are on this host. */
void connections_read(struct connections *c);
void connections_free(struct connections *c);

/* How many of them a process has, besides its standard input, output and error; -1 if that cannot be seen. */
int connections_of(const struct connections *c, pid_t pid);

#endif
