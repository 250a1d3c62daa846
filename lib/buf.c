#include "lib/buf.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/alloc.h"

void buf_free(struct buf *b)
{
	free(b->data);
	*b = (struct buf){ .limit = b->limit };
}

void buf_wipe(struct buf *b)
{
	if (b->data != NULL)
		explicit_bzero(b->data, b->size);
	buf_free(b);
}

void buf_clear(struct buf *b)
{
	b->len = 0;
	if (b->data != NULL)
		b->data[0] = '\0';
}

/* Apart, so that what is done for each byte saves no registers for it. */
static __attribute__((noinline)) char *grow(struct buf *b, size_t need)
{
	size_t size = b->size ? b->size : 64;

	while (size < need)
		size = size > SIZE_MAX / 2 ? need : size * 2;
	b->data = xrealloc(b->data, size);
	b->size = size;
	return b->data + b->len;
}

char *buf_reserve(struct buf *b, size_t more)
{
	if (b->limit != 0 && (more > b->limit || b->len > b->limit - more))
		return NULL;
	return b->len + more + 1 > b->size ? grow(b, b->len + more + 1) : b->data + b->len;
}

bool buf_add(struct buf *b, const void *bytes, size_t n)
{
	char *p = buf_reserve(b, n);

	if (p == NULL)
		return false;
	if (n > 0)
		memcpy(p, bytes, n);
	p[n] = '\0';
	b->len += n;
	return true;
}

bool buf_addc(struct buf *b, char c)
{
	char *p = buf_reserve(b, 1);

	if (p == NULL)
		return false;
	p[0] = c;
	p[1] = '\0';
	b->len++;
	return true;
}

bool buf_adds(struct buf *b, const char *s)
{
	return buf_add(b, s, strlen(s));
}

bool buf_addu(struct buf *b, uint64_t number)
{
	char digits[20], *p = digits + sizeof digits;

	do {
		*--p = (char)('0' + number % 10);
		number /= 10;
	} while (number != 0);
	return buf_add(b, p, (size_t)(digits + sizeof digits - p));
}

bool buf_vaddf(struct buf *b, const char *format, va_list ap)
{
	/* mostly what there is is enough */
	size_t room = b->size - b->len;
	va_list again;
	int n;
	char *p;

	va_copy(again, ap);
	n = vsnprintf(room > 0 ? b->data + b->len : NULL, room, format, again);
	va_end(again);
	p = n >= 0 ? buf_reserve(b, (size_t)n) : NULL;
	if (p == NULL) {
		if (room > 0)
			b->data[b->len] = '\0';
		return false;
	}
	if ((size_t)n >= room)
		vsnprintf(p, (size_t)n + 1, format, ap);
	b->len += (size_t)n;
	return true;
}

bool buf_addf(struct buf *b, const char *format, ...)
{
	va_list ap;
	bool ok;

	va_start(ap, format);
	ok = buf_vaddf(b, format, ap);
	va_end(ap);
	return ok;
}

bool buf_equal(const struct buf *a, const struct buf *b)
{
	/* an empty one may have no bytes to point to */
	return a->len == b->len && (a->len == 0 || memcmp(a->data, b->data, a->len) == 0);
}

void buf_consume(struct buf *b, size_t n)
{
	if (n == 0)
		return;
	memmove(b->data, b->data + n, b->len - n);
	b->len -= n;
	b->data[b->len] = '\0';
}

const char *buf_str(const struct buf *b)
{
	return b->data ? b->data : "";
}
