/*
 * How a map was built, told by the map itself, and a checksum of the whole file.
 *
 * newdb stores one record more under a key that begins with NUL, which no lookup can form.  Its value holds a
 * checksum over every byte of the file (its own digits count as '0'), so that a damaged map is known before libdb or
 * LMDB trusts a byte of it.  Nothing else in the file differs from what ZMailer's makedb writes.
 *
 * A program that changes such a file in place must break the seal first; a broken seal is no damage, only no proof.
 */
#ifndef ZL_DB_STORE_STAMP_H
#define ZL_DB_STORE_STAMP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lib/buf.h"

/* The key with its NUL at the end. */
extern const char stamp_key[];
#define STAMP_KEY_LENGTH 11

/* The first byte of a stored value whose seal was broken. */
#define STAMP_BROKEN '-'

/* What a text was when a map was built from it: any other is a newer one, whatever its time says. */
struct stamp_text {
	bool known;
	int64_t size;
	int64_t modified;      /* nanoseconds since 1970 */
	uint64_t sum;          /* stamp_sum() */
};

/* The checksum of a text. */
uint64_t stamp_sum(const char *bytes, size_t n);

struct stamp {
	struct stamp_text text;
	char *source;          /* absolute path of the text; "-" for standard input */
	char *version;         /* of the program that built the map */
	int64_t built;         /* stamp_now() before the text was read */
	uint64_t records;      /* without the stamp */
	char folding;          /* what was done to keys: 'l', 'u', or '-' */
	char syntax;           /* of the text: 'a' aliases, 'p' plain, '-' no text */
};

/* Nanoseconds since 1970.  File systems may date a change earlier than that by STAMP_LAG. */
#define STAMP_LAG 20000000
int64_t stamp_now(void);

/* Adds the value that is stored under stamp_key, its digits still '0'; the caller stores it with its NUL. */
void stamp_add(struct buf *out, const struct stamp *stamp);

/* Reads a stored value of `n` bytes.  False if it is none; otherwise free it by stamp_free(). */
bool stamp_parse(struct stamp *stamp, const char *value, size_t n);

/*
 * True for a stored value whose seal was broken before the map was changed in place.  In a file where no seal is found, any
 * other is the ruin of one: the file promises to be as it was built, and is not.
 */
bool stamp_is_broken(const char *value, size_t n);

void stamp_free(struct stamp *stamp);

enum stamp_state {
	STAMP_GOOD,          /* the file is as it was built */
	STAMP_NONE,          /* no seal in the file */
	STAMP_BAD,           /* the file has changed since, or the seal itself is damaged */
	STAMP_UNREADABLE,    /* errno says why */
};

/* Reads the whole file and compares; leaves the file offset alone. */
enum stamp_state stamp_check(int fd) __attribute__((warn_unused_result));

/* Writes the checksum into a file that is complete.  False with errno; ENOMSG if there is no stamp in it. */
bool stamp_seal(int fd);

/*
 * Makes the seal unreadable, before the file is changed in place.  Returns what stamp_check() would have said before; a bad
 * seal is left alone.
 */
enum stamp_state stamp_break(int fd) __attribute__((warn_unused_result));

#endif
