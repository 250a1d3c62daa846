/*
 * The text of a map (maps.md section 6): plain lines and aliases.
 *
 *   plain       *WSP KEY *WSP VALUE       '#' as the first byte but blanks: a comment
 *   aliases     KEY *WSP ":" *WSP VALUE   '#' in column 1; lines that begin with a blank go on behind a comma
 *
 * The syntax is that of ZMailer's makedb.  What that program would store without a word but no lookup could ever
 * use is an error here: NUL bytes, CR at the end of a line, an empty key.  A plain key "user@domain:" is taken
 * without its colon, with a warning.
 */
#ifndef ZL_DB_BUILD_TEXT_H
#define ZL_DB_BUILD_TEXT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "db/build/fault.h"
#include "db/store/records.h"
#include "lib/buf.h"

struct text_syntax {
	bool aliases;          /* -a; keys are then in lower case unless folding is 'u' */
	char folding;          /* 'l', 'u', or '-' for none: ASCII letters of keys */
};

/* 'l', 'u' or '-': what `syntax` does to keys in the end. */
char text_folding(const struct text_syntax *syntax);

/* Folds a key of n bytes in place. */
void text_fold(char *key, size_t n, char folding);

/*
 * Takes the quotes of a local part away that need none, in place: "user"@domain and user@domain are one mailbox (RFC
 * 5321 section 4.1.2) and have one key.  Takes a key of n bytes; returns its new
 * length.
 */
size_t text_unquote(char *key, size_t n);

/*
 * Adds a warning if the `what` ("key" or "value") holds a character that cannot be seen (text_invisible()), and sets
 * *at to its place.  False if it holds none.
 */
bool text_warn_of_invisible(const char *what, const char *bytes, size_t n, size_t *at, struct buf *out);

/* The same of a key, and of the domain in it if it is written otherwise than lookups write it. */
bool text_warn_of_key(const char *key, size_t n, size_t *at, struct buf *out);

/*
 * Looks at one value.  False if it is wrong: *why is a constant text and *offset the byte of the value it is
 * about.  *is_warning may be set to let it pass.
 */
typedef bool text_check(void *context, const struct record *record, size_t *offset, const char **why, bool *is_warning);

struct text_reader {
	const char *file;              /* its name, for faults */
	struct text_syntax syntax;
	text_check *check;             /* NULL: any value will do */
	void *check_context;
	fault_report *report;
	void *report_context;
	uint64_t values_size;          /* out: bytes of values with their NULs */
	size_t longest;                /* out: of the longest value with its NUL */
};

/*
 * Reads records->text, which is changed: keys and values point into it afterwards.  Records are added in the order
 * of lines.  Returns the number of errors; warnings do not count.
 */
size_t text_read(struct text_reader *reader, struct records *records);

#endif
