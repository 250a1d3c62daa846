/*
 * Handing a message to the intake on this machine, by LMTP over its UNIX socket; for a program that does nothing else
 * meanwhile, so it waits.
 */
#ifndef ZL_CHANNEL_SUBMIT_HANDOVER_H
#define ZL_CHANNEL_SUBMIT_HANDOVER_H

#include <stdbool.h>
#include <stddef.h>

#include "channel/protocol/caps.h"
#include "channel/protocol/command.h"
#include "channel/protocol/reply.h"
#include "lib/buf.h"

/* The longest that RFC 5321 section 4.5.3.2 has, in seconds. */
#define HANDOVER_PATIENCE 600

/* Where the intake of this machine listens, unless INTAKE of ZENV says so. */
#define HANDOVER_INTAKE "/run/zlmtp/intake"

struct handover {
	int fd;
	struct caps caps;
	struct reply_parser parser;
	struct buf in, out;
	struct buf words;          /* of the last reply, clean; or what kept us from it */
	char status[12];           /* its enhanced code, or "" */
	bool in_doubt;             /* the text went out, and was not refused for each recipient: it may be queued */
};

/*
 * Connects to the socket `path` and says LHLO; a server that says nothing for so many seconds is gone.  0 if the server is
 * ready; -1 with errno and `words` if no process listens there or it may not be used; else 75 with `words`.
 */
int handover_open(struct handover *h, const char *path, const char *own_name, unsigned seconds);

/* Each gives the code of the reply; 0 if the connection is lost.  Both with `words`. */
int handover_mail(struct handover *h, const struct envelope *envelope, bool smtputf8);
int handover_rcpt(struct handover *h, const struct envelope_recipient *recipient);
int handover_reset(struct handover *h);

/* The text of a message with LF lines, for so many accepted recipients: the worst of the codes. */
int handover_text(struct handover *h, const struct buf *text, size_t recipients);

void handover_close(struct handover *h);

#endif
