/*
 * The file of -A, smtp-auth-secrets(5): as whom we authenticate to which host
 * (transport-agent.md section 10).
 *
 * It is read again for each connection and nothing of it is kept, so a change counts from the next
 * connection on.
 */
#ifndef ZL_CHANNEL_NET_SECRETS_H
#define ZL_CHANNEL_NET_SECRETS_H

#include <stddef.h>

#include "lib/buf.h"

struct secret {
	struct buf user;        /* base64 text, as written in the file; "" for the empty name, written "=" */
	struct buf password;    /* the same */
};

enum secrets_answer {
	SECRETS_FOUND,          /* `secret` is yours to wipe */
	SECRETS_NONE,           /* no line for this channel and host */
	SECRETS_UNCLEAR,        /* the file or the matching line is not as it must be; `why` says it in one line */
};

/* The longest base64 word of RFC 4954 section 4. */
#define SECRET_WORD_MAX 12288

/*
 * The first line for `channel` and one of the names that the host is known by (a list that ends with NULL):
 * its host name, its address without brackets, or "UNIX:/path".
 * The file must belong to root or us, and no other user may read or write it.
 */
enum secrets_answer secrets_find(const char *path, const char *channel, const char *const *names,
                                 struct secret *secret, struct buf *why);

/* The same in a text of n bytes that came from `path`. */
enum secrets_answer secrets_search(const char *text, size_t n, const char *path, const char *channel,
                                   const char *const *names, struct secret *secret, struct buf *why);

void secret_wipe(struct secret *secret);

#endif
