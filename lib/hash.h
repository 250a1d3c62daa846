/*
 * FNV-1a, for tables and to distinguish texts; no protection against an attacker who chooses the texts.
 */
#ifndef ZL_LIB_HASH_H
#define ZL_LIB_HASH_H

#include <stddef.h>
#include <stdint.h>

#define HASH_START UINT64_C(14695981039346656037)

/* Goes on from `hash` with one byte, or with n. */
static inline uint64_t hash_byte(uint64_t hash, unsigned char byte)
{
	return (hash ^ byte) * UINT64_C(1099511628211);
}

uint64_t hash_bytes(uint64_t hash, const void *bytes, size_t n);

/* The same with a string and a mark behind it, so that "ab" and "c" differ from "a" and "bc". */
uint64_t hash_string(uint64_t hash, const char *s);

/* Of a table with a power of two cells, where this hash belongs.  The lowest bits of FNV-1a are its weakest. */
static inline size_t hash_cell(uint64_t hash, size_t cells)
{
	return (size_t)(hash ^ hash >> 32) & (cells - 1);
}

#endif
