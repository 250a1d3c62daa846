/*
 * Mail addresses: taken apart, brought to one form, put together again (routing.md section 1, RFC 5321
 * section 4.1.2, RFC 5322 section 3.4.1).
 *
 * One mailbox has one form here: quotes and backslashes are syntax and no part of a local part, a source route
 * and a dot behind the domain are dropped, "host!user" and "user%host" become user@host when there is no '@'.  So no
 * spelling of an address can pass by an entry that is meant for it.
 */
#ifndef ZL_DB_GRAMMAR_ADDRESS_H
#define ZL_DB_GRAMMAR_ADDRESS_H

#include <stdbool.h>
#include <stddef.h>

#include "lib/buf.h"
#include "lib/pool.h"

/* Longer addresses are refused.  Far above RFC 5321 section 4.5.3.1, as encoded return paths are longer. */
#define ADDRESS_MAX 16384

struct address {
	const char *written;   /* the local part as it stands, with its quotes */
	const char *local;     /* its content without quotes, case kept; never empty */
	const char *domain;    /* case kept, no dot at the end; NULL for a local name */
	bool no_alias;         /* a backslash stands in front: not to be aliased */
};

enum address_syntax {
	ADDRESS_PLAIN,
	ADDRESS_TEMPLATE,      /* '%' and a digit, and "%%", are references; they never part user and host */
};

/*
 * Takes `length` bytes apart; what it makes lives in `pool`.  False with *why, a constant text such as "the quotes
 * are not closed", for what cannot be an address: empty, longer than ADDRESS_MAX, control bytes and NUL, no
 * local part, a domain that is none, a path whose first host has no dot.
 */
bool address_parse(struct pool *pool, const char *text, size_t length, enum address_syntax syntax,
                   struct address *address, const char **why);

/*
 * Adds a local part as it must stand in front of an '@': as it is where that is a dot-string (RFC 5321 section
 * 4.1.2: atoms with single dots between them; bytes above 127 count as letters), else as a quoted string.
 */
void address_add_local(struct buf *out, const char *local);

/* True if address_add_local() would add quotes. */
bool address_needs_quotes(const char *local);

/* True if it holds a byte that can stand inside of quotes only, wherever the dots are. */
bool address_has_specials(const char *local);

/* Adds local part, tail and "@domain"; tail and domain may be NULL. */
void address_add(struct buf *out, const char *local, const char *tail, const char *domain);

/* The same in the pool. */
const char *address_text(struct pool *pool, const char *local, const char *tail, const char *domain);

/*
 * True if `domain` can be one: labels of 1 to 63 bytes, or 59 characters of UTF-8, between dots, or an address literal; no
 * port.
 */
bool address_domain_ok(const char *domain, size_t length);

/*
 * The family of an address literal (RFC 5321 section 4.1.3), "[192.0.2.1]" or "[IPv6:2001:db8::1]", whose address goes to
 * `bytes`; AF_UNSPEC if it is none.  No other tag than IPv6 was ever registered.
 */
int address_literal(const char *domain, size_t length, unsigned char bytes[16]);

/* The last '@' outside quotes within `length` bytes, NULL if there is none or the quotes are not closed. */
const char *address_at(const char *text, size_t length);

/*
 * The tail rule of "user+tail" and "user--tail" (routing.md section 1.1): the last "--" in front of the
 * first '+' parts them, else the first '+'; the user is never empty.  True if there is a tail; then *base and *tail
 * are in the pool, and *tail begins with '+' for both forms.
 */
bool address_split_tail(struct pool *pool, const char *local, const char **base, const char **tail);

/* The content of a local part, without quotes and backslashes.  NULL if quotes are not closed or a backslash ends it. */
const char *address_unquote(struct pool *pool, const char *text, size_t length);

#endif
