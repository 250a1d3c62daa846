/*
 * Internationalized domain names (RFC 5890): a domain is written with U-labels ("münchen.example", UTF-8) or A-labels
 * ("xn--mnchen-3ya.example"), and both mean the same.
 */
#ifndef ZL_DB_GRAMMAR_IDN_H
#define ZL_DB_GRAMMAR_IDN_H

#include <stdbool.h>
#include <stddef.h>

#include "lib/buf.h"

enum idn_form { IDN_A_LABELS, IDN_U_LABELS };

/*
 * Adds another way to write a domain of n bytes, with A-labels or with U-labels, all letters in lower case, also those above
 * ASCII (UTS 46).  A dot in front stays.  False, and nothing is added, if it is written that way but for the case of ASCII
 * letters, for what cannot be a domain, and without libidn2.
 */
bool idn_other_form(const char *domain, size_t n, enum idn_form form, struct buf *out);

/* True if both are one domain, whatever the case of letters. */
bool idn_equal(const char *a, const char *b);

#endif
