#include "db/sync/dump.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>
#include <unistd.h>

#include "db/live/lines.h"
#include "db/sync/cookie.h"
#include "lib/hash.h"
#include "lib/text.h"

#define MAGIC "ldapsync-dump 1 "

/* ---- out ---- */

struct dumping {
	FILE *out;
	uint64_t hash;
	uint64_t records, notes;
	struct buf line;
	bool too_long;
};

static void add_escaped(struct buf *out, const char *bytes, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		const unsigned char c = (unsigned char)bytes[i];

		if (c < ' ' || c == 127 || c == '\\')
			buf_addf(out, "\\%02X", c);
		else
			buf_addc(out, bytes[i]);
	}
}

static bool put_line(struct dumping *d)
{
	buf_addc(&d->line, '\n');
	d->hash = hash_bytes(d->hash, d->line.data, d->line.len);
	return fwrite(d->line.data, 1, d->line.len, d->out) == d->line.len;
}

static bool dump_one(void *context, bool is_note, const char *key, size_t key_length, const char *value, size_t value_length)
{
	struct dumping *d = context;

	if (is_note && (key_length < sizeof SYNC_NOTES - 1 || memcmp(key, SYNC_NOTES, sizeof SYNC_NOTES - 1) != 0))
		return true;
	d->records += !is_note;
	d->notes += is_note;
	buf_clear(&d->line);
	buf_addc(&d->line, is_note ? '!' : '+');
	add_escaped(&d->line, key, key_length);
	buf_addc(&d->line, '\t');
	add_escaped(&d->line, value, value_length);
	d->too_long = d->line.len >= LINES_LONGEST;
	return !d->too_long && put_line(d);
}

static int copy_out(FILE *from, FILE *out)
{
	char piece[65536];
	size_t n;

	rewind(from);
	while ((n = fread(piece, 1, sizeof piece, from)) > 0)
		if (fwrite(piece, 1, n, out) != n)
			return EX_IOERR;
	return ferror(from) || fflush(out) != 0 ? EX_IOERR : EX_OK;
}

/* Into a file first: the reader of the text may be slow, and the map could not be changed meanwhile. */
int sync_dump(const struct livemap_settings *settings, FILE *out, struct buf *why)
{
	int status = EX_OK;
	struct livemap *livemap = livemap_open(settings, &status, why);
	struct dumping d = { .out = livemap != NULL ? tmpfile() : NULL, .hash = HASH_START };

	if (livemap == NULL)
		return status;
	if (d.out == NULL) {
		status = EX_CANTCREAT;
	} else {
		buf_addf(&d.line, MAGIC "%c", settings->folding);
		if (!put_line(&d))
			status = EX_IOERR;
	}
	if (status == EX_OK)
		status = livemap_walk_all(livemap, dump_one, &d, why);
	if (status == EX_OK && d.too_long) {
		buf_addf(why, "%s: a record is too long for a dump", livemap_path(livemap));
		status = EX_DATAERR;
	} else if (status == EX_OK && (fprintf(d.out, "=%" PRIu64 " %" PRIu64 " %016" PRIx64 "\n", d.records, d.notes,
	                                       d.hash) < 0 ||
	                               fflush(d.out) != 0)) {
		status = EX_IOERR;
	}
	livemap_close(&livemap);
	if (status == EX_OK)
		status = copy_out(d.out, out);
	if (status != EX_OK && why->len == 0)
		buf_addf(why, "cannot write the dump: %s", strerror(errno));
	if (d.out != NULL)
		fclose(d.out);
	buf_free(&d.line);
	return status;
}

/* ---- in ---- */

struct reading {
	const struct loading *loading;
	struct lines lines;
	uint64_t hash;
	struct records *records, *notes;
	struct buf key, value;
	bool has_end;
	struct buf *why;
};

static int refuse(struct reading *r, const char *what)
{
	text_add_clean_string(r->why, r->loading->path, 300);
	buf_addf(r->why, ":%zu: %s", r->lines.number, what);
	return EX_DATAERR;
}

static int take_record(struct reading *r, const char *line, size_t n)
{
	const char *tab = memchr(line, '\t', n), *fault;
	struct value_check *check = line[0] == '+' ? r->loading->check : NULL;
	const struct records *all = r->records;
	bool is_warning;
	size_t offset;

	buf_clear(&r->key);
	buf_clear(&r->value);
	if (tab == NULL || tab == line + 1 || !text_add_unescaped(&r->key, line + 1, (size_t)(tab - line) - 1, '\\') ||
	    !text_add_unescaped(&r->value, tab + 1, n - (size_t)(tab + 1 - line), '\\'))
		return refuse(r, "no record of a dump");
	if (text_has_controls(buf_str(&r->key), r->key.len))
		return refuse(r, "a control byte in the key");
	if (line[0] == '+' && livemap_value_fault(buf_str(&r->value), r->value.len) != NULL)
		return refuse(r, livemap_value_fault(buf_str(&r->value), r->value.len));
	if (line[0] == '!' && strncmp(buf_str(&r->key), SYNC_NOTES, sizeof SYNC_NOTES - 1) != 0)
		return refuse(r, "no note of ldapsync");
	records_copy(line[0] == '+' ? r->records : r->notes, buf_str(&r->key), r->key.len, buf_str(&r->value), r->value.len,
	             r->lines.number);
	if (check == NULL || value_is_good(check, &all->list[all->count - 1], &offset, &fault, &is_warning) || is_warning)
		return EX_OK;
	return refuse(r, fault);
}

