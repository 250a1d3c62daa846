/*
 * Where clients come in: sockets that an option names, or those that systemd has opened (sd_listen_fds(3)).
 *
 *   KIND:UNIX:/path[,mode=0660][,group=NAME]
 *   KIND:[127.0.0.1]:2500   KIND:[::1]:2424
 *
 * KIND is one of the words that the program knows, for what is spoken there.
 */
#ifndef ZL_LIB_LISTEN_H
#define ZL_LIB_LISTEN_H

#include <poll.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>
#include <sys/types.h>

#include "lib/buf.h"
#include "lib/options.h"

struct listener {
	int fd;
	size_t kind;               /* index of its word */
	bool is_local;             /* UNIX: its clients are on this machine */
	char *path;                /* of a socket that we have made, to be removed at the end; NULL else */
	dev_t device;              /* what lies there as long as it is ours */
	ino_t inode;
	char *name;                /* for messages */
};

struct listeners {
	const char *const *kinds;  /* the words, in small letters; ends with NULL; to be set */
	const char *expected;      /* what a usage error says is expected, "lmtp: or smtp:"; to be set */
	struct listener *list;
	size_t count, capacity;
	int64_t accept_again;      /* clock_ms(): descriptors or memory had run out */
	int64_t tell_again;        /* clock_ms(): that was said */
};

/*
 * Opens the socket that `text` describes.  0, or with a line in `why`: EX_USAGE (it is none), EX_UNAVAILABLE (a process
 * listens there), EX_CANTCREAT, EX_NOUSER (no such group).  A socket in the file system without a listener is
 * replaced.
 */
int listeners_add(struct listeners *l, const char *text, struct buf *why);

/* All that a program shall open by its -L; where that cannot be done, it ends with a message. */
void listeners_open(struct listeners *l, const struct program *program, char *const *texts, size_t count);

/*
 * Takes over the sockets that systemd has opened for this process: the kind is FileDescriptorName=, or else
 * `unix_kind` or `tcp_kind`.  False with a line in `why` if one of them is no socket that listens.
 */
bool listeners_from_systemd(struct listeners *l, size_t unix_kind, size_t tcp_kind, struct buf *why);

/*
 * What to wait for to take connections: an entry for each listener, in their order.  While descriptors or memory have run out
 * none is looked at; *deadline is then not later than when they are again.
 */
size_t listeners_fill(const struct listeners *l, struct pollfd *fds, int64_t *deadline);

/*
 * Takes a connection, not blocking and closed on exec, with the address that it comes from.  -1 if there is none to be taken
 * now; what the system is short of is complained of, once in ten seconds for all listeners, and none is looked at for a second.
 */
int listeners_accept(struct listeners *l, const struct listener *from, struct sockaddr_storage *address);

/* True if descriptors or memory have run out. */
bool listeners_are_short(const struct listeners *l);

/* There is room again. */
void listeners_go_on(struct listeners *l);

void listeners_free(struct listeners *l);

#endif
