/* Files without a name, for tests of what is done to an open one. */
#ifndef ZL_TESTS_UNIT_NAMELESS_H
#define ZL_TESTS_UNIT_NAMELESS_H

#include <stdlib.h>
#include <unistd.h>

#include "tests/unit/unit.h"

/* A temporary file with this content, already without a name. */
static int file_of(const char *text)
{
	char name[] = "/tmp/zlmtp-unit.XXXXXX";
	int fd = mkstemp(name);

	assert_true(fd >= 0);
	unlink(name);
	assert_int_equal(write(fd, text, strlen(text)), strlen(text));
	return fd;
}

static void file_is(int fd, const char *expect)
{
	char have[4096];
	ssize_t n = pread(fd, have, sizeof have, 0);

	assert_int_equal(n, strlen(expect));
	assert_memory_equal(have, expect, strlen(expect));
}

#endif
