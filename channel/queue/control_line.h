/*
 * The lines between zlmtp-queue and runqueue (INTERNALS, control socket).  Fields are separated by TAB:
 *
 *   TAG VERB SPOOLID JOB INODE queue|hold SECONDS TEXT [OFFSET[!CHANNEL!HOST!USER!PRIVILEGE] ...]
 *   TAG RESULT COUNT WORDS
 *
 * TEXT is empty or the reason of a fail; the five parts of a recipient of a reroute are fields of their own.
 */
#ifndef ZL_CHANNEL_QUEUE_CONTROL_LINE_H
#define ZL_CHANNEL_QUEUE_CONTROL_LINE_H

#include <stdbool.h>
#include <stdint.h>

#include "channel/queue/operate.h"
#include "lib/buf.h"

/* As seen from $POSTOFFICE/transport. */
#define CONTROL_SOCKET "../.control.runqueue"

/* Longer lines and answers are not read. */
#define CONTROL_LINE_MAX ((size_t)8 * 1024 * 1024)
#define CONTROL_LONGEST_WAIT 86400

struct control_request {
	const char *tag;          /* what the answer begins with: up to 20 digits */
	struct operation operation;   /* `by` and `json` are the server's; recipients to be freed */
	int64_t patience;         /* seconds */
};

/*
 * Cuts up one line in place (terminated, without its LF).  False with what is wrong in `why`; the tag is NULL then if
 * there is none.
 */
bool control_line_parse_request(char *line, struct control_request *r, struct buf *why);

/* Adds a request.  False with a line in `why` if it cannot be written down: a TAB or a control character in it, too long. */
bool control_line_add_request(struct buf *out, uint64_t tag, const struct operation *o, int64_t patience, struct buf *why);

struct control_answer {
	uint64_t tag;
	enum operation_result result;
	uint64_t changed;
	const char *words;
};

/*
 * The number in the next field of such a line, up to INT64_MAX; fields that are words are taken by strsep(3).  False if it is
 * none, or if the line has ended (*at is NULL).
 */
bool control_line_number(char **at, uint64_t *n);

/* The same for a time, which may lie before 1970: clocks are wrong. */
bool control_line_time(char **at, int64_t *n);

/* An answer, in the same way.  False if it is none. */
bool control_line_parse_answer(char *line, struct control_answer *a);
void control_line_add_answer(struct buf *out, const char *tag, enum operation_result result, size_t changed, const char *words);

#endif
