/*
 * Working memory that ends all at once.
 *
 * For work that makes many small things and throws all of them away together: nothing is freed alone, and
 * after a reset or release the memory is used again.  A zeroed struct is an empty pool.
 */
#ifndef ZL_LIB_POOL_H
#define ZL_LIB_POOL_H

#include <stddef.h>

struct pool_block;

struct pool {
	struct pool_block *first;
	struct pool_block *current;
	size_t used;               /* bytes of the current block */
};

/* Zeroed memory, aligned for anything. */
void *pool_alloc(struct pool *pool, size_t size);

/* The same for text, which needs no alignment. */
char *pool_bytes(struct pool *pool, size_t size);

/* A copy of n bytes with a NUL behind. */
char *pool_copy(struct pool *pool, const char *bytes, size_t n);

/* printf into the pool. */
char *pool_format(struct pool *pool, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* What was made since the mark is forgotten by pool_release(). */
struct pool_mark {
	struct pool_block *current;
	size_t used;
};

struct pool_mark pool_mark(const struct pool *pool);
void pool_release(struct pool *pool, struct pool_mark mark);

/* Forgets everything, keeps the memory. */
void pool_reset(struct pool *pool);

void pool_free(struct pool *pool);

/* Bytes of memory that it has. */
size_t pool_size(const struct pool *pool);

#endif
