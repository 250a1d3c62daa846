/*
 * Asking the store for a recipient while the client waits: by lmtp -B, which stands beside the program and keeps what it heard.
 * In a child process of intake or dbserve, as it waits for the answer.
 */
#ifndef ZL_DB_SERVE_VERIFY_H
#define ZL_DB_SERVE_VERIFY_H

#include <stdint.h>

struct verify_options {
	const char *cache;     /* of lmtp -B; NULL: as the arguments say */
	const char *arguments; /* more of them, with blanks between; "" for none */
	uint64_t seconds;      /* how long it may take */
};

struct verdict {
	int code;              /* 250, 450 or 550 */
	char status[12];       /* enhanced code */
	char text[400];        /* clean, without code and status */
};

/* Destinations elsewhere (channel smtp), and those of a channel that -c of the arguments does not name, are taken as they are. */
void verify_destination(const struct verify_options *options, const char *channel, const char *host, const char *user,
                        struct verdict *verdict);

#endif
