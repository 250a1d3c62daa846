/*
 * A message as a program on this machine hands it to sendmail: its lines, and the addresses in its header
 * (RFC 5322 section 3.4).
 */
#ifndef ZL_CHANNEL_SUBMIT_LETTER_H
#define ZL_CHANNEL_SUBMIT_LETTER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

#include "lib/buf.h"

struct address_list {
	char **list;
	size_t count, capacity;
};

/*
 * Reads a message up to the end of `in`, or with `dot` up to a line that is a dot.  What a mailbox has in front is
 * dropped (incoming_front()); CR LF becomes LF; a blank line stands between header and body afterwards, also where the text
 * began at once.  False with errno (EFBIG at text->limit).
 */
bool letter_read(FILE *in, bool dot, struct buf *text);

/* Is there such a field ("From")? */
bool letter_has_field(const struct buf *text, const char *name);

/* Adds the addresses of To, Cc and Bcc; if there is a Resent-To, Resent-Cc or Resent-Bcc, those of these alone. */
void letter_recipients(const struct buf *text, struct address_list *list);

/*
 * Adds the addresses of a list as a header has it: names, comments and groups are dropped.  What is no address is added as it
 * stands, for the code that judges it.
 */
void address_list_parse(const char *text, size_t n, struct address_list *list);
void address_list_free(struct address_list *list);

#endif
