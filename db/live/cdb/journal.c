#include "db/live/cdb/journal.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sysexits.h>
#include <unistd.h>

#include <openssl/evp.h>

#include "lib/alloc.h"
#include "lib/file.h"
#include "lib/log.h"

#define MAGIC "zlmtp-journal 1"
#define SUM_LENGTH 64

/* All heads of one kind have one length, so that the base can be written before its head is known. */
#define HEAD_FORMAT MAGIC " %s %020" PRIu64 "\n"
#define HEAD_LENGTH (sizeof MAGIC - 1 + 1 + JOURNAL_ID + 1 + 20 + 1)
#define BASE_FORMAT "base %020" PRIu64 " %020" PRIu64 " %s\n"
#define BASE_LENGTH (5 + 20 + 1 + 20 + 1 + SUM_LENGTH + 1)

/* A longer one is none of ours. */
#define BATCH_HEAD_MAX 160

/* Batches may grow to this and half of the base before a new base is made. */
#define LONG_BYTES (4 << 20)

#define WRITE_PIECE (256u << 10)
#define BASE_PIECE ((size_t)256 << 10)

char *journal_path(const char *map)
{
	return xasprintf("%s.journal", map);
}

/* ---- checksums -------------------------------------------------------------------- */

static EVP_MD_CTX *sum_begin(void)
{
	EVP_MD_CTX *digest = EVP_MD_CTX_new();

	if (digest == NULL || EVP_DigestInit_ex(digest, EVP_sha256(), NULL) != 1)
		die(EX_OSERR, "SHA-256 is not available");
	return digest;
}

/* Ends the digest as hexadecimal digits. */
static void sum_end(EVP_MD_CTX *digest, char sum[SUM_LENGTH + 1])
{
	unsigned char bytes[EVP_MAX_MD_SIZE];
	unsigned n = 0;

	EVP_DigestFinal_ex(digest, bytes, &n);
	EVP_MD_CTX_free(digest);
	for (unsigned i = 0; i < n && i < SUM_LENGTH / 2; i++)
		sprintf(sum + (size_t)2 * i, "%02x", bytes[i]);
}

/* What the head says belongs to the sum, so that a damaged head is known, too. */
static void sum_head(EVP_MD_CTX *digest, const char *id, const char *kind, uint64_t number, uint64_t count)
{
	char head[96];
	int n = snprintf(head, sizeof head, "%s %s %" PRIu64 " %" PRIu64 "\n", id, kind, number, count);

	EVP_DigestUpdate(digest, head, (size_t)n);
}

static void sum_of(const char *id, const char *kind, uint64_t number, uint64_t count, const char *bytes, size_t n,
                   char sum[SUM_LENGTH + 1])
{
	EVP_MD_CTX *digest = sum_begin();

	EVP_DigestUpdate(digest, bytes, n);
	sum_head(digest, id, kind, number, count);
	sum_end(digest, sum);
}

/* ---- reading ---------------------------------------------------------------------- */

static int damaged(const struct journal *journal, off_t at, const char *what, struct buf *why)
{
	buf_addf(why, "%s: damaged at byte %jd: %s", journal->path, (intmax_t)at, what);
	return EX_DATAERR;
}

static int trouble(const char *path, const char *what, struct buf *why)
{
	buf_addf(why, "%s: %s: %s", path, what, file_error(errno));
	return EX_IOERR;
}

/* Reads the bytes from `from` to `to`, replacing those in `out`. */
static int read_range(const struct journal *journal, off_t from, off_t to, struct buf *out, struct buf *why)
{
	size_t n = (size_t)(to - from);
	char *p;

	buf_clear(out);
	p = buf_reserve(out, n);
	while (out->len < n) {
		ssize_t got = pread(journal->fd, p + out->len, n - out->len, from + (off_t)out->len);

		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0)
			return trouble(journal->path, "cannot read", why);
		if (got == 0)
			return damaged(journal, from + (off_t)out->len, "ends too early", why);
		out->len += (size_t)got;
	}
	p[n] = '\0';
	return EX_OK;
}

