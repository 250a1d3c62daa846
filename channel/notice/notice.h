/*
 * One request of runqueue in the hands of zlmtp-report: which sender hears what, the messages that tell it, and what is
 * remembered of that in the control file.
 */
#ifndef ZL_CHANNEL_NOTICE_NOTICE_H
#define ZL_CHANNEL_NOTICE_NOTICE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "channel/report/forms.h"
#include "channel/report/reportconf.h"
#include "channel/spool/write.h"
#include "lib/buf.h"

struct router;

/* What reports are made with. */
struct office {
	struct spool spool;
	struct router *router;
	struct report_settings settings;
	struct forms forms;
	long privilege;            /* of recipients that do not come from a map */
	bool json;                 /* form of the log lines */
};

/* A recipient that waits, as runqueue knows it. */
struct late {
	off_t offset;
	int64_t last_attempt;
	const char *notary, *text;
};

struct notice_request {
	const char *job;
	uint64_t inode;            /* of the control file; another's tells nothing */
	bool final;                /* all recipients are settled, and the message goes */
	bool waiting;              /* no sender is told: have waiting recipients moved? */
	int32_t age;               /* of a delay, in seconds; 0: results are told */
	int64_t until;             /* of a delay: when it expires, 0 if never */
	const struct late *late;
	size_t late_count;
};

enum notice_answer {
	NOTICE_DONE,
	NOTICE_FILE,               /* no sender can be told: the postmaster's file is to be written */
	NOTICE_LATER,
	NOTICE_MOVED,              /* no report: a recipient has another place by now, and is to be tried there */
};

struct notice;

/* Makes the reports of a request; nothing of them is in the queue yet.  `request` must live as long. */
struct notice *notice_begin(const struct office *office, const struct notice_request *request);

/* Adds its complete drafts to the list, which grows. */
void notice_collect(const struct notice *notice, struct spool_draft ***drafts, size_t *count, size_t *capacity);

/*
 * After their commit: remembers what was told, logs it, and says what became of it.  `words`: with NOTICE_LATER why, with
 * NOTICE_MOVED the reroute that is to be done (control_line.h).
 */
enum notice_answer notice_end(struct notice *notice, struct buf *words);

void notice_free(struct notice **notice);

#endif