static int take_line(struct reading *r, char folding, const char *line, size_t n)
{
	char expected[80];
	int status = EX_OK;

	/* none of its own is written as it is */
	if (n > 0 && line[n - 1] == '\r')
		return refuse(r, "the line ends in CR: the dump was carried as a text, not as the bytes that it is");
	if (r->has_end)
		return refuse(r, "there is something after the end of the dump");
	if (r->lines.number == 1) {
		if (strncmp(line, MAGIC, sizeof MAGIC - 1) != 0)
			return refuse(r, "this is no dump of ldapsync -D, or of another version");
		if (n != sizeof MAGIC || line[n - 1] != folding)
			return refuse(r, "the keys of this dump are folded in another way than those of the map (fold)");
	} else if (line[0] == '=') {
		snprintf(expected, sizeof expected, "=%zu %zu %016" PRIx64, r->records->count, r->notes->count, r->hash);
		r->has_end = true;
		if (strcmp(line, expected) == 0)
			return EX_OK;
		return refuse(r, "what stands before this line is not what was written: the dump is damaged");
	} else if (line[0] == '+' || line[0] == '!') {
		status = take_record(r, line, n);
	} else {
		return refuse(r, "no line of a dump");
	}
	r->hash = hash_byte(hash_bytes(r->hash, line, n), '\n');
	return status;
}

static int read_dump(struct reading *r, char folding)
{
	char *line;
	size_t n;
	int error;

	for (;;) {
		int status;

		switch (lines_next(&r->lines, -1, &line, &n)) {
		case LINES_ONE:
			status = take_line(r, folding, line, n);
			if (status != EX_OK)
				return status;
			break;
		case LINES_END:
			return r->has_end ? EX_OK : refuse(r, "the end is missing: the dump was cut off");
		case LINES_CUT:
			return refuse(r, "the end is missing: the dump was cut off");
		case LINES_TOO_LONG:
			return refuse(r, "a line is too long");
		case LINES_ERROR:
			error = errno;
			buf_addf(r->why, "%s: %s", r->loading->path, strerror(error));
			return lines_error_status(error);
		case LINES_PAUSE:
			break;
		}
	}
}

int sync_dump_read(const struct loading *loading, int fd, char folding, struct records *records, struct records *notes,
                   struct buf *why)
{
	struct reading r = { .loading = loading, .lines.fd = fd, .hash = HASH_START, .records = records, .notes = notes,
	                     .why = why };
	const int status = read_dump(&r, folding);

	lines_free(&r.lines);
	buf_free(&r.key);
	buf_free(&r.value);
	return status;
}

/* Those of entries, or all others. */
static int write_notes(struct livemap *livemap, const struct records *notes, bool of_entries, struct buf *why)
{
	size_t batch = 0;
	int status = EX_OK;

	for (size_t i = 0; i < notes->count && status == EX_OK; i++) {
		const struct record *n = &notes->list[i];
		const char *rule;
		size_t length;
		struct sync_uuid uuid;

		if ((note_parse(n->key, n->key_length, &rule, &length, &uuid) == NOTE_ENTRY) != of_entries ||
		    strcmp(n->key, SYNC_DOMAINS) == 0)
			continue;
		livemap_note(livemap, n->key, n->value, n->value_length);
		if (++batch % livemap_batch(livemap) == 0)
			status = livemap_commit(livemap, why);
	}
	return status;
}

static int make_map(const struct livemap_settings *settings, const struct loading *loading, struct records *records,
                    const struct records *notes, struct buf *why)
{
	struct livemap *livemap;
	size_t at;
	int status;

	records_sort(records);
	at = records_duplicate(records, 0);
	if (at < records->count) {
		text_add_clean_string(why, loading->path, 300);
		buf_addf(why, ":%zu: a key stands there twice", records->list[at].line);
		return EX_DATAERR;
	}
	status = livemap_create(settings, records, NULL, why);
	livemap = status == EX_OK ? livemap_open(settings, &status, why) : NULL;
	if (livemap == NULL)
		return status;
	status = write_notes(livemap, notes, true, why);
	if (status == EX_OK)
		status = livemap_commit(livemap, why);
	if (status == EX_OK)
		status = write_notes(livemap, notes, false, why);
	if (loading->domains)
		livemap_note(livemap, SYNC_DOMAINS, "due", 3);
	if (status == EX_OK)
		status = livemap_commit(livemap, why);
	livemap_close(&livemap);
	return status;
}

int sync_load(const struct livemap_settings *settings, struct loading *loading, struct buf *why)
{
	struct records records = { 0 }, notes = { 0 };
	const bool is_stdin = strcmp(loading->path, "-") == 0;
	const int fd = is_stdin ? STDIN_FILENO : open(loading->path, O_RDONLY | O_CLOEXEC);
	int status;

	if (fd < 0) {
		buf_addf(why, "%s: %s", loading->path, strerror(errno));
		return EX_NOINPUT;
	}
	status = sync_dump_read(loading, fd, settings->folding, &records, &notes, why);
	if (status == EX_OK && records.count == 0 && !loading->may_be_empty) {
		buf_addf(why, "%s: the dump has no record, and its map would answer \"not found\" to everybody; --allow-shrink if that is meant", loading->path);
		status = EX_DATAERR;
	}
	if (status == EX_OK)
		status = make_map(settings, loading, &records, &notes, why);
	loading->records = records.count;
	if (!is_stdin)
		close(fd);
	records_free(&records);
	records_free(&notes);
	return status;
}
