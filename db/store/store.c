#include "db/store/store.h"

#include <errno.h>
#include <string.h>

#include "lib/child.h"
#include "lib/clock.h"

/* 0.5 s were measured for 100 MB; a disk that must be read first is slower by far. */
#define LOOK_MS_AT_LEAST 60000
#define LOOK_MS_PER_MB 100

/* An environment may know of more pages than it has noted in the file. */
#define SIZE_UNKNOWN ((uint64_t)1 << 30)

bool record_is_note(const char *key, size_t n)
{
	return n > 1 && key[0] == '\0';
}

bool record_is_unclear(const char *value, size_t n)
{
	return n == sizeof UNCLEAR_VALUE - 1 && memcmp(value, UNCLEAR_VALUE, n) == 0;
}

size_t record_length(const void *bytes, size_t n)
{
	return n > 0 && ((const char *)bytes)[n - 1] == '\0' ? n - 1 : n;
}

size_t store_base_length(const char *path)
{
	static const char *const suffixes[] = { STORE_BTREE, STORE_BHASH, STORE_LMDB };
	const size_t n = strlen(path);

	for (size_t i = 0; i < sizeof suffixes / sizeof suffixes[0]; i++) {
		const size_t m = strlen(suffixes[i]);

		if (n >= m && strcmp(path + n - m, suffixes[i]) == 0)
			return n - m;
	}
	return n;
}

bool store_is_plausible(int64_t size, uint64_t used)
{
	return (uint64_t)size / 2 <= used || (uint64_t)size - used <= SIZE_UNKNOWN;
}

enum store_proof store_look(int (*look)(void *context, struct buf *said), void *context, int64_t size, struct buf *why)
{
	const int64_t patience = LOOK_MS_AT_LEAST + size / 1000000 * LOOK_MS_PER_MB;
	enum store_proof proof = STORE_COULD_NOT_TELL;
	struct buf said = { 0 };
	int status = 0;

	switch (child_ask(look, context, clock_ms() + patience, &status, &said)) {
	case CHILD_SAID:
		proof = status == STORE_LOOKS_SOUND ? STORE_SOUND : status == STORE_LOOKS_DAMAGED ? STORE_DAMAGED
		        : STORE_COULD_NOT_TELL;
		if (proof == STORE_DAMAGED)
			buf_addf(why, "damaged (%s)", buf_str(&said));
		else if (proof == STORE_COULD_NOT_TELL)
			buf_addf(why, "cannot be verified: %s", said.len > 0 ? buf_str(&said) : "not enough memory");
		break;
	case CHILD_CRASHED:
		proof = STORE_DAMAGED;
		buf_addf(why, "damaged (looking at it ended by signal %d)", status);
		break;
	case CHILD_KILLED:
		buf_addf(why, "the process that verified it was killed by signal %d", status);
		break;
	case CHILD_HUNG:
		buf_addf(why, "could not be verified in %lld s", (long long)patience / 1000);
		break;
	case CHILD_FAILED:
		buf_addf(why, "cannot start a process to verify it: %s", strerror(errno));
		break;
	}
	buf_free(&said);
	return proof;
}