static int read_head(struct journal *journal, off_t size, struct buf *why)
{
	struct buf text = { 0 };
	uint64_t bytes = 0;
	int end = 0, status;

	if (size < (off_t)(HEAD_LENGTH + BASE_LENGTH))
		return damaged(journal, size, "expected head and base", why);
	status = read_range(journal, 0, HEAD_LENGTH + BASE_LENGTH, &text, why);
	if (status == EX_OK)
		sscanf(text.data, MAGIC " %16[0-9a-f] %20" SCNu64 "\nbase %20" SCNu64 " %20" SCNu64 " %64[0-9a-f]\n%n",
		       journal->id, &journal->first, &journal->base_records, &bytes, journal->base_sum, &end);
	buf_free(&text);
	if (status != EX_OK)
		return status;
	if (end != HEAD_LENGTH + BASE_LENGTH)
		return damaged(journal, 0, "expected \"" MAGIC "\" and the head of the base", why);
	journal->base_start = HEAD_LENGTH + BASE_LENGTH;
	if (bytes > (uint64_t)(size - journal->base_start))
		return damaged(journal, size, "ends within the base", why);
	journal->base_end = journal->base_start + (off_t)bytes;
	return EX_OK;
}

struct batch {
	uint64_t number;
	uint64_t changes;
	const char *bytes;
	size_t length;
};

/*
 * Takes the batch that begins at *p.  Returns NULL with *p behind it, or what is wrong; *torn tells whether that may be the
 * trace of a write that did not end: there is nothing behind it.
 */
static const char *take_batch(const struct journal *journal, const char **p, const char *end, uint64_t expected,
                              struct batch *batch, bool *torn)
{
	char head[BATCH_HEAD_MAX + 1], sum[SUM_LENGTH + 1] = "", actual[SUM_LENGTH + 1];
	size_t left = (size_t)(end - *p), n = left < BATCH_HEAD_MAX ? left : BATCH_HEAD_MAX;
	const char *newline = memchr(*p, '\n', n);
	uint64_t length;
	int behind = 0;

	/* a block that never got to the disk reads as zeros, which no head has */
	*torn = newline == NULL && (left <= BATCH_HEAD_MAX || memchr(*p, '\0', n) != NULL);
	if (newline == NULL)
		return "expected a line";
	memcpy(head, *p, n);
	head[n] = '\0';
	sscanf(head, "batch %20" SCNu64 " %20" SCNu64 " %20" SCNu64 " %64[0-9a-f]%n", &batch->number, &batch->changes,
	       &length, sum, &behind);
	if (behind == 0 || head[behind] != '\n' || strlen(sum) != SUM_LENGTH)
		return "expected the head of a batch";
	left -= (size_t)behind + 1;
	*torn = length >= left;
	if (length > left)
		return "ends within a batch";
	batch->bytes = *p + behind + 1;
	batch->length = (size_t)length;
	sum_of(journal->id, "batch", batch->number, batch->changes, batch->bytes, batch->length, actual);
	if (strcmp(sum, actual) != 0)
		return "checksum of a batch";
	*torn = false;
	if (batch->number != expected)
		return "number of a batch";
	*p = batch->bytes + batch->length;
	return NULL;
}

/* Finds the end of the last whole batch. */
static int scan_batches(struct journal *journal, off_t size, struct buf *why)
{
	struct buf text = { 0 };
	int status = read_range(journal, journal->base_end, size, &text, why);
	const char *p = text.data, *end = text.data + text.len, *wrong;
	struct batch batch;
	bool torn;

	journal->last = journal->first;
	journal->last_start = journal->end = journal->base_end;
	while (status == EX_OK && p < end) {
		wrong = take_batch(journal, &p, end, journal->last + 1, &batch, &torn);
		if (wrong == NULL) {
			journal->last++;
			journal->last_start = journal->end;
			journal->end = journal->base_end + (p - text.data);
		} else if (torn) {
			break;
		} else {
			status = damaged(journal, journal->end, wrong, why);
		}
	}
	buf_free(&text);
	return status;
}

int journal_open(struct journal *journal, const char *path, struct buf *why)
{
	struct stat st;
	int status;

	*journal = (struct journal){ .path = xstrdup(path), .fd = -1 };
	journal->fd = file_open_own(journal->path, O_RDWR, 0);
	if (journal->fd < 0 && errno == ENOENT)
		status = EX_NOINPUT;
	else if (journal->fd < 0 || fstat(journal->fd, &st) < 0) {
		trouble(journal->path, "cannot open", why);
		status = errno == EACCES ? EX_NOPERM : EX_IOERR;
	} else {
		journal->inode = st.st_ino;
		status = EX_OK;
		if (file_seems_endless(journal->fd, &st)) {
			errno = EFBIG;
			status = trouble(journal->path, "cannot read", why);
		}
	}
	if (status == EX_OK)
		status = read_head(journal, st.st_size, why);
	if (status == EX_OK)
		status = scan_batches(journal, st.st_size, why);
	if (status != EX_OK)
		journal_close(journal);
	return status;
}

