#include "lib/pool.h"

#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>

#include "lib/alloc.h"
#include "lib/log.h"

/* There may be many pools with next to nothing in them: the first block is small. */
#define FIRST_BLOCK 1000
#define BLOCK_SIZE 16000

struct pool_block {
	struct pool_block *next;
	size_t size;
	_Alignas(max_align_t) char bytes[];
};

/* The next block that holds `size` bytes: one kept from before a reset, or a new one. */
static void next_block(struct pool *pool, size_t size)
{
	struct pool_block **place = pool->current != NULL ? &pool->current->next : &pool->first;

	if (*place == NULL || (*place)->size < size) {
		size_t usual = pool->first == NULL ? FIRST_BLOCK : BLOCK_SIZE;
		struct pool_block *block;

		if (size < usual)
			size = usual;
		if (size > SIZE_MAX - sizeof *block)
			alloc_die();
		block = xmalloc(sizeof *block + size);
		block->size = size;
		block->next = *place;
		*place = block;
	}
	pool->current = *place;
	pool->used = 0;
}

static void *take(struct pool *pool, size_t size, size_t align)
{
	size_t start = (pool->used + align - 1) / align * align;
	void *p;

	if (pool->current == NULL || pool->current->size < start || pool->current->size - start < size) {
		next_block(pool, size);
		start = 0;
	}
	p = pool->current->bytes + start;
	pool->used = start + size;
	return memset(p, 0, size);
}

void *pool_alloc(struct pool *pool, size_t size)
{
	return take(pool, size, _Alignof(max_align_t));
}

char *pool_bytes(struct pool *pool, size_t size)
{
	return take(pool, size, 1);
}

char *pool_copy(struct pool *pool, const char *bytes, size_t n)
{
	char *copy = pool_bytes(pool, n + 1);

	if (n > 0)
		memcpy(copy, bytes, n);
	return copy;
}

char *pool_format(struct pool *pool, const char *format, ...)
{
	va_list ap;
	int n;
	char *text;

	va_start(ap, format);
	n = vsnprintf(NULL, 0, format, ap);
	va_end(ap);
	if (n < 0)
		die(EX_OSERR, "cannot format text");
	text = pool_alloc(pool, (size_t)n + 1);
	va_start(ap, format);
	vsnprintf(text, (size_t)n + 1, format, ap);
	va_end(ap);
	return text;
}

struct pool_mark pool_mark(const struct pool *pool)
{
	return (struct pool_mark){ pool->current, pool->used };
}

void pool_release(struct pool *pool, struct pool_mark mark)
{
	pool->current = mark.current;
	pool->used = mark.used;
}

void pool_reset(struct pool *pool)
{
	pool->current = pool->first;
	pool->used = 0;
}

size_t pool_size(const struct pool *pool)
{
	size_t size = 0;

	for (const struct pool_block *b = pool->first; b != NULL; b = b->next)
		size += sizeof *b + b->size;
	return size;
}

void pool_free(struct pool *pool)
{
	for (struct pool_block *b = pool->first, *next; b != NULL; b = next) {
		next = b->next;
		free(b);
	}
	*pool = (struct pool){ 0 };
}
