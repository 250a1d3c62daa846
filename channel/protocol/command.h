/*
 * Command lines, built in one place.  Whatever could break a line apart (CR, LF, NUL, other
 * control bytes) is refused, never escaped.
 */
#ifndef ZL_CHANNEL_PROTOCOL_COMMAND_H
#define ZL_CHANNEL_PROTOCOL_COMMAND_H

#include <stdbool.h>
#include <stdint.h>

#include "channel/protocol/caps.h"
#include "lib/buf.h"

/* The longest line without its CRLF that every known server takes (Postfix's sink stops below 4000). */
#define COMMAND_MAX 2000

struct envelope {
	const char *sender;       /* "" = the null return path */
	bool eightbit;            /* a byte above 127 in header or body */
	uint64_t size;            /* bytes on the wire, without dot stuffing */
	const char *envid;        /* xtext, or NULL */
	const char *ret;          /* "FULL", "HDRS" or NULL */
	const char *by;           /* by-value of RFC 2852 with the time that is left, or NULL */
};

struct envelope_recipient {
	const char *address;
	const char *notify;       /* value for NOTIFY= (RFC 3461), or NULL */
	const char *orcpt;        /* "type;xtext", or NULL: made from the address */
	bool ignore_quota;        /* ask Cyrus to deliver over quota */
};

enum command_result {
	COMMAND_OK,
	COMMAND_BAD_ADDRESS,      /* it cannot be written in a command at all */
	COMMAND_TOO_LONG,
	COMMAND_NEEDS_SMTPUTF8,   /* 8-bit address and the server does not announce SMTPUTF8 (RFC 6531) */
};

/* Each adds one line with its CRLF to `out`, or nothing when it does not return COMMAND_OK. */
enum command_result command_mail(struct buf *out, const struct envelope *envelope, const struct caps *caps,
                                 bool smtputf8);
enum command_result command_rcpt(struct buf *out, const struct envelope_recipient *recipient,
                                 const struct caps *caps);

/* A line of fixed words ("LHLO name"); false if it holds a control byte or is too long. */
bool command_line(struct buf *out, const char *verb, const char *argument);

/* True if the address has a byte above 127. */
bool command_is_8bit(const char *address);

#endif
