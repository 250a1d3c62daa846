/*
 * What is written down about one recipient: NOTARY, d lines and report lines
 * (transport-agent.md sections 4 and 5, spool.md section 9).
 */
#ifndef ZL_CHANNEL_SPOOL_DIAGNOSTIC_H
#define ZL_CHANNEL_SPOOL_DIAGNOSTIC_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "lib/buf.h"

/*
 * The six fields of NOTARY.  No field may be NULL; text comes in as it is and is cleaned
 * here (no TAB, LF, CR or 0x01 gets through), parentheses inside `words` become brackets.
 */
struct notary {
	const char *recipient;     /* field 1: the quad's user */
	const char *action;        /* field 2: "delivered" or "failed"; "failed" for deferrals too */
	const char *status;        /* field 3: enhanced code "x.y.z" */
	int code;                  /* field 4: "smtp; CODE (words)", or "x-local; words" with 0: no server said it */
	const char *words;
	const char *remote;        /* field 5: " (UNIX:/path)", "dns; NAME (ADDR|PORT|ADDR|PORT)" */
	const char *agent;         /* field 6: "smtp[PID]" or "lmtp[PID]" */
};

/* Of a transcript, whose lines begin with CR, the last one: the server's answer. */
const char *diagnostic_answer(const char *transcript);

/* Adds the six fields separated by 0x01. */
void notary_add(struct buf *out, const struct notary *notary);

/* Adds one d line to `out`. */
void diagnostic_add(struct buf *out, off_t recipient, off_t header, off_t dsn, int64_t now, const struct notary *notary,
                    const char *text);

/* The same with NOTARY as an agent has reported it, all six fields. */
void diagnostic_add_reported(struct buf *out, off_t recipient, off_t header, off_t dsn, int64_t now, const char *notary,
                             const char *text);

/*
 * The same of something the sender was told already, which no scheduler tells again: tag '+', `notary` and `text` as
 * they are to stand there.
 */
void diagnostic_add_told(struct buf *out, off_t recipient, off_t header, off_t dsn, int64_t now, const char *notary,
                         const char *text);

/* Sets the tag '+' of the d line at `offset`.  False with errno; EBADMSG if no d line stands there. */
bool diagnostic_mark_told(int fd, off_t offset);

/*
 * Appends d lines, however many, in one write with O_APPEND (set on `fd` for that moment only, since tags go through the
 * same descriptor).  They are not synced: that is for fdatasync(2), once for all of them.  False with errno: nothing
 * or a part was written and no other line was touched; the next line begins on a line of its own.
 */
bool diagnostic_write(int fd, const struct buf *lines);

/*
 * Appends one d line in one write with O_APPEND (set on `fd` for that moment only, since tags
 * go through the same descriptor) and syncs the file.  `text` may hold CR as line break; LF
 * becomes CR; it is cut at 8000 bytes.  False with errno: nothing or a partial line was
 * written and no other program's line was touched; the next line begins on a line of its own.
 */
bool diagnostic_append(int fd, off_t recipient, off_t header, off_t dsn, int64_t now, const struct notary *notary,
                       const char *text);

/* True if a reported NOTARY has its six fields, the first not empty: anything less breaks a ZMailer scheduler. */
bool notary_is_whole(const char *notary);

enum report_word {
	REPORT_OK,          /* success, no d line written by us */
	REPORT_OK2,         /* success, d line written */
	REPORT_OK3,         /* success, no report was asked for */
	REPORT_ERROR,       /* failed, no d line written by us */
	REPORT_ERROR2,      /* failed, d line written */
	REPORT_DEFERRED,
	REPORT_RETRYAT,     /* the destination is in trouble, not the recipient */
};

/*
 * Adds "ID/OFFSET TAB NOTARY TAB WORD TEXT LF".  NOTARY is left empty with REPORT_OK2,
 * REPORT_OK3 and REPORT_ERROR2, as the d line has it.  `text` is cut at 8000 bytes, CR may stand in it.
 */
void report_add(struct buf *out, uint64_t id, off_t offset, const struct notary *notary, enum report_word word,
                const char *text);

#endif
