/*
 * The protocols of dbserve(8): requests of a client in, replies out.  No system call.
 *
 *   socketmap   netstrings: "MAP KEY" in; "OK VALUE", "NOTFOUND ", "TEMP WHY", "PERM WHY" out
 *   tcp         "get KEY" in; "200 VALUE", "500 WHY", "400 WHY" out; bytes as %XX (Postfix's tcp_table(5))
 *   policy      "NAME=VALUE" lines and an empty line in; "action=…" and an empty line out (Postfix's
 *               SMTPD_POLICY_README)
 */
#ifndef ZL_DB_SERVE_TALK_H
#define ZL_DB_SERVE_TALK_H

#include <stdbool.h>
#include <stddef.h>

#include "db/serve/answer.h"
#include "lib/buf.h"

enum talk_protocol {
	TALK_SOCKETMAP,
	TALK_POLICY,
	TALK_TCP,
};

/* The longest line of tcp and policy, and the longest policy request. */
#define TALK_LINE_MAX 4096
#define TALK_REQUEST_MAX 65536

struct talk {
	enum talk_protocol protocol;
	const char *tcp_map;       /* of a tcp client, which names none */
	struct buf in;             /* bytes of the client, not used yet */
	struct buf out;            /* replies to be sent */
	struct buf map, key;       /* what is asked (TALK_ASKS) */
	struct buf reply;          /* the one in hand */
};

enum talk_news {
	TALK_WAITS,                /* no whole request is there */
	TALK_ASKS,                 /* talk_reply() is next */
	TALK_REPLIED,              /* without a question */
	TALK_BAD,                  /* no request: the client gets what is in t->out, and the end */
};

/* Takes the next request from t->in. */
enum talk_news talk_next(struct talk *t);

/* Adds the reply to the request that asked, as answers_ask() has it. */
void talk_reply(struct talk *t, enum map_answer answer, bool unknown, const struct buf *value);

void talk_free(struct talk *t);

#endif