void journal_close(struct journal *journal)
{
	if (journal->path != NULL && journal->fd >= 0)
		close(journal->fd);
	free(journal->path);
	*journal = (struct journal){ .fd = -1 };
}

int journal_refresh(struct journal *journal, struct buf *why)
{
	struct journal again;
	struct stat st, mine;
	int status;

	if (stat(journal->path, &st) == 0 && fstat(journal->fd, &mine) == 0 && st.st_ino == journal->inode &&
	    mine.st_nlink > 0 && st.st_size == journal->end)
		return EX_OK;
	status = journal_open(&again, journal->path, why);
	if (status == EX_OK) {
		journal_close(journal);
		*journal = again;
	}
	return status;
}

/* ---- appending -------------------------------------------------------------------- */

static bool write_at(int fd, const char *bytes, size_t n, off_t at)
{
	while (n > 0) {
		ssize_t done = pwrite(fd, bytes, n, at);

		if (done < 0 && errno == EINTR)
			continue;
		if (done < 0)
			return false;
		bytes += done;
		n -= (size_t)done;
		at += done;
	}
	return true;
}

/* Writes a batch; in front of it the last one again, if it may be in memory alone: to sync it would say nothing of that. */
static int write_batch(struct journal *journal, const struct buf *batch, struct buf *why)
{
	struct buf out = { 0 };
	off_t at = journal->synced ? journal->end : journal->last_start;
	int status = read_range(journal, at, journal->end, &out, why);

	if (status == EX_OK) {
		buf_add(&out, buf_str(batch), batch->len);
		/* what an earlier writer left unfinished may be longer than this batch */
		journal->synced = ftruncate(journal->fd, journal->end) == 0 && write_at(journal->fd, out.data, out.len, at) &&
		                  fdatasync(journal->fd) == 0;
		if (!journal->synced) {
			status = trouble(journal->path, "cannot write", why);
			if (ftruncate(journal->fd, journal->end) < 0)
				trouble(journal->path, "cannot cut off what was written", why);
		}
	}
	buf_free(&out);
	return status;
}

int journal_append(struct journal *journal, size_t count, const struct buf *bytes, struct buf *why)
{
	struct buf out = { 0 };
	char sum[SUM_LENGTH + 1];
	int status;

	sum_of(journal->id, "batch", journal->last + 1, count, buf_str(bytes), bytes->len, sum);
	buf_addf(&out, "batch %" PRIu64 " %zu %zu %s\n", journal->last + 1, count, bytes->len, sum);
	buf_add(&out, buf_str(bytes), bytes->len);
	status = write_batch(journal, &out, why);
	if (status == EX_OK) {
		journal->last_start = journal->end;
		journal->end += (off_t)out.len;
		journal->last++;
	}
	buf_free(&out);
	return status;
}

int journal_secure(struct journal *journal, struct buf *why)
{
	const struct buf nothing = { 0 };

	return journal->synced ? EX_OK : write_batch(journal, &nothing, why);
}

/* ---- replaying -------------------------------------------------------------------- */

static int each_change(const struct journal *journal, const char *p, const char *end, journal_each *each, void *context,
                       struct buf *why)
{
	struct change c;
	int status = EX_OK;

	while (status == EX_OK && p < end) {
		if (!change_decode(&p, end, &c))
			return damaged(journal, journal->base_end, "a change", why);
		status = each(context, &c, why);
	}
	return status;
}

/* The same for the bytes of all batches, which the changes point into. */
static int replay(const struct journal *journal, const struct buf *text, uint64_t after, journal_each *each, void *context,
                  struct buf *why)
{
	const char *p = text->data, *end = text->data + text->len, *wrong;
	struct batch batch;
	int status = EX_OK;
	bool torn;

	for (uint64_t number = journal->first + 1; status == EX_OK && p < end; number++) {
		wrong = take_batch(journal, &p, end, number, &batch, &torn);
		if (wrong != NULL)
			status = damaged(journal, journal->base_end + (p - text->data), wrong, why);
		else if (number > after)
			status = each_change(journal, batch.bytes, batch.bytes + batch.length, each, context, why);
	}
	return status;
}

