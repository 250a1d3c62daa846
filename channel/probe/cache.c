#include "config.h"
#include "channel/probe/cache.h"

#include <errno.h>
#include <inttypes.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>
#include <time.h>

#include "db/live/cdb/health.h"
#include "db/live/livemap.h"
#include "lib/alloc.h"
#include "lib/log.h"
#include "lib/parse.h"
#include "lib/publish.h"

/* Probes run while a client waits: rather none than a slow one. */
#define WAIT_SECONDS 2
/* How often records that are too old are looked for, in seconds; the note that says when it was done last. */
#define SWEEP_EVERY 3600
#define SWEPT "swept"
/* What a program that is older or newer than this one does not read. */
#define FORM "1"
#define DIGEST_BYTES 8

struct probe_cache {
	struct livemap_settings settings;
	struct livemap *livemap;       /* NULL: there is no map yet, or it is not used */
	bool unused;                 /* there was trouble, which was told */
	int64_t longest;
	struct put { struct buf key, value; } *puts;
	size_t count, capacity;
};

/* ---- trouble ---- */

/* The file of the map, which may have been given with its suffix; the caller frees it. */
static char *map_path(const struct probe_cache *cache)
{
	const char *suffix = map_suffix(cache->settings.type);
	size_t n = strlen(cache->settings.base), k = strlen(suffix);

	if (n > k && strcmp(cache->settings.base + n - k, suffix) == 0)
		return xstrdup(cache->settings.base);
	return xasprintf("%s%s", cache->settings.base, suffix);
}

/* A map that is damaged would be so for every probe to come: it makes room for a new one. */
static void set_aside_damaged(const struct probe_cache *cache)
{
	struct health health;
	char *path, *name;
	bool damaged;

	health_check(&health, &cache->settings);
	damaged = health.state == HEALTH_DAMAGED;
	health_free(&health);
	if (!damaged)
		return;
	path = map_path(cache);
	name = publish_set_aside(path, true);
	if (name != NULL)
		complain("%s: damaged, renamed to %s", path, name);
	else
		complain("%s: damaged, and cannot be renamed: %s", path, strerror(errno));
	free(path);
	free(name);
}

/* It is not used any more; `why` is freed. */
static void give_up(struct probe_cache *cache, struct buf *why)
{
	complain("cache not used: %s", buf_str(why));
	livemap_close(&cache->livemap);
	cache->unused = true;
	buf_free(why);
}

/* ---- open and close ---- */

/* False if there is no map, or none that can be used. */
static bool open_map(struct probe_cache *cache)
{
	struct buf why = { 0 };
	int status = EX_OK;

	if (cache->unused || cache->livemap != NULL)
		return !cache->unused;
	cache->livemap = livemap_open(&cache->settings, &status, &why);
	if (cache->livemap == NULL && status != EX_NOINPUT)
		give_up(cache, &why);
	buf_free(&why);
	return cache->livemap != NULL;
}

/* The first answer makes the map; if another probe was faster, its map will do. */
static bool make_map(struct probe_cache *cache)
{
	const struct records none = { 0 };
	const struct stamp *no_stamp = NULL;
	struct buf why = { 0 };
	bool made;

	if (open_map(cache))
		return true;
	if (cache->unused)
		return false;
	made = livemap_create(&cache->settings, &none, no_stamp, &why) == EX_OK;
	if (!open_map(cache) && !made && !cache->unused)
		give_up(cache, &why);
	buf_free(&why);
	return cache->livemap != NULL;
}

struct probe_cache *probe_cache_open(const char *file, int64_t longest)
{
	struct probe_cache *cache = xcalloc(1, sizeof *cache);

	cache->settings = (struct livemap_settings){
		.type = HAVE_LMDB ? "lmdb" : "btree", .base = file, .folding = '-', .wait = WAIT_SECONDS,
	};
	cache->longest = longest;
	return cache;
}

