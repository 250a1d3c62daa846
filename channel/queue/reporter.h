/*
 * The program zlmtp-report as runqueue sees it: a child that writes reports to senders and puts them into the queue, and
 * says which recipients have moved.  It carries the maps, which runqueue does not.  It is started for the first report and
 * leaves when there was nothing to do for a while, so that the next one reads all settings again.
 *
 * A line for each request, lines in return in the same order (INTERNALS, "Reports"):
 *
 *   settled JOB INODE early|final
 *   delay JOB INODE AGE UNTIL COUNT, then COUNT lines OFFSET TAB TIME TAB NOTARY TAB TEXT
 * *   waiting JOB INODE
 *
 *   ID done        it is in the queue and on the disk, or there is no one to report to; remembered in the control file
 *   ID file        there is no sender, or none that can be reached
 *   ID later WHY   it cannot be told now
 *   ID moved LINE  no report was made, as a recipient has another place by now: LINE is the reroute (control_line.h)
 */
#ifndef ZL_CHANNEL_QUEUE_REPORTER_H
#define ZL_CHANNEL_QUEUE_REPORTER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "lib/buf.h"

enum reporter_answer { REPORTER_DONE, REPORTER_FILE, REPORTER_LATER, REPORTER_MOVED };

/* What a request was about, for the caller. */
struct reporter_request {
	uint64_t id;              /* of the message */
	ino_t inode;              /* of its control file */
	int32_t age;              /* of a delay; 0: of results */
	bool final;               /* all recipients of the message are settled */
	bool waiting;             /* no sender is to be told: have waiting recipients moved? */
};

struct reporter_options {
	const char *program;      /* path of zlmtp-report; NULL: not found */
	const char *dbases;       /* path of dbases.conf; NULL: not known */
	const char *postoffice;
	int64_t silence;          /* ms: when it has requests and says nothing for so long it is ended */
	bool json;                /* form of its log lines */
};

/* `words` stand behind the answer, and may be cut up. */
typedef void reporter_told(void *context, const struct reporter_request *request, enum reporter_answer answer, char *words);

struct reporter;

/* `options` must live as long.  `told` is called from reporter_serve() and reporter_buried(), and asks nothing. */
struct reporter *reporter_create(const struct reporter_options *options, reporter_told *told, void *context);

/* Hangs up, and ends it if it has not ended by itself soon: what it has not reported is asked for again. */
void reporter_destroy(struct reporter **r);

/* False if the program or the maps are missing; reporter_can() says so in the log, once. */
bool reporter_can(struct reporter *r);
bool reporter_is_there(const struct reporter *r);

/* Sends a request, whose `text` is one of those above, and counts on an answer. */
void reporter_ask(struct reporter *r, const struct reporter_request *request, const struct buf *text, int64_t now);

/* Requests without an answer. */
size_t reporter_waiting(const struct reporter *r);

/* For poll(2): its descriptor, -1 if it does not run; and what for. */
int reporter_descriptor(const struct reporter *r);
short reporter_events(const struct reporter *r);

/*
 * Reads and writes what there is; starts the program if requests wait for it, and ends one that is silent.  If it cannot be
 * started, what was asked is REPORTER_LATER.
 */
void reporter_serve(struct reporter *r, int64_t now);

/* When reporter_serve() must be called, whatever happens (clock_ms()). */
int64_t reporter_deadline(const struct reporter *r);

/* A process has ended.  False if it is not the reporter.  What it has not answered is REPORTER_LATER. */
bool reporter_buried(struct reporter *r, pid_t pid, int status, int64_t now);

#endif