int journal_replay(const struct journal *journal, uint64_t after, journal_each *each, void *context, struct buf *why)
{
	struct buf text = { 0 };
	int status = read_range(journal, journal->base_end, journal->end, &text, why);

	if (status == EX_OK)
		status = replay(journal, &text, after, each, context, why);
	buf_free(&text);
	return status;
}

int journal_gather(void *context, const struct change *c, struct buf *why)
{
	struct changes *changes = context;

	(void)why;
	if (c->value != NULL)
		changes_put(changes, c->key, c->key_length, c->value, c->value_length);
	else
		changes_remove(changes, c->key, c->key_length);
	return EX_OK;
}

static int refer(void *context, const struct change *c, struct buf *why)
{
	(void)why;
	changes_refer(context, c);
	return EX_OK;
}

/* The base is read in pieces: it is as large as the map. */
struct base {
	const struct journal *journal;
	struct buf piece;
	const char *p, *end;       /* what of it was not taken yet */
	off_t at;                  /* where the next piece begins */
};

/* The next piece, of `n` bytes if there are so many, takes the place of the last one. */
static int next_piece(struct base *base, size_t n, struct buf *why)
{
	off_t left = base->journal->base_end - base->at, more = (off_t)n < left ? (off_t)n : left;
	int status = read_range(base->journal, base->at, base->at + more, &base->piece, why);

	base->at += more;
	base->p = base->piece.data;
	base->end = base->piece.data + base->piece.len;
	return status;
}

static int check_base(const struct journal *journal, struct buf *why)
{
	struct base base = { .journal = journal, .at = journal->base_start };
	EVP_MD_CTX *digest = sum_begin();
	char sum[SUM_LENGTH + 1];
	int status = EX_OK;

	while (status == EX_OK && base.at < journal->base_end) {
		status = next_piece(&base, BASE_PIECE, why);
		EVP_DigestUpdate(digest, base.p, (size_t)(base.end - base.p));
	}
	sum_head(digest, journal->id, "base", journal->first, journal->base_records);
	sum_end(digest, sum);
	buf_free(&base.piece);
	if (status == EX_OK && strcmp(sum, journal->base_sum) != 0)
		return damaged(journal, journal->base_start, "checksum of the base", why);
	return status;
}

/* The next record, which holds until the one behind it is asked for; *there is false behind the last one. */
static int next_record(struct base *base, struct change *record, bool *there, struct buf *why)
{
	int status = EX_OK;

	while (status == EX_OK) {
		size_t rest = (size_t)(base->end - base->p);

		*there = rest > 0 || base->at < base->journal->base_end;
		if (!*there || (rest > 0 && change_decode(&base->p, base->end, record)))
			return EX_OK;
		if (base->at == base->journal->base_end)
			return damaged(base->journal, base->at - (off_t)rest, "a record", why);
		/* it goes on in the next piece, or in one that is larger */
		base->at -= (off_t)rest;
		status = next_piece(base, rest * 2 > BASE_PIECE ? rest * 2 : BASE_PIECE, why);
	}
	return status;
}

/* The base and the settled changes, both sorted, as one. */
static int merge(struct base *base, const struct changes *changes, journal_each *each, void *context, struct buf *why)
{
	struct change record;
	size_t i = 0;
	bool there;
	int status;

	while ((status = next_record(base, &record, &there, why)) == EX_OK && there) {
		int order = 1;

		while (status == EX_OK && i < changes->count &&
		       (order = change_compare(changes->list[i].key, changes->list[i].key_length, record.key,
		                               record.key_length)) <= 0) {
			if (changes->list[i].value != NULL)
				status = each(context, &changes->list[i], why);
			i++;
			if (order == 0)
				break;
		}
		if (status == EX_OK && order != 0)
			status = each(context, &record, why);
		if (status != EX_OK)
			return status;
	}
	for (; status == EX_OK && i < changes->count; i++)
		if (changes->list[i].value != NULL)
			status = each(context, &changes->list[i], why);
	return status;
}

