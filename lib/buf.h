/*
 * A growable string of bytes.
 *
 * Always followed by a NUL, so that data can be read as a C string once
 * something was added.  A zeroed struct is an empty buffer.  `limit` is its
 * ceiling in bytes, 0 for none: what would go beyond is refused whole.
 */
#ifndef ZL_LIB_BUF_H
#define ZL_LIB_BUF_H

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct buf {
	char *data;
	size_t len;
	size_t size;
	size_t limit;
};

void buf_free(struct buf *b);

/* The same for content that must not stay in memory: overwritten first.  Reserve its size beforehand, growing leaves copies. */
void buf_wipe(struct buf *b);

/* Empties the buffer; keeps its memory. */
void buf_clear(struct buf *b);

/* Makes room for `more` bytes behind the content; returns where they go, NULL if the limit forbids it. */
char *buf_reserve(struct buf *b, size_t more);

/* Each adds at the end and returns false, with nothing added, if the limit forbids it. */
bool buf_add(struct buf *b, const void *bytes, size_t n);
bool buf_addc(struct buf *b, char c);
bool buf_adds(struct buf *b, const char *s);
bool buf_addu(struct buf *b, uint64_t number);    /* decimal */
bool buf_addf(struct buf *b, const char *format, ...) __attribute__((format(printf, 2, 3)));
bool buf_vaddf(struct buf *b, const char *format, va_list ap) __attribute__((format(printf, 2, 0)));

/* Do both hold the same bytes? */
bool buf_equal(const struct buf *a, const struct buf *b);

/* Removes the first n bytes (n <= len). */
void buf_consume(struct buf *b, size_t n);

/* The content as a C string; "" if nothing was ever added. */
const char *buf_str(const struct buf *b);

#endif
