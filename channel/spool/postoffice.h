/*
 * The post office, its directories, and the rights with which files are made there (spool.md section 1).
 */
#ifndef ZL_CHANNEL_SPOOL_POSTOFFICE_H
#define ZL_CHANNEL_SPOOL_POSTOFFICE_H

#include <stdbool.h>
#include <sys/types.h>

#include "lib/buf.h"

/* Where messages are put, and by whom. */
struct spool {
	const char *postoffice;
	unsigned levels;          /* hash levels, 0 to 2; directories of the hash are made when they are missing */
	const char *host;         /* our name */
	int queue, transport;     /* both directories, open: see spool_open() */
	uid_t uid;                /* the owner of transport/: the files are made with the rights of that user, also by root */
	gid_t gid;
};

/* Makes the directories of a POSTOFFICE that are missing.  False with a line in `why`. */
bool spool_make(const char *postoffice, struct buf *why);

/* Goes into transport/, where job names lead from.  EX_OK, or EX_NOINPUT or EX_NOPERM with `why` and what to do. */
int spool_enter_transport(const char *postoffice, struct buf *why);

/*
 * Opens the directories of `spool`, whose other fields are set; before the first message is begun, as the system reports errors
 * of the disk only to programs that had them open.  False with a line in `why`.
 */
bool spool_open(struct spool *spool, struct buf *why);
void spool_close(struct spool *spool);

/* Are its directories still those that were opened?  EX_OK, or EX_CANTCREAT with a line in `why`. */
int spool_check(const struct spool *spool, struct buf *why);

/* All that was written to the file systems of queue/ and transport/ is on the disk then.  False with errno. */
bool spool_sync(const struct spool *spool);

/* Adds a line with the words of errno to `why`; for use in `return spool_trouble(...)`, it returns `status`. */
int spool_trouble(struct buf *why, int status, const char *what, const char *path);

/* The same where a file cannot be made, with what to do; it returns EX_CANTCREAT. */
int spool_cannot_make(const struct spool *spool, struct buf *why, const char *what, const char *path);

/* What to do where a file of a post office cannot be made or opened: none there, or another user's, is the usual cause. */
void spool_add_remedy(struct buf *why, const char *postoffice, int code);

#endif
