/*
 * Delivery status notifications: what is known about recipients becomes one message to the sender (RFC 3461, 3464,
 * 6522, 6533, 3834).
 *
 * Pure: no system call, no clock, no map.  Which sender hears what and when is decided above, by channel/queue; this
 * room of its own can so be used by any program that knows a message and what became of it, and be tested with nothing else.
 *
 * A report travels with the null return path and NOTIFY=NEVER, and there is none for a message that had the null return
 * path itself: the caller sees to both.
 */
#ifndef ZL_CHANNEL_REPORT_REPORT_H
#define ZL_CHANNEL_REPORT_REPORT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "channel/report/forms.h"
#include "channel/report/reportconf.h"
#include "lib/buf.h"

/* RFC 3464 section 2.3.3. */
enum report_action { REPORT_FAILED, REPORT_DELAYED, REPORT_DELIVERED, REPORT_RELAYED, REPORT_EXPANDED };

/* Text may hold any bytes: it is cleaned, bounded and folded here. */
struct report_recipient {
	const char *address;       /* that did not get it, or got it: the user of the quad */
	const char *orcpt;         /* "type;xtext" as in an N line, or NULL where the client gave none */
	const char *given;         /* the same of whom the client named in RCPT, or NULL if that is not known */
	enum report_action action;
	const char *status;        /* "5.1.1" (RFC 3463); one of another class or none at all: X.0.0 of the action */
	bool uncoded;              /* the server's reply has no such code: it was made of the reply's digits */
	const char *remote;        /* the fifth field of NOTARY: "dns; NAME (...)", " (UNIX:/path)"; a name; NULL or "" */
	const char *diagnostic;    /* the fourth: "smtp; 550 (words)"; other words; NULL or "" */
	int64_t last_attempt;      /* time, 0 if there was none */
	int64_t retry_until;       /* of those delayed: when it expires, 0 if that is not known */
};

/* The message that is reported on. */
struct report_message {
	const char *sender;        /* for the words; "<>" or "" is the null return path */
	const char *envid;         /* xtext, or NULL */
	const char *ret;           /* "FULL", "HDRS", or NULL */
	const char *spool_id;
	int64_t arrival;
	const char *header;        /* fields with LF line ends, without an empty line behind them */
	size_t header_length;
	uint64_t body_length;      /* as the next has it */
	/* The body from byte `at` on into `piece` (replaced), as body_piece() of channel/message does; false with `why`. */
	bool (*body)(void *context, uint64_t at, struct buf *piece, struct buf *why);
	void *body_context;
};

struct report {
	enum form_kind kind;
	const char *to;            /* its recipient: the sender, or the postmaster */
	int64_t now;
	long utc_offset;           /* of local time, in seconds */
	const struct report_message *message;
	const struct report_recipient *recipients;
	size_t count;
};

/* Takes `n` bytes of the message, LF line ends.  False ends it; errno is the caller's. */
typedef bool report_sink(void *context, const char *bytes, size_t n);

enum report_result {
	REPORT_COMPOSED,
	REPORT_BODY_UNREADABLE,    /* `why` is that of the body */
	REPORT_SINK_FAILED,
};

/*
 * Writes a whole message.  The original comes with it as RET asks for failures; its header alone for delays,
 * successes and above settings->max bytes.  The same report has the same Message-ID, so that one that a crash has
 * doubled can be told from a new one.  *smtputf8 tells whether its recipient's server must take SMTPUTF8 (RFC 6531).
 */
enum report_result report_compose(const struct report *report, const struct report_settings *settings,
                                  const struct forms *forms, report_sink *sink, void *context, bool *smtputf8,
                                  struct buf *why);

/*
 * Fills in status, remote and diagnostic from NOTARY as it stands in a d line or a report of an agent, 0x01 between its
 * six fields.  Cut up in place; what it points to lives as long as `notary`.
 */
void report_from_notary(struct report_recipient *recipient, char *notary);

#endif
