/*
 * The inside of control file lines: quads, DSN parameters, diagnostics
 * (spool.md sections 5, 6 and 9).  Everything is cut up in place; results point into
 * the line.
 */
#ifndef ZL_CHANNEL_SPOOL_FIELDS_H
#define ZL_CHANNEL_SPOOL_FIELDS_H

#include <stdbool.h>
#include <stddef.h>

#include "channel/spool/recipient.h"
#include "lib/buf.h"

struct quad {
	const char *channel;
	const char *host;
	const char *user;
	const char *privilege;    /* "" if the line ends before it */
};

/*
 * Cuts up "CHANNEL HOST USER PRIVILEGE".  A field ends at a blank or TAB outside of double
 * quotes; a backslash makes the next byte ordinary.  Quotes and backslashes stay, as they
 * belong to the address.  False if one of the first three is missing or a quote has no end.
 */
bool quad_parse(char *text, struct quad *quad);

/* Adds the quad "CHANNEL HOST USER PRIVILEGE"; fields are quoted where quad_parse() needs it. */
void quad_add(struct buf *out, const char *channel, const char *host, const char *user, long privilege);

/*
 * Why a channel or host must not become a word, or part of a word, of a command line: it would be an option there, or
 * name another file.  NULL if it may.  "-" is the usual host of local channels, and "UNIX:/path" a server.
 */
const char *quad_unfit(const char *field);

/* Puts the parameters of one N line (its value) into `recipient`; those it does not name stay as they are. */
void dsn_parse(char *text, struct control_recipient *recipient);

/* Cuts up one d line, from its 'd' on.  False if it is not one; d->offset is left alone. */
bool diagnostic_parse(char *line, struct control_diagnostic *d);

#endif
