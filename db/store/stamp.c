#include "db/store/stamp.h"

#include <errno.h>
#include <inttypes.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "lib/alloc.h"

const char stamp_key[] = "\0zlmtp-map";

_Static_assert(sizeof stamp_key == STAMP_KEY_LENGTH, "the key counts its NUL");

/*
 * What a sealed value begins with.  The first byte occurs in no UTF-8 text, which makes it quick to search for; all
 * of it never occurs but where it was put.  A broken seal has STAMP_BROKEN there.
 */
#define MAGIC "\367zlmtp stamp 1 check="
#define MAGIC_LENGTH (sizeof MAGIC - 1)
#define DIGITS 16
#define SEAL_LENGTH (MAGIC_LENGTH + DIGITS)
#define HALF 10                /* of the words, behind the first byte */

_Static_assert(1 + 2 * HALF == MAGIC_LENGTH, "two halves are the whole");

/* Read at a time; any multiple of 32. */
#define PIECE (512 * 1024)

/* A file holds one seal; libdb may leave copies of a moved record in the unused part of a page. */
#define MOST_SEALS 64

/* ---- the record ----------------------------------------------------------- */

int64_t stamp_now(void)
{
	struct timespec now;

	clock_gettime(CLOCK_REALTIME, &now);
	return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

void stamp_add(struct buf *out, const struct stamp *stamp)
{
	buf_addf(out, "%s%.*s built=%" PRId64 " records=%" PRIu64 " keys=%c syntax=%c", MAGIC, DIGITS, "0000000000000000",
	         stamp->built, stamp->records, stamp->folding, stamp->syntax);
	if (stamp->text.known)
		buf_addf(out, " text=%" PRId64 ",%" PRId64 ",%016" PRIx64, stamp->text.size, stamp->text.modified,
		         stamp->text.sum);
	buf_addf(out, " by=%s from=%s", stamp->version, stamp->source);
}

bool stamp_parse(struct stamp *stamp, const char *value, size_t n)
{
	char *text = xstrndup(value, n);
	int options = 0, end = 0, version = 0, version_end = 0, source = 0;
	const char *rest;

	*stamp = (struct stamp){ 0 };
	if (strlen(text) > SEAL_LENGTH && memcmp(text + 1, &MAGIC[1], MAGIC_LENGTH - 1) == 0)
		sscanf(text + SEAL_LENGTH, " built=%" SCNd64 " records=%" SCNu64 " keys=%c syntax=%c%n", &stamp->built,
		       &stamp->records, &stamp->folding, &stamp->syntax, &options);
	if (options > 0) {
		rest = text + SEAL_LENGTH + options;
		/* maps of earlier versions do not say it */
		sscanf(rest, " text=%" SCNd64 ",%" SCNd64 ",%" SCNx64 "%n", &stamp->text.size, &stamp->text.modified,
		       &stamp->text.sum, &end);
		stamp->text.known = end > 0;
		rest += end;
		sscanf(rest, " by=%n%*s%n from=%n", &version, &version_end, &source);
		if (source > 0) {
			stamp->version = xstrndup(rest + version, (size_t)(version_end - version));
			stamp->source = xstrdup(rest + source);
		}
	}
	free(text);
	return stamp->source != NULL;
}

bool stamp_is_broken(const char *value, size_t n)
{
	return n > MAGIC_LENGTH && value[0] == STAMP_BROKEN && memcmp(value + 1, &MAGIC[1], MAGIC_LENGTH - 1) == 0;
}

void stamp_free(struct stamp *stamp)
{
	free(stamp->source);
	free(stamp->version);
	*stamp = (struct stamp){ 0 };
}

/* ---- the checksum ----------------------------------------------------------- */

/*
 * Four lanes of 64 bits.  Every step is one-to-one in the lane and in the word, and so is the end in each lane:
 * a change within one word always shows, any other with all but one chance in 2^64.
 */
struct sum {
	uint64_t lane[4];
	uint64_t length;
};

static uint64_t mix(uint64_t lane, uint64_t word)
{
	lane = (lane ^ word) * UINT64_C(0x9e3779b97f4a7c15);
	return lane ^ lane >> 29;
}

/* n is a multiple of 32. */
static void sum_add(struct sum *sum, const char *bytes, size_t n)
{
	uint64_t words[4];

	sum->length += n;
	for (; n > 0; n -= sizeof words, bytes += sizeof words) {
		memcpy(words, bytes, sizeof words);
		for (int i = 0; i < 4; i++)
			sum->lane[i] = mix(sum->lane[i], words[i]);
	}
}

/* What is left, filled up with zeros; the length tells such a file from one that ends in zeros. */
static uint64_t sum_end(struct sum *sum, const char *bytes, size_t n)
{
	char rest[32] = { 0 };
	uint64_t all = sum->length + n;

	memcpy(rest, bytes, n);
	sum_add(sum, rest, sizeof rest);
	for (int i = 0; i < 4; i++)
		all = mix(all, sum->lane[i]);
	return all;
}

uint64_t stamp_sum(const char *bytes, size_t n)
{
	struct sum sum = { { 1, 2, 3, 4 }, 0 };
	size_t use = n / 32 * 32;

	sum_add(&sum, bytes, use);
	return sum_end(&sum, bytes + use, n - use);
}

struct scan {
	uint64_t sum;
	size_t seals;
	bool agree;                        /* all seals say the same */
	char digits[DIGITS];               /* what they say */
	off_t where[MOST_SEALS];
};

static bool is_digit(char c)
{
	return memchr("0123456789abcdef", c, 16) != NULL;
}

/* Digits that are none: the ruin of a seal that other bytes were written over. */
static bool has_digits(const char *p)
{
	for (int i = 0; i < DIGITS; i++)
		if (!is_digit(p[i]))
			return false;
	return true;
}

/*
 * Notes the seals in `bytes`, which stand at `offset` of the file, and sets their digits to '0'.  False if there
 * are more than any map that was built here can have.
 */
static bool mask_seals(struct scan *scan, char *bytes, size_t n, off_t offset)
{
	for (char *p = bytes; (p = memchr(p, MAGIC[0], n - (size_t)(p - bytes))) != NULL; p++) {
		off_t at = offset + (p - bytes);

		if (n - (size_t)(p - bytes) < SEAL_LENGTH)
			break;
		if (memcmp(p, MAGIC, MAGIC_LENGTH) != 0 || !has_digits(p + MAGIC_LENGTH))
			continue;
		/* met already at the end of the piece before */
		if (scan->seals > 0 && at <= scan->where[scan->seals - 1])
			continue;
		if (scan->seals == MOST_SEALS)
			return false;
		if (scan->seals == 0)
			memcpy(scan->digits, p + MAGIC_LENGTH, DIGITS);
		else if (memcmp(scan->digits, p + MAGIC_LENGTH, DIGITS) != 0)
			scan->agree = false;
		scan->where[scan->seals++] = at;
		memset(p + MAGIC_LENGTH, '0', DIGITS);
	}
	return true;
}

static ssize_t read_at(int fd, char *bytes, size_t n, off_t offset)
{
	size_t done = 0;

	while (done < n) {
		ssize_t got = pread(fd, bytes + done, n - done, offset + (off_t)done);

		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0)
			return -1;
		if (got == 0)
			break;
		done += (size_t)got;
	}
	return (ssize_t)done;
}

