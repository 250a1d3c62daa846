#include "lib/hash.h"

#include <string.h>

uint64_t hash_bytes(uint64_t hash, const void *bytes, size_t n)
{
	const unsigned char *p = bytes;

	for (size_t i = 0; i < n; i++)
		hash = hash_byte(hash, p[i]);
	return hash;
}

uint64_t hash_string(uint64_t hash, const char *s)
{
	return hash_byte(hash_bytes(hash, s, strlen(s)), 0xff);
}
