/*
 * Internationalized domain names (RFC 5890): a domain is written with U-labels ("münchen.example", UTF-8) or A-labels
 * ("xn--mnchen-3ya.example"), and both mean the same.
 */
#ifndef ZL_DB_GRAMMAR_IDN_H
#define ZL_DB_GRAMMAR_IDN_H

#include <stdbool.h>
#include <stddef.h>

#include "lib/buf.h"

/*
 * Adds the other way to write a domain of n bytes: A-labels for one that holds U-labels, U-labels for one that holds
 * A-labels, ASCII letters in lower case.  A dot in front stays.  False, and nothing is added, for a domain that has one
 * way to be written, for what IDNA2008 does not permit (capitals above ASCII among it), and without libidn2.
 */
bool idn_other_form(const char *domain, size_t n, struct buf *out);

/* True if both are one domain, whatever the case of ASCII letters. */
bool idn_equal(const char *a, const char *b);

#endif