/*
 * Goes through the file.  The last SEAL_LENGTH bytes of a piece wait for the next one, so that a seal across the
 * border is seen whole before any byte of it is summed.
 */
static bool scan_file(int fd, struct scan *scan)
{
	size_t room = PIECE + 2 * SEAL_LENGTH, kept = 0;
	char *bytes = xmalloc(room);
	struct sum sum = { { 1, 2, 3, 4 }, 0 };
	off_t offset = 0;
	ssize_t got;
	bool ok = true;

	*scan = (struct scan){ .agree = true };
	while (ok && (got = read_at(fd, bytes + kept, PIECE, offset + (off_t)kept)) > 0) {
		size_t n = kept + (size_t)got;
		size_t use = n > SEAL_LENGTH ? (n - SEAL_LENGTH) / 32 * 32 : 0;

		ok = mask_seals(scan, bytes, n, offset);
		sum_add(&sum, bytes, use);
		kept = n - use;
		memmove(bytes, bytes + use, kept);
		offset += (off_t)use;
	}
	if (!ok)
		errno = EFBIG;
	if (ok && got == 0) {
		size_t use = kept / 32 * 32;

		sum_add(&sum, bytes, use);
		scan->sum = sum_end(&sum, bytes + use, kept - use);
	}
	free(bytes);
	return ok && got == 0;
}