static void forget_puts(struct probe_cache *cache)
{
	for (size_t i = 0; i < cache->count; i++) {
		buf_free(&cache->puts[i].key);
		buf_free(&cache->puts[i].value);
	}
	cache->count = 0;
}

void probe_cache_close(struct probe_cache **cache)
{
	if (*cache == NULL)
		return;
	livemap_close(&(*cache)->livemap);
	forget_puts(*cache);
	free((*cache)->puts);
	free(*cache);
	*cache = NULL;
}

/* ---- records: FORM SAID CODE STATUS DIGEST WORDS ---- */

static void add_digest(struct buf *out, const struct buf *key, const struct kept_reply *reply)
{
	struct buf text = { 0 };
	unsigned char digest[EVP_MAX_MD_SIZE] = { 0 };

	buf_addf(&text, "%s\n%" PRId64 " %d %s %s", buf_str(key), reply->said, reply->code, reply->status, reply->words);
	EVP_Digest(text.data, text.len, digest, NULL, EVP_sha256(), NULL);
	for (size_t i = 0; i < DIGEST_BYTES; i++)
		buf_addf(out, "%02x", digest[i]);
	buf_free(&text);
}

/* Cuts the next word off; NULL if there is none. */
static char *next_word(char **rest)
{
	char *word = *rest, *blank = word != NULL ? strchr(word, ' ') : NULL;

	if (blank == NULL)
		return NULL;
	*blank = '\0';
	*rest = blank + 1;
	return word;
}

/* When a record was said; -1 if it is none of ours. */
static int64_t said_at(const char *value)
{
	uint64_t said;
	char *copy = xstrdup(value), *rest = copy, *form = next_word(&rest), *word = next_word(&rest);
	bool ok = word != NULL && strcmp(form, FORM) == 0 && parse_number(word, INT64_MAX, &said);

	free(copy);
	return ok ? (int64_t)said : -1;
}

/* False if it is damaged, or of another form. */
static bool read_record(const struct buf *key, struct buf *value, struct kept_reply *reply)
{
	char *rest = value->data;
	const char *form = next_word(&rest), *said = next_word(&rest), *code = next_word(&rest);
	const char *status = next_word(&rest), *digest = next_word(&rest);
	uint64_t said_number, code_number;
	struct buf expected = { 0 };
	bool good;

	if (digest == NULL || strcmp(form, FORM) != 0 || strlen(status) >= sizeof reply->status ||
	    !parse_number(said, INT64_MAX, &said_number) || !parse_number(code, 599, &code_number))
		return false;
	*reply = (struct kept_reply){ .said = (int64_t)said_number, .code = (int)code_number, .words = rest };
	strcpy(reply->status, status);
	add_digest(&expected, key, reply);
	good = strcmp(buf_str(&expected), digest) == 0;
	buf_free(&expected);
	reply->words = good ? xstrdup(rest) : NULL;
	return good;
}

bool probe_cache_find(struct probe_cache *cache, const struct buf *key, struct kept_reply *reply)
{
	struct buf value = { 0 }, why = { 0 };
	bool found = false;

	if (!open_map(cache) || livemap_key_fault(cache->livemap, key->data, key->len) != NULL)
		return false;
	switch (livemap_find(cache->livemap, key->data, key->len, &value, &why)) {
	case MAP_FOUND:
		found = value.len > 0 && read_record(key, &value, reply);
		if (!found)
			complain("%s: a record is damaged or of another version and not used", livemap_path(cache->livemap));
		break;
	case MAP_NOT_FOUND:
		break;
	case MAP_COULD_NOT_TELL:
		give_up(cache, &why);
		break;
	}
	buf_free(&value);
	buf_free(&why);
	return found;
}

static void add_record(struct buf *out, const struct buf *key, const struct kept_reply *reply)
{
	buf_addf(out, FORM " %" PRId64 " %d %s ", reply->said, reply->code, reply->status);
	add_digest(out, key, reply);
	buf_addf(out, " %s", reply->words);
}