int journal_state(const struct journal *journal, journal_each *each, void *context, struct buf *why)
{
	struct base base = { .journal = journal, .at = journal->base_start };
	struct changes changes = { 0 };
	struct buf text = { 0 };
	int status = check_base(journal, why);

	if (status == EX_OK)
		status = read_range(journal, journal->base_end, journal->end, &text, why);
	if (status == EX_OK)
		status = replay(journal, &text, journal->first, refer, &changes, why);
	if (status == EX_OK) {
		changes_settle(&changes);
		status = merge(&base, &changes, each, context, why);
	}
	buf_free(&base.piece);
	buf_free(&text);
	changes_free(&changes);
	return status;
}

/* ---- a new base --------------------------------------------------------------------- */

int journal_begin(struct journal_writer *w, const char *path, const char *id, uint64_t first, const char *like,
                  struct buf *why)
{
	struct stat st;
	bool known = stat(like, &st) == 0;

	*w = (struct journal_writer){ .first = first };
	if (!publish_begin(&w->file, path, known ? (st.st_mode & 0664) | 0600 : 0600) ||
	    (known && !publish_owner(&w->file, st.st_uid, st.st_gid) && errno != EPERM)) {
		trouble(path, "cannot make it", why);
		publish_abort(&w->file);
		return EX_CANTCREAT;
	}
	if (id != NULL)
		memcpy(w->id, id, sizeof w->id);
	else {
		unsigned char bytes[JOURNAL_ID / 2];

		if (getentropy(bytes, sizeof bytes) < 0)
			die(EX_OSERR, "no random numbers: %s", strerror(errno));
		for (size_t i = 0; i < sizeof bytes; i++)
			sprintf(w->id + 2 * i, "%02x", bytes[i]);
	}
	w->digest = sum_begin();
	/* room for the heads, which are written last */
	memset(buf_reserve(&w->out, HEAD_LENGTH + BASE_LENGTH), ' ', HEAD_LENGTH + BASE_LENGTH);
	w->out.len = HEAD_LENGTH + BASE_LENGTH;
	return EX_OK;
}

static void flush(struct journal_writer *w)
{
	ssize_t done;

	for (size_t at = 0; w->error == 0 && at < w->out.len; at += done > 0 ? (size_t)done : 0) {
		done = write(w->file.fd, w->out.data + at, w->out.len - at);
		if (done < 0 && errno != EINTR)
			w->error = errno;
	}
	buf_clear(&w->out);
}

void journal_add(struct journal_writer *w, const struct change *record)
{
	size_t before = w->out.len;

	change_encode(&w->out, record);
	EVP_DigestUpdate(w->digest, w->out.data + before, w->out.len - before);
	w->bytes += w->out.len - before;
	w->records++;
	if (w->out.len >= WRITE_PIECE)
		flush(w);
}

static void journal_abort(struct journal_writer *w)
{
	publish_abort(&w->file);
	EVP_MD_CTX_free(w->digest);
	buf_free(&w->out);
	w->digest = NULL;
}

int journal_commit(struct journal_writer *w, struct buf *why)
{
	char *path = xstrdup(w->file.target), sum[SUM_LENGTH + 1];
	struct buf heads = { 0 };
	int status = EX_OK;

	flush(w);
	sum_head(w->digest, w->id, "base", w->first, w->records);
	sum_end(w->digest, sum);
	w->digest = NULL;
	buf_addf(&heads, HEAD_FORMAT, w->id, w->first);
	buf_addf(&heads, BASE_FORMAT, w->records, w->bytes, sum);
	if (w->error == 0 && !write_at(w->file.fd, heads.data, heads.len, 0))
		w->error = errno;
	if (w->error == 0 && !publish_commit(&w->file))
		w->error = errno;
	if (w->error != 0) {
		errno = w->error;
		status = trouble(path, "cannot write", why);
	}
	buf_free(&heads);
	free(path);
	journal_abort(w);
	return status;
}

bool journal_is_long(const struct journal *journal)
{
	return journal->end - journal->base_end > LONG_BYTES + (journal->base_end - journal->base_start) / 2;
}

static int add_record(void *context, const struct change *record, struct buf *why)
{
	(void)why;
	journal_add(context, record);
	return EX_OK;
}

int journal_compact(struct journal *journal, struct buf *why)
{
	struct journal_writer w;
	int status = journal_begin(&w, journal->path, journal->id, journal->last, journal->path, why);

	if (status != EX_OK)
		return status;
	status = journal_state(journal, add_record, &w, why);
	if (status == EX_OK)
		status = journal_commit(&w, why);
	else
		journal_abort(&w);
	return status == EX_OK ? journal_refresh(journal, why) : status;
}
