/*
 * Bytes from outside become text here and nowhere else.
 */
#ifndef ZL_LIB_TEXT_H
#define ZL_LIB_TEXT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <time.h>

#include "lib/buf.h"

/* Is a control byte (TAB, CR, LF, NUL, DEL ...) in them? */
bool text_has_controls(const char *bytes, size_t n);

/*
 * Adds `n` bytes as printable text: every control byte (TAB, CR, LF, NUL, DEL
 * and C1 included) and every character that changes the direction of text becomes one blank, runs of them one blank; bytes that
 * are not valid UTF-8 become '?'.  At most `cap` bytes are added; a cut is marked by "...".
 */
void text_add_clean(struct buf *out, const char *bytes, size_t n, size_t cap);

/* Same for a C string. */
void text_add_clean_string(struct buf *out, const char *s, size_t cap);

/* Same for each line, which LF ends, with `indent` in front of it; at most `cap` bytes of each. */
void text_add_clean_lines(struct buf *out, const char *indent, const char *bytes, size_t n, size_t cap);

/*
 * Adds `s` as a JSON string with its quotes (RFC 8259); bytes that are not UTF-8 become U+FFFD, and all control characters
 * are escaped, as are those that turn the direction of text.
 */
void text_add_json(struct buf *out, const char *s, size_t n);

/* Adds the bytes that xtext stands for (RFC 3461 section 4): "+2B" is "+"; a NUL becomes '?'. */
void text_add_xtext_decoded(struct buf *out, const char *s);

/* Adds what utf-8-addr-xtext stands for (RFC 6533 section 3): "\x{FC}" is a character. */
void text_add_utf8_xtext_decoded(struct buf *out, const char *s);

/* Adds the type, in small letters, and the address of "type;xtext" (RFC 3461 section 4.2).  False if it is none, or NULL. */
bool text_typed_address(const char *s, struct buf *type, struct buf *address);

/* Adds a moment of local time as RFC 5322 writes it. */
void text_add_date(struct buf *out, time_t when);

/* The same in a zone so many seconds east of UTC; the zone of the system does not matter. */
void text_add_date_zone(struct buf *out, time_t when, long offset);

/* ASCII only, whatever the locale. */
char ascii_lower(char c);
void ascii_lower_string(char *s);

/* A blank or a TAB. */
static inline bool ascii_is_blank(char c)
{
	return c == ' ' || c == '\t';
}

/* One of these, CR or LF: what may stand between the words of a header field, folded or not. */
static inline bool ascii_is_space(char c)
{
	return ascii_is_blank(c) || c == '\n' || c == '\r';
}

/* Behind the blanks and TABs at the start of a string. */
static inline const char *ascii_skip_blanks(const char *s)
{
	while (ascii_is_blank(*s))
		s++;
	return s;
}

/* The value of a hexadecimal digit; -1 if it is none. */
int ascii_hex(char c);

/* True if both are the same text, or both NULL. */
bool text_same(const char *a, const char *b);

/*
 * Adds a text in which `mark` and two hexadecimal digits stand for a byte, as %20 does for a blank.  False if anything else
 * follows a mark.
 */
bool text_add_unescaped(struct buf *out, const char *text, size_t n, char mark);

/* A byte of a UTF-8 character behind its first one. */
static inline bool text_is_within_character(char c)
{
	return ((unsigned char)c & 0xc0) == 0x80;
}

/* For qsort(3) of strings (char *). */
int text_compare(const void *a, const void *b);

/* How long the first word is, up to a blank or `stop` outside quotes; a backslash takes the next byte as it is. */
size_t text_word_length(const char *line, size_t n, char stop);

/* Is it one of a list with NULL at the end? */
bool text_is_among(const char *s, const char *const *list);

/* True if `end` is the end of `s`, or all of it. */
bool text_ends_in(const char *s, const char *end);

/* True if both are the same but for the case of ASCII letters. */
bool ascii_equal(const char *a, const char *b);

/* RFC 5322 section 3.2.3 atext, and every byte above 127 (RFC 6532 section 3.2). */
static inline bool text_is_atext(char c)
{
	const unsigned char u = (unsigned char)c, letter = u | 0x20;

	if (u >= 128 || (letter >= 'a' && letter <= 'z') || (u >= '0' && u <= '9'))
		return true;
	switch (c) {
	case '!': case '#': case '$': case '%': case '&': case '\'': case '*': case '+': case '-': case '/':
	case '=': case '?': case '^': case '_': case '`': case '{': case '|': case '}': case '~':
		return true;
	default:
		return false;
	}
}

/*
 * Adds an address as RFC 5321 section 4.1.2 writes it: a local part with a dot at its end or beside another one gets
 * its quotes; everything else stays as it is.
 */
void text_add_address(struct buf *out, const char *address);

/* Leaves out blanks at both ends. */
void text_strip(const char **bytes, size_t *n);

/* True if a byte above 127 is among them. */
bool text_is_eightbit(const char *s, size_t n);

/* True if all of it is UTF-8 (RFC 3629). */
bool text_is_utf8(const char *s, size_t n);

/* The length of the valid UTF-8 sequence at s (1 to 4) within n bytes, or 0 (RFC 3629). */
size_t text_utf8_length(const char *s, size_t n);

/*
 * Finds the first character from byte *at on that looks like a blank, or like nothing at all, and is neither blank nor
 * tab: U+00A0, U+200B and the like.  Returns its code with *at set to its place; 0 if there is none.
 */
uint32_t text_invisible(const char *s, size_t n, size_t *at);

/* Adds what to say of a text of a configuration that holds one; false, and nothing is added, if it holds none. */
bool text_add_invisible(struct buf *out, const char *s, size_t n);

/* The length of the byte order mark (U+FEFF in UTF-8) at the start of a text; 0 if there is none. */
size_t text_mark(const char *text, size_t n);

/*
 * A text as its author meant it, in place: without the byte order mark at its start, and with LF where it
 * has CR LF.  A CR at the very end goes as well.  Returns what is left of `n` bytes, with a NUL behind it if it is less.
 */
size_t text_unmark(char *text, size_t n);

#endif
