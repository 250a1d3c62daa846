/*
 * A message control file, read (spool.md sections 4 to 7).
 *
 * The whole file is kept in memory and cut up in place; every string below
 * points into it.  Reading never changes the file.
 */
#ifndef ZL_CHANNEL_SPOOL_CONTROL_H
#define ZL_CHANNEL_SPOOL_CONTROL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include <time.h>

#include "channel/spool/recipient.h"
#include "lib/buf.h"

struct control_sender {
	const char *channel;      /* "error" means the null return path */
	const char *host;
	const char *user;
};

struct control_header {
	off_t offset;             /* of the first byte after "m" LF: HDROFF of d lines */
	const char *text;         /* fields with LF line ends; the closing empty line is not part of it */
	size_t length;
};

/* The sender as an address, "" for the null return path: channel "error", or "<>" (spool.md section 6). */
const char *control_return_path(const struct control_sender *sender);

struct control {
	char *name;               /* as it was asked for */
	uint64_t id;              /* leading number of the base name: ID of reports */
	int fd;                   /* open for reading and writing, not O_APPEND; -1 when parsed from memory */
	ino_t inode;              /* of the control file, and when it was changed last; 0 when parsed from memory */
	struct timespec modified;
	struct timespec marked;   /* clock_past() of that, to compare holders of locks with */
	const char *message;      /* value of the i line: begins with a digit, no slash */
	off_t body_offset;        /* value of the o line */
	const char *log_ident;    /* l line, NULL without */
	const char *verbose;      /* v line, NULL without */
	const char *return_size;  /* last R line: "FULL" or "HDRS", NULL without */
	const char *envid;        /* last n line, still xtext, NULL without */
	struct control_sender *senders;
	size_t sender_count;
	struct control_header *headers;
	size_t header_count;
	struct control_recipient *recipients;
	size_t recipient_count;
	struct control_diagnostic *diagnostics;
	size_t diagnostic_count;
	char *bytes;
	size_t length;
};

enum control_result {
	CONTROL_OK,
	CONTROL_GONE,         /* it does not exist: already finished, normal after a scheduler restart */
	CONTROL_UNREADABLE,   /* any other trouble in reading it, or not a regular file */
	CONTROL_DAMAGED,      /* not the format of spool.md; `why` says where and what was expected */
	CONTROL_NOT_MAIL,     /* an ETRN request file */
};

/*
 * Opens and reads control file `name` (relative names are relative to the working directory, which
 * is $POSTOFFICE/transport); symbolic links are not followed.  On CONTROL_OK *control must
 * be given to control_close(); otherwise *control is NULL and `why` holds one
 * line of text.
 */
enum control_result control_open(const char *name, struct control **control, struct buf *why);

/*
 * The same for reading only: the file is opened for reading alone and closed again (fd is -1).
 */
enum control_result control_look(const char *name, struct control **control, struct buf *why);

/*
 * The same from memory: takes ownership of `bytes` (allocated, `length` bytes,
 * need not be terminated).  For tests, fuzzing and control_open().
 */
enum control_result control_parse(const char *name, char *bytes, size_t length, struct control **control,
                                  struct buf *why);

/*
 * The descriptor of control file `name` alone, for callers that know what is in it, or -1 with errno; `mode` is O_RDONLY
 * or O_RDWR.
 */
int control_descriptor(const char *name, int mode);

/* Closes the file and frees everything; clears the caller's pointer.  NULL is fine. */
void control_close(struct control **control);

/* Is nothing to be done for a recipient any more?  And for all of the message? */
bool control_is_settled(const struct control_recipient *r);
bool control_all_settled(const struct control *control);

/*
 * The path of the message file as seen from $POSTOFFICE/transport: "../queue/",
 * the hash prefix of the control file's name, the i line (spool.md section 2).
 * Allocated.
 */
char *control_message_path(const struct control *control);

/* True for a line that says what the sender was told about a delay (action "delayed"); no result of the recipient. */
bool diagnostic_is_delay(const struct control_diagnostic *d);

/*
 * The last result of each recipient, by index; NULL where there is none.  An array to be freed; it points into
 * the control.
 */
const struct control_diagnostic **control_last_diagnostics(const struct control *control);

/* Leading decimal number of the base name of `path`: the message id.  False if there is none. */
bool control_id(const char *path, uint64_t *id);

/*
 * True for the name of a control file below transport/: up to two directories of one letter, then a name that begins with a
 * number.  Where names come from others, nothing else is looked for or touched.
 */
bool control_is_job(const char *name);

#endif