static void format_digits(char *out, uint64_t sum)
{
	char text[DIGITS + 1];

	snprintf(text, sizeof text, "%016" PRIx64, sum);
	memcpy(out, text, DIGITS);
}

/*
 * One byte of a seal is not what it was.  Other bytes that were written over one, as libdb does when it moves records, change
 * more.  The first one may be any that no UTF-8 text has in front of a letter: no value of a map may look like this.
 */
static bool is_damaged_seal(const char *p)
{
	size_t wrong = 0;

	for (size_t i = 0; i < MAGIC_LENGTH; i++)
		wrong += p[i] != MAGIC[i];
	for (size_t i = MAGIC_LENGTH; i < SEAL_LENGTH; i++)
		wrong += !is_digit(p[i]);
	return wrong == 1 && (unsigned char)p[0] >= 0xc0;
}

/* Half of the words of a seal is left whatever byte of it was damaged. */
static bool holds_damaged_seal(const char *bytes, size_t n)
{
	for (size_t at = 1; at < MAGIC_LENGTH; at += HALF) {
		const char *end = bytes + n, *p = bytes;

		while ((p = memmem(p, (size_t)(end - p), &MAGIC[at], HALF)) != NULL) {
			if (p - bytes >= (ptrdiff_t)at && end - p >= (ptrdiff_t)(SEAL_LENGTH - at) && is_damaged_seal(p - at))
				return true;
			p++;
		}
	}
	return false;
}

/* Is there one in a file that has no other?  STAMP_BAD or STAMP_NONE if it can be read. */
static enum stamp_state find_damaged_seal(int fd)
{
	char *bytes = xmalloc(PIECE + SEAL_LENGTH);
	enum stamp_state state = STAMP_NONE;
	size_t kept = 0;
	off_t offset = 0;
	ssize_t got = 0;

	while (state == STAMP_NONE && (got = read_at(fd, bytes + kept, PIECE, offset)) > 0) {
		size_t n = kept + (size_t)got;

		if (holds_damaged_seal(bytes, n))
			state = STAMP_BAD;
		offset += got;
		kept = n < SEAL_LENGTH ? n : SEAL_LENGTH;
		memmove(bytes, bytes + n - kept, kept);
	}
	free(bytes);
	return got < 0 ? STAMP_UNREADABLE : state;
}

/* What the seals that were found are worth. */
static enum stamp_state judge(int fd, const struct scan *scan)
{
	char digits[DIGITS];

	if (scan->seals == 0)
		return find_damaged_seal(fd);
	format_digits(digits, scan->sum);
	return scan->agree && memcmp(digits, scan->digits, DIGITS) == 0 ? STAMP_GOOD : STAMP_BAD;
}

enum stamp_state stamp_check(int fd)
{
	struct scan scan;

	if (!scan_file(fd, &scan))
		return errno == EFBIG ? STAMP_BAD : STAMP_UNREADABLE;
	return judge(fd, &scan);
}

static bool write_at(int fd, const char *bytes, size_t n, off_t offset)
{
	ssize_t done = pwrite(fd, bytes, n, offset);

	if (done >= 0 && (size_t)done != n)
		errno = EIO;
	return done >= 0 && (size_t)done == n;
}

bool stamp_seal(int fd)
{
	struct scan scan;
	char digits[DIGITS];

	if (!scan_file(fd, &scan))
		return false;
	if (scan.seals == 0) {
		errno = ENOMSG;
		return false;
	}
	format_digits(digits, scan.sum);
	for (size_t i = 0; i < scan.seals; i++)
		if (!write_at(fd, digits, DIGITS, scan.where[i] + (off_t)MAGIC_LENGTH))
			return false;
	return true;
}

enum stamp_state stamp_break(int fd)
{
	struct scan scan;
	char broken = STAMP_BROKEN;
	enum stamp_state state;

	if (!scan_file(fd, &scan))
		return errno == EFBIG ? STAMP_BAD : STAMP_UNREADABLE;
	state = judge(fd, &scan);
	for (size_t i = 0; state == STAMP_GOOD && i < scan.seals; i++)
		if (!write_at(fd, &broken, 1, scan.where[i]))
			return STAMP_UNREADABLE;
	return state;
}
