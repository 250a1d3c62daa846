/*
 * The arguments of MAIL and RCPT, taken apart (RFC 5321 section 4.1.2; parameters as in RFC 3461 section 4).
 */
#ifndef ZL_CHANNEL_PROTOCOL_ARGUMENTS_H
#define ZL_CHANNEL_PROTOCOL_ARGUMENTS_H

#include <stdbool.h>
#include <stddef.h>

/*
 * Cuts "<path>" off *at, with blanks in front of it; a source route in it is dropped (RFC 5321 appendix F.2).  The path
 * is ended in place, and *at points behind the bracket.  NULL if it is no path: brackets missing or inside, quotes not
 * closed, something but a blank behind it.  "" is the null path.
 */
char *arguments_path(char **at);

/*
 * The next "NAME" or "NAME=VALUE" of *at; *value is NULL for the first form.  Both are ended in place.  NULL at the end;
 * *bad is set where it is no parameter.
 */
char *arguments_parameter(char **at, char **value, bool *bad);

/* xtext, at least one byte (RFC 3461 section 4). */
bool arguments_is_xtext(const char *s);

/* NEVER alone, or a list of SUCCESS, FAILURE and DELAY; a word may come twice (RFC 3461 section 4.1). */
bool arguments_is_notify(const char *s);

/* "type;xtext" (RFC 3461 section 4.2); with `utf8` also utf-8-address of RFC 6533 section 3. */
bool arguments_is_orcpt(const char *s, bool utf8);

#endif
