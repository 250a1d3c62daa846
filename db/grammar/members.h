/*
 * Address lists: the values of alias maps (routing.md section 5.1, RFC 5322 section 3.4).
 */
#ifndef ZL_DB_GRAMMAR_MEMBERS_H
#define ZL_DB_GRAMMAR_MEMBERS_H

#include <stdbool.h>
#include <stddef.h>

#include "db/grammar/address.h"
#include "lib/pool.h"

enum member_kind {
	MEMBER_ADDRESS,
	MEMBER_PIPE,       /* "|command", in quotes */
	MEMBER_FILE,       /* /path, with or without quotes */
};

struct member {
	enum member_kind kind;
	struct address address;    /* of MEMBER_ADDRESS */
	const char *text;          /* of the others, without quotes */
};

/*
 * Reads a list: mailboxes between commas, "phrase <address>", groups "name: a, b;", comments.  Each line of a value
 * of several lines is a list; lines that begin with '#' and blank ones are skipped; superfluous commas are
 * forgiven.  `pool` gets what it makes.  False if anything is wrong: *why is a constant text and *offset the byte of
 * `value` it is about; then no member counts.  An empty list is true with no member.
 */
bool members_parse(struct pool *pool, const char *value, size_t length, enum address_syntax syntax,
                   struct member **members, size_t *count, size_t *offset, const char **why);

#endif
