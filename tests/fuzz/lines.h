/*
 * For targets whose input begins with lines.
 */
#ifndef ZL_TESTS_FUZZ_LINES_H
#define ZL_TESTS_FUZZ_LINES_H

#include <stdint.h>
#include <string.h>

#include "lib/alloc.h"

/* Takes a line off the input, up to a NUL in it; allocated. */
static inline char *take_line(const uint8_t **data, size_t *size)
{
	const uint8_t *lf = memchr(*data, '\n', *size);
	size_t n = lf != NULL ? (size_t)(lf - *data) : *size;
	char *line = xstrndup((const char *)*data, n);

	n += lf != NULL;
	*data += n;
	*size -= n;
	return line;
}

#endif
