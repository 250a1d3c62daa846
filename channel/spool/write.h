/*
 * Putting messages into the spool as a ZMailer router would (spool.md sections 2 to 5): names are inode numbers, files
 * appear by link and rename, and both survive a crash once spool_commit() has said EX_OK.
 */
#ifndef ZL_CHANNEL_SPOOL_WRITE_H
#define ZL_CHANNEL_SPOOL_WRITE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "channel/spool/postoffice.h"
#include "lib/buf.h"

struct spool_recipient {
	const char *channel;
	const char *host;
	const char *user;
	long privilege;           /* uid */
	const char *dsn;          /* text of the N line after "N ", NULL for none */
};

struct spool_envelope {
	const char *sender_channel;    /* "local", "smtp", "error" */
	const char *sender_host;
	const char *sender;            /* "<>" with channel "error" */
	long sender_privilege;
	const char *ret;               /* "FULL", "HDRS" or NULL */
	const char *envid;             /* xtext or NULL */
	const char *client;            /* for the Received field: see struct completion; NULL for a program here */
	const char *with;
	const struct spool_recipient *recipients;
	size_t recipient_count;
};

/* May this destination stand in the queue?  False with words in `why`. */
bool spool_may_hold(const struct spool_recipient *recipient, struct buf *why);

/*
 * One message on its way into the spool.  Until spool_commit() has said EX_OK there is nothing of it in the queue.
 * `spool` and `envelope` must live as long.
 */
struct spool_draft;

/*
 * Begins a message.  EX_OK, or with a line in `why` and *draft NULL: EX_DATAERR (the envelope cannot be written down),
 * EX_CANTCREAT, EX_IOERR.
 */
int spool_begin(const struct spool *spool, const struct spool_envelope *envelope, struct spool_draft **draft,
                struct buf *why);

/*
 * Adds bytes of the message (RFC 5322, LF or CRLF lines), in pieces of any size.  Its header is completed: Received,
 * From, Date, Message-ID if missing; Bcc and other envelope fields are removed.  EX_OK, or with a line in `why`
 * EX_DATAERR (a header that cannot be written down), EX_IOERR; then the draft can only be freed.
 */
int spool_add(struct spool_draft *draft, const char *bytes, size_t n, struct buf *why);

/* Bytes of memory that a draft has: its header, and what is not yet written of its body. */
size_t spool_held(const struct spool_draft *draft);

/* The message is complete: both files are written, nothing is synced.  As spool_add(). */
int spool_end(struct spool_draft *draft, struct buf *why);

/*
 * From E2 to E3: complete messages, all of one spool, get their names in queue/ (INTERNALS).  What fails says so by
 * spool_status(), EX_CANTCREAT.
 */
void spool_name(struct spool_draft *const *drafts, size_t count);

/*
 * Named messages go into the journal of their spool, behind a single wait for the disk, and come to E5.  Those for which it has
 * room, and that had no error, are spool_is_recorded() then: a power cut does not cost them, and they are never taken back.
 * The others are as they were.  False with errno if the journal cannot be written.
 */
struct spool_journal;
bool spool_record(struct spool_draft *const *drafts, size_t count, struct spool_journal *journal);
bool spool_is_recorded(const struct spool_draft *draft);

/* Has it an entry there, whatever became of it? */
bool spool_is_in_journal(const struct spool_draft *draft);

/*
 * One wait for the disk, which takes each of the named messages on, all of one spool (INTERNALS): new ones from E3 to E5, those
 * at E5 to E6.  Then spool_is_done(), as after a failure: spool_status() is EX_OK if the message survives a power cut
 * now, else EX_IOERR or EX_CANTCREAT with spool_why(), and it is not in the queue; of one that is recorded, it may not be on
 * the disk.  `journal`: of those that are recorded, NULL if none is; false with errno if it cannot be written.
 */
bool spool_commit_step(struct spool_draft *const *drafts, size_t count, struct spool_journal *journal);
bool spool_is_done(const struct spool_draft *draft);

/* Complete messages of one spool into the queue, without a journal, all by the same two steps. */
void spool_commit(struct spool_draft *const *drafts, size_t count);
int spool_status(const struct spool_draft *draft);
const char *spool_why(const struct spool_draft *draft);

/* After spool_end(): the job name ("Y/K/4711002"), the spool id, the Message-ID, the bytes of the message. */
const char *spool_job(const struct spool_draft *draft);
const char *spool_id(const struct spool_draft *draft);
const char *spool_message_id(const struct spool_draft *draft);
off_t spool_size(const struct spool_draft *draft);

/* The envelope that it was begun with. */
const struct spool_envelope *spool_envelope_of(const struct spool_draft *draft);

/* How many Received fields it had when it came: too many are a loop (RFC 5321 section 6.3). */
size_t spool_hops(const struct spool_draft *draft);

/* Removes what was written unless it is in the queue; clears the caller's pointer. */
void spool_free(struct spool_draft **draft);

/*
 * All of it for one message that is read from `in`.  EX_OK with the committed draft, to be freed; otherwise nothing of
 * it is left in the spool, `why` holds one line, and *draft is NULL.
 */
int spool_submit(const struct spool *spool, const struct spool_envelope *envelope, int in, struct spool_draft **draft,
                 struct buf *why);

#endif
