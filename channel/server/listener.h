/*
 * Where clients come in: sockets of -L, or those that systemd has opened (sd_listen_fds(3)).
 *
 *   lmtp:UNIX:/path[,mode=0660][,group=NAME]      or smtp:
 *   smtp:[127.0.0.1]:2500   lmtp:[::1]:2424
 */
#ifndef ZL_CHANNEL_SERVER_LISTENER_H
#define ZL_CHANNEL_SERVER_LISTENER_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/socket.h>

#include "channel/protocol/server.h"
#include "lib/buf.h"

struct listener {
	int fd;
	enum server_protocol protocol;
	bool is_local;             /* UNIX: whoever may connect is on this machine */
	char *path;                /* of a socket that we have made, to be removed at the end; NULL else */
	char *name;                /* for messages */
};

struct listeners {
	struct listener *list;
	size_t count, capacity;
};

/*
 * Opens the socket that `text` describes.  0, or with a line in `why`: EX_USAGE (it is none), EX_UNAVAILABLE (somebody
 * listens there), EX_CANTCREAT, EX_NOUSER (no such group).  A socket in the file system that nobody listens at is replaced.
 */
int listeners_add(struct listeners *l, const char *text, struct buf *why);

/*
 * Takes over the sockets that systemd has opened for this process: LMTP at UNIX sockets, SMTP at TCP, or as
 * FileDescriptorName= says ("lmtp", "smtp").  False with a line in `why` if one of them is not for this.
 */
bool listeners_from_systemd(struct listeners *l, struct buf *why);

void listeners_free(struct listeners *l);

#endif
