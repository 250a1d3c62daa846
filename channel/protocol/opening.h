/*
 * From the greeting to a connection that is ready for mail, as a pure
 * machine: replies in, command bytes and a next step out (RFC 2033 section 4.1, RFC 3207,
 * RFC 4954).  One command is open at a time.
 */
#ifndef ZL_OPENING_H
#define ZL_OPENING_H

#include "channel/protocol/caps.h"
#include "channel/protocol/policy.h"
#include "channel/protocol/reply.h"
#include "lib/buf.h"

enum opening_next {
	OPENING_WAIT,          /* `out` is to be sent, then a reply awaited */
	OPENING_READY,         /* caps are valid; mail may be sent */
	OPENING_FAILED,        /* `why` says it; `stage` and `code` where; close */
};

struct opening_options {
	const char *name;          /* argument of LHLO */
	const char *ignore_caps;   /* for caps_parse() */
	bool ignore_all;           /* as if the server had announced nothing */
};

struct opening {
	const struct opening_options *options;
	enum stage stage;
	struct caps caps;
	int code;                  /* of the reply that ended it; 0 if it was no reply */
	char status[12];           /* enhanced code to report */
	struct buf why;            /* one line */
};

/* Starts with the greeting: nothing to send yet. */
void opening_init(struct opening *o, const struct opening_options *options);
void opening_free(struct opening *o);

/* The next reply of the server; commands are added to `out`. */
enum opening_next opening_reply(struct opening *o, const struct reply *reply, struct buf *out);

#endif