void probe_cache_put(struct probe_cache *cache, const struct buf *key, const struct kept_reply *reply)
{
	struct put *put;

	cache->puts = xgrow(cache->puts, cache->count, &cache->capacity, sizeof *cache->puts);
	put = &cache->puts[cache->count++];
	*put = (struct put){ 0 };
	buf_add(&put->key, key->data, key->len);
	add_record(&put->value, key, reply);
}

/* ---- never for ever ---- */

struct sweep {
	struct probe_cache *cache;
	int64_t now;
	int64_t keep_from;           /* what was said before that goes */
	int64_t *ages;               /* when the records that stay were said */
	size_t count, capacity;
};

static bool look_at_age(void *context, const char *key, size_t key_length, const char *value, size_t value_length)
{
	struct sweep *s = context;
	int64_t said = said_at(value);

	(void)key;
	(void)key_length;
	(void)value_length;
	if (said < s->keep_from || said > s->now)
		return true;
	s->ages = xgrow(s->ages, s->count, &s->capacity, sizeof *s->ages);
	s->ages[s->count++] = said;
	return true;
}

static bool remove_old(void *context, const char *key, size_t key_length, const char *value, size_t value_length)
{
	struct sweep *s = context;
	int64_t said = said_at(value);

	(void)value_length;
	if (said < s->keep_from || said > s->now)
		livemap_remove(s->cache->livemap, key, key_length);
	return true;
}

static int older_first(const void *a, const void *b)
{
	const int64_t *x = a, *y = b;

	return (*x > *y) - (*x < *y);
}

static bool is_due(struct probe_cache *cache, int64_t now)
{
	struct buf when = { 0 }, why = { 0 };
	uint64_t swept = 0;
	bool due;

	if (livemap_read_note(cache->livemap, SWEPT, &when, &why) != MAP_FOUND ||
	    !parse_number(buf_str(&when), INT64_MAX, &swept))
		swept = 0;
	due = now - (int64_t)swept >= SWEEP_EVERY || (int64_t)swept > now;
	buf_free(&when);
	buf_free(&why);
	return due;
}

static int sweep(struct probe_cache *cache, struct buf *why)
{
	int64_t now = time(NULL);
	struct sweep s = { .cache = cache, .now = now, .keep_from = now - cache->longest };
	char when[24];
	int status;

	if (!is_due(cache, now))
		return EX_OK;
	status = livemap_walk(cache->livemap, look_at_age, &s, why);
	/* too many are left: the oldest have to go before their time */
	if (s.count > PROBE_CACHE_MAX) {
		qsort(s.ages, s.count, sizeof *s.ages, older_first);
		s.keep_from = s.ages[s.count - PROBE_CACHE_MAX];
	}
	if (status == EX_OK)
		status = livemap_walk(cache->livemap, remove_old, &s, why);
	snprintf(when, sizeof when, "%" PRId64, now);
	livemap_note(cache->livemap, SWEPT, when, strlen(when));
	free(s.ages);
	return status == EX_OK ? livemap_commit(cache->livemap, why) : status;
}

static void write_puts(struct probe_cache *cache)
{
	struct buf why = { 0 };
	int status;

	if (!make_map(cache))
		return;
	for (size_t i = 0; i < cache->count; i++) {
		const struct put *p = &cache->puts[i];

		if (livemap_key_fault(cache->livemap, p->key.data, p->key.len) == NULL)
			livemap_put(cache->livemap, p->key.data, p->key.len, p->value.data, p->value.len);
	}
	forget_puts(cache);
	status = livemap_commit(cache->livemap, &why);
	if (status == EX_OK)
		status = sweep(cache, &why);
	if (status != EX_OK)
		give_up(cache, &why);
	buf_free(&why);
}

void probe_cache_write(struct probe_cache *cache)
{
	if (cache->count > 0)
		write_puts(cache);
	if (cache->unused)
		set_aside_damaged(cache);
}
