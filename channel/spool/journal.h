/*
 * The journal of intake, POSTOFFICE/.journal.intake (spool.md section 15): messages that are on the disk there before their own
 * files are, so that one short wait acknowledges all that have come together.
 *
 * It is a ring of two halves.  An entry has the messages of one wait.  Entries are numbered; up to the number that is settled
 * the files of all messages are on the disk as well, and the place of these entries is free.
 */
#ifndef ZL_CHANNEL_SPOOL_JOURNAL_H
#define ZL_CHANNEL_SPOOL_JOURNAL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "channel/spool/postoffice.h"
#include "lib/buf.h"

struct spool_journal;

/* Larger messages do not go there. */
#define SPOOL_JOURNAL_MESSAGE_MAX ((size_t)256 * 1024)

/*
 * Opens the journal of the post office of `spool` and locks it; waits while another process restores what is in it.  With
 * `stay`, one that is missing, or that another process has, is made with the first message for which that is possible.  NULL:
 * there is none, or another process has it, or with a line in `why` it cannot be used; *unread if it may have mail, and cannot
 * be read now: without a line if a signal has come that ends us (lib/wait.h).
 */
struct spool_journal *spool_journal_open(const struct spool *spool, bool stay, bool *unread, struct buf *why);

/* Its path in a post office, allocated. */
char *spool_journal_in(const char *postoffice);

/* Has an intake that does not run any more left a journal in this post office?  False also where that cannot be seen. */
bool spool_journal_is_left(const char *postoffice);

/* Closes it; one in which all is settled is removed.  Clears the pointer. */
void spool_journal_close(struct spool_journal **journal);

const char *spool_journal_path(const struct spool_journal *journal);

/* The number of the last entry. */
uint64_t spool_journal_last(const struct spool_journal *journal);

struct spool_journal_message {
	const char *job;           /* "Y/K/4711002" */
	const char *id;            /* the spool id */
	int message, control;      /* open files to be read from their start */
	size_t message_size, control_size;
	const char *message_bytes, *control_bytes;     /* of spool_journal_read() */
};

/* Adds a message.  The number of its entry; 0 if it is too large, there is no room now, or a file cannot be read. */
uint64_t spool_journal_add(struct spool_journal *journal, const struct spool_journal_message *message);

/* Waits until all that was added is on the disk.  False if it may not be; then nothing is added any more. */
bool spool_journal_write(struct spool_journal *journal);

/*
 * All entries up to this one are settled; for another thread than the one that adds.  Waits for the disk.  False with errno;
 * the next call tries that again, also for a lower number.  The first time says that all that was found is in the queue, which
 * other processes wait for.
 */
bool spool_journal_settle(struct spool_journal *journal, uint64_t entry);

/* An entry cannot be settled, so no later one is, either.  For the thread that settles. */
void spool_journal_keep(struct spool_journal *journal);

/*
 * Gives all messages that were not settled when the journal was opened to `take`, in their order.  Names are well-formed.
 * False if take() says so.  *damaged becomes true if an entry is missing, or cannot be understood.
 */
bool spool_journal_read(struct spool_journal *journal, bool (*take)(void *context, const struct spool_journal_message *message),
                        void *context, bool *damaged);

/*
 * Closes a journal that is damaged, and keeps it under another name for the administrator; `why` says so.  Clears the pointer.
 */
void spool_journal_set_aside(struct spool_journal **journal, struct buf *why);

#endif
