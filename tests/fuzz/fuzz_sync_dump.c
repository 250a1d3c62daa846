/*
 * The text by which ldapsync -I makes a map: as it stands, and with the end that its content must have, behind which nobody has
 * looked yet.  It is refused in one line; or what was read of it, written again, is read as the same.
 */
#include <inttypes.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>
#include <sys/mman.h>
#include <unistd.h>

#include "config.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#if HAVE_LDAP

#include "db/sync/cookie.h"
#include "db/sync/dump.h"
#include "lib/hash.h"
#include "lib/text.h"
#include "tests/fuzz/same_records.h"

static int read_text(const char *text, size_t size, struct records *records, struct records *notes)
{
	const struct loading loading = { .path = "dump\n" };
	const int fd = memfd_create("dump", 0);
	struct buf why = { 0 };
	int status;

	if (fd < 0 || write(fd, text, size) != (ssize_t)size || lseek(fd, 0, SEEK_SET) != 0)
		abort();
	status = sync_dump_read(&loading, fd, 'l', records, notes, &why);
	if (status != EX_OK && (status != EX_DATAERR || why.len == 0 || strchr(why.data, '\n') != NULL))
		abort();
	if (status == EX_OK && why.len > 0)
		abort();
	buf_free(&why);
	close(fd);
	return status;
}

static void add_end(struct buf *text, size_t records, size_t notes)
{
	buf_addf(text, "=%zu %zu %016" PRIx64 "\n", records, notes, hash_bytes(HASH_START, text->data, text->len));
}

static void add_escaped(struct buf *text, const char *bytes, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		if ((unsigned char)bytes[i] < ' ' || bytes[i] == 127 || bytes[i] == '\\')
			buf_addf(text, "\\%02X", (unsigned char)bytes[i]);
		else
			buf_addc(text, bytes[i]);
	}
}

static void add_lines(struct buf *text, char sign, const struct records *records)
{
	for (size_t i = 0; i < records->count; i++) {
		const struct record *r = &records->list[i];

		if (r->key_length == 0 || text_has_controls(r->key, r->key_length))
			abort();
		if (sign == '+' ? strlen(r->value) != r->value_length : strncmp(r->key, SYNC_NOTES, sizeof SYNC_NOTES - 1) != 0)
			abort();
		buf_addc(text, sign);
		add_escaped(text, r->key, r->key_length);
		buf_addc(text, '\t');
		add_escaped(text, r->value, r->value_length);
		buf_addc(text, '\n');
	}
}

static void read_and_write(const char *text, size_t size)
{
	struct records records = { 0 }, notes = { 0 }, records_again = { 0 }, notes_again = { 0 };
	struct buf again = { 0 };

	if (read_text(text, size, &records, &notes) == EX_OK) {
		buf_adds(&again, "ldapsync-dump 1 l\n");
		add_lines(&again, '+', &records);
		add_lines(&again, '!', &notes);
		add_end(&again, records.count, notes.count);
		if (read_text(again.data, again.len, &records_again, &notes_again) != EX_OK)
			abort();
		must_be_same(&records, &records_again);
		must_be_same(&notes, &notes_again);
	}
	records_free(&records);
	records_free(&notes);
	records_free(&records_again);
	records_free(&notes_again);
	buf_free(&again);
}

/* The lines with a head, if there is none, and an end. */
static void complete(const char *lines, size_t size)
{
	struct buf text = { 0 };
	size_t records = 0, notes = 0;

	if (size < 14 || memcmp(lines, "ldapsync-dump ", 14) != 0)
		buf_adds(&text, "ldapsync-dump 1 l\n");
	buf_add(&text, lines, size);
	if (size > 0 && lines[size - 1] != '\n')
		buf_addc(&text, '\n');
	for (const char *p = text.data, *end = p + text.len; p < end; p = (const char *)memchr(p, '\n', (size_t)(end - p)) + 1) {
		records += *p == '+';
		notes += *p == '!';
	}
	add_end(&text, records, notes);
	read_and_write(text.data, text.len);
	buf_free(&text);
}

#endif

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
#if HAVE_LDAP
	read_and_write((const char *)data, size);
	complete((const char *)data, size);
#else
	(void)data;
	(void)size;
#endif
	return 0;
}
