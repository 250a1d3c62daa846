/*
 * The log of outcomes: one line per recipient, to syslog and to the protocol
 * log, as key=value in a fixed order or as JSON.
 *
 *   message     leading number of the control file's name
 *   spool       the message's spool id, as in the logs of all ZMailer programs
 *   recipient   the user of the address quad
 *   from        the sender, "<>" for the null return path
 *   orcpt       ORCPT= of the N line, without its type and xtext; "-" without
 *   outcome     delivered, deferred or failed
 *   stage       where it was decided: local, connect, greeting, LHLO, STARTTLS, AUTH, MAIL, RCPT, DATA,
 *               content or final
 *   code        the server's reply code, 0 if it was not the server
 *   status      enhanced code
 *   words       the server's words, or ours
 *   peer        target as it was given
 *   session     the server's session id, "-" if it gave none
 *   tls         protocol, cipher, certificate, and whether it was verified or why not; "-" in clear
 *   delays      seconds: from the job to the transaction / connect / greeting to ready / envelope and
 *               content / final reply; a step that did not happen is 0
 *   maybe_duplicate  yes if the whole message was sent and no answer came, or 421 4.3.2, be it before a second try
 *               at once
 *
 * In JSON message and code are numbers, delays an array of numbers, maybe_duplicate true or false; all others are
 * strings.
 */
#ifndef ZL_CHANNEL_RECORD_H
#define ZL_CHANNEL_RECORD_H

#include <stdbool.h>
#include <stdint.h>

#include "channel/net/transcript.h"
#include "channel/protocol/policy.h"
#include "lib/logline.h"

enum record_format { RECORD_KEYS, RECORD_JSON };

struct record {
	enum record_format format;
	bool syslog;
	struct transcript *transcript;
	struct logline line;          /* record.c's: memory */
};

struct record_connection {
	const char *peer;
	const char *session;
	const char *tls;
	int64_t connect_ms;
	int64_t opening_ms;
};

struct record_entry {
	uint64_t message;
	const char *spool;               /* NULL = not known */
	const char *recipient;
	const char *sender;              /* "" = null return path */
	const char *orcpt;               /* "type;xtext", NULL = none */
	const struct result *result;
	const struct record_connection *connection;    /* NULL = none was tried */
	/* clock_ms(); 0 = did not happen */
	int64_t received_at, begun_at, sent_at;
};

/* Opens syslog (facility mail) if it is wanted. */
void record_open(struct record *record);

/* Logs the outcome of one recipient, to syslog and to the protocol log, as lmtp(8) LOG describes it. */
void record_add(struct record *record, const struct record_entry *entry);

#endif
