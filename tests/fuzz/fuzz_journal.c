/*
 * Journals of live maps.  Any bytes: told as damage, or read as far as they go, and a batch behind them counts.  A
 * journal of ours with one byte changed, or cut off: damage, or what it held after some of its batches; never anything else.
 */
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>
#include <unistd.h>

#include "db/live/cdb/journal.h"
#include "lib/file.h"

#define MOST_BATCHES 6

/* In memory: each batch is synced. */
static char directory[] = "/dev/shm/zlmtp-fuzz-journal-XXXXXX";
static char path[64];

static void remove_all(void)
{
	unlink(path);
	rmdir(directory);
}

static void write_file(const char *bytes, size_t n)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);

	if (fd < 0 || write(fd, bytes, n) != (ssize_t)n)
		abort();
	close(fd);
}

static int gather(void *context, const struct change *c, struct buf *why)
{
	(void)why;
	change_encode(context, c);
	return EX_OK;
}

/* What the journal holds, encoded; false if it is damaged, which must be said in one line. */
static bool read_state(struct journal *journal, struct buf *state)
{
	struct buf why = { 0 };
	int status = journal_open(journal, path, &why);

	buf_clear(state);
	if (status == EX_OK)
		status = journal_state(journal, gather, state, &why);
	if (status != EX_OK && (status != EX_DATAERR || why.len == 0 || strpbrk(buf_str(&why), "\r\n") != NULL))
		abort();
	buf_free(&why);
	return status == EX_OK;
}

static void append(struct journal *journal, const char *key, const char *value)
{
	struct changes changes = { 0 };
	struct buf bytes = { 0 }, why = { 0 };

	if (value != NULL)
		changes_put(&changes, key, strlen(key), value, strlen(value));
	else
		changes_remove(&changes, key, strlen(key));
	changes_encode(&changes, &bytes);
	if (journal_append(journal, changes.count, &bytes, &why) != EX_OK)
		abort();
	changes_free(&changes);
	buf_free(&bytes);
	buf_free(&why);
}

static void read_any_bytes(const char *bytes, size_t n)
{
	struct journal journal = { 0 };
	struct buf state = { 0 };
	uint64_t last;

	write_file(bytes, n);
	if (read_state(&journal, &state)) {
		last = journal.last;
		append(&journal, "added", "value");
		journal_close(&journal);
		journal = (struct journal){ 0 };
		if (!read_state(&journal, &state) || journal.last != last + 1 || memmem(buf_str(&state), state.len, "added", 5) == NULL)
			abort();
	}
	journal_close(&journal);
	buf_free(&state);
}

/* Each byte makes a batch; `states` is what the journal holds before the first and after each. */
static size_t make_journal(const uint8_t *data, size_t n, struct buf *states)
{
	struct change base = { .key = "base", .value = "of all", .key_length = 4, .value_length = 6 };
	struct journal_writer w;
	struct journal journal = { 0 };
	struct buf why = { 0 };

	unlink(path);
	if (journal_begin(&w, path, "0123456789abcdef", 1, path, &why) != EX_OK)
		abort();
	journal_add(&w, &base);
	if (journal_commit(&w, &why) != EX_OK || !read_state(&journal, &states[0]))
		abort();
	n = n < MOST_BATCHES ? n : MOST_BATCHES;
	for (size_t i = 0; i < n; i++) {
		char key[8], value[8];

		snprintf(key, sizeof key, "k%u", data[i] % 8u);
		snprintf(value, sizeof value, "v%zu", i);
		append(&journal, key, data[i] >= 128 ? NULL : value);
		journal_close(&journal);
		journal = (struct journal){ 0 };
		if (!read_state(&journal, &states[i + 1]))
			abort();
	}
	journal_close(&journal);
	buf_free(&why);
	return n + 1;
}

static void damage_journal(const uint8_t *data, size_t n)
{
	struct buf states[MOST_BATCHES + 1] = { 0 }, text = { 0 }, state = { 0 };
	struct journal journal = { 0 };
	size_t count = make_journal(data + 3, n - 3, states), at;
	bool known = false;

	if (!file_read_path(path, &text))
		abort();
	at = ((size_t)data[0] << 8 | data[1]) % text.len;
	if (data[2] == 0)
		text.len = at;
	else
		text.data[at] ^= (char)data[2];
	write_file(text.data, text.len);
	if (read_state(&journal, &state)) {
		for (size_t i = 0; i < count; i++)
			known |= state.len == states[i].len && memcmp(buf_str(&state), buf_str(&states[i]), state.len) == 0;
		if (!known)
			abort();
	}
	journal_close(&journal);
	for (size_t i = 0; i < count; i++)
		buf_free(&states[i]);
	buf_free(&text);
	buf_free(&state);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (path[0] == '\0') {
		if (mkdtemp(directory) == NULL)
			abort();
		snprintf(path, sizeof path, "%s/journal", directory);
		atexit(remove_all);
	}
	if (size > 0 && data[0] == 'z')
		read_any_bytes((const char *)data, size);
	else if (size > 3)
		damage_journal(data, size);
	return 0;
}
