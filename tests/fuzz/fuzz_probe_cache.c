/*
 * Any bytes as a record of the cache of probes: taken only if it is whole and belongs to its key, and then it is what
 * a probe would write; and what a probe writes is read again, unless a byte of it was changed.
 *
 * Input: key, LF, the record; also status, blank, words of a reply.
 */
#include "channel/probe/cache.c"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static bool read_copy(const struct buf *key, const char *record, size_t n, struct kept_reply *reply)
{
	struct buf value = { 0 };
	bool good;

	buf_add(&value, record, n);
	good = value.len > 0 && read_record(key, &value, reply);
	buf_free(&value);
	return good;
}

static bool equal(const struct kept_reply *a, const struct kept_reply *b)
{
	return a->said == b->said && a->code == b->code && strcmp(a->status, b->status) == 0 &&
	       strcmp(a->words, b->words) == 0;
}

/* Written and read it is the same; with another bit anywhere it is nothing. */
static void check_written(const struct buf *key, const struct kept_reply *reply, size_t place)
{
	struct kept_reply again;
	struct buf record = { 0 };

	add_record(&record, key, reply);
	if (!read_copy(key, record.data, record.len, &again) || !equal(&again, reply) || said_at(record.data) != reply->said)
		abort();
	free(again.words);
	record.data[place % record.len] ^= 1;
	if (read_copy(key, record.data, record.len, &again))
		abort();
	buf_free(&record);
}

/* What a server may have said: its bytes were made printable when they came. */
static struct kept_reply reply_from(const char *text, size_t n)
{
	const char *blank = memchr(text, ' ', n);
	size_t status = blank != NULL ? (size_t)(blank - text) : 0;
	struct kept_reply reply = { .said = (int64_t)n * 12345, .code = 200 + (int)(n % 400),
	                            .words = xstrndup(text + status, n - status) };

	if (status < sizeof reply.status)
		memcpy(reply.status, text, strnlen(text, status));
	return reply;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const char *text = (const char *)data, *lf = memchr(text, '\n', size);
	size_t n = lf != NULL ? (size_t)(lf - text) : size, rest = lf != NULL ? size - n - 1 : 0;
	struct buf key = { 0 };
	struct kept_reply reply;

	buf_adds(&key, "");
	buf_add(&key, text, n);
	if (rest > 0 && read_copy(&key, lf + 1, rest, &reply)) {
		check_written(&key, &reply, size);
		free(reply.words);
	}
	reply = reply_from(text + size - rest, rest);
	check_written(&key, &reply, size);
	free(reply.words);
	buf_free(&key);
	return 0;
}
