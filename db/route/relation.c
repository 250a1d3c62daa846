#include "db/route/relation.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "db/grammar/idn.h"
#include "db/store/kept.h"
#include "db/store/store.h"
#include "lib/alloc.h"
#include "lib/cache.h"
#include "lib/clock.h"
#include "lib/text.h"

/* "Not found" is kept (-N) for at most this long, so that a user who was just added exists soon. */
#define ABSENT_SECONDS 30

char key_fold_letter(enum key_fold fold)
{
	return fold == FOLD_LOWER ? 'l' : fold == FOLD_UPPER ? 'u' : '-';
}

/* One question to one map. */
struct search {
	struct relation *relation;
	struct relation_map *from;
	const struct question *question;
	const char *key;            /* folded */
	struct hit *hit;
	relation_watch *watch;
	void *context;
};

struct relation *relation_create(const char *name)
{
	struct relation *relation = xcalloc(1, sizeof *relation);

	relation->name = xstrdup(name);
	return relation;
}

struct relation_map *relation_add(struct relation *relation, struct map *map, const struct lookup_options *options)
{
	struct relation_map *m;

	relation->maps = xgrow(relation->maps, relation->count, &relation->capacity, sizeof *relation->maps);
	m = &relation->maps[relation->count++];
	*m = (struct relation_map){ .map = map, .options = *options };
	if (options->cache_size > 0)
		m->cache = cache_create(options->cache_size);
	return m;
}

bool relation_is_slow(const struct relation *relation)
{
	for (size_t i = 0; i < relation->count; i++)
		if (map_is_slow(relation->maps[i].map))
			return true;
	return false;
}

void relation_destroy(struct relation **relation)
{
	struct relation *r = *relation;

	if (r == NULL)
		return;
	for (size_t i = 0; i < r->count; i++) {
		map_close(&r->maps[i].map);
		cache_destroy(&r->maps[i].cache);
	}
	buf_free(&r->folded);
	buf_free(&r->scratch);
	buf_free(&r->other);
	buf_free(&r->cache_key);
	free(r->maps);
	free(r->name);
	free(r);
	*relation = NULL;
}

void hit_free(struct hit *hit)
{
	buf_free(&hit->value);
	buf_free(&hit->key);
	buf_free(&hit->part);
}

static void fold_from(struct buf *out, size_t start, enum key_fold fold)
{
	for (size_t i = start; i < out->len; i++) {
		if (fold == FOLD_LOWER)
			out->data[i] = ascii_lower(out->data[i]);
		else if (fold == FOLD_UPPER && out->data[i] >= 'a' && out->data[i] <= 'z')
			out->data[i] = (char)(out->data[i] - 32);
	}
}

static void fold_into(struct buf *out, const char *key, enum key_fold fold)
{
	size_t start = out->len;

	buf_adds(out, key);
	fold_from(out, start, fold);
}

/* ---- keys ---- */

/* Looks up a key as it stands; on a hit `part` of `n` bytes becomes %0. */
static enum map_answer try_exactly(struct search *s, const char *key, const char *part, size_t n)
{
	struct hit *hit = s->hit;
	struct map *map = s->from->map;
	enum map_answer answer = map_find(map, key, &hit->value);

	if (answer == MAP_FOUND && map->operations->store != NULL && record_is_unclear(buf_str(&hit->value), hit->value.len)) {
		struct buf maker = { 0 };

		/* the map is a copy, and its program knows no value for the key */
		buf_clear(&hit->value);
		kept_add_maker(map->path, "the program that keeps the map", &maker);
		(void)map_fail(map, "its value is unclear, as several are given or none that can be used; %s says more",
		               buf_str(&maker));
		buf_free(&maker);
		answer = MAP_COULD_NOT_TELL;
	}
	s->from->asked[answer]++;
	if (answer == MAP_FOUND) {
		buf_adds(&hit->key, key);
		buf_add(&hit->part, part, n);
	}
	if (s->watch != NULL) {
		const char *text = answer == MAP_FOUND ? buf_str(&hit->value) : answer == MAP_NOT_FOUND ? NULL : map_error(map);

		s->watch(s->context, s->from, key, answer, text, false);
	}
	return answer;
}

/*
 * The key with its domain written in this other way: what stands behind its last '@', or all of it, up to a ':' (":sender").
 * NULL if there is none.
 */
static const char *other_form(struct search *s, const char *key, enum idn_form form)
{
	const char *at = strrchr(key, '@'), *domain = at != NULL ? at + 1 : key;
	size_t n = strcspn(domain, ":");
	struct buf *other = &s->relation->other;

	buf_clear(other);
	buf_add(other, key, (size_t)(domain - key));
	if (!idn_other_form(domain, n, form, other))
		return NULL;
	fold_from(other, (size_t)(domain - key), s->from->options.fold);
	buf_adds(other, domain + n);
	return buf_str(other);
}

/* Looks up one key, with U-labels and with A-labels. */
static enum map_answer try_key(struct search *s, const char *key, const char *part, size_t n)
{
	static const enum idn_form forms[] = { IDN_A_LABELS, IDN_U_LABELS };
	enum map_answer answer = try_exactly(s, key, part, n);

	for (size_t i = 0; i < sizeof forms / sizeof forms[0] && answer == MAP_NOT_FOUND; i++) {
		const char *other = other_form(s, key, forms[i]);

		if (other != NULL)
			answer = try_exactly(s, other, part, n);
	}
	return answer;
}

static enum map_answer try_whole(struct search *s, const char *key)
{
	return try_key(s, key, s->key, strlen(s->key));
}

/* The dot of the next suffix at or behind position i that is more than a dot; NULL if there is none. */
static const char *next_suffix(const char *key, size_t i)
{
	const char *p = strchr(key + i, '.');

	while (p != NULL && (p[1] == '.' || p[1] == '\0'))
		p = strchr(p + 1, '.');
	return p;
}

/* ".bar.edu", ".edu" of foo.bar.edu; with `dots` false "bar.edu", "edu". */
static enum map_answer try_suffixes(struct search *s, const char *key, bool dots)
{
	for (const char *p = next_suffix(key, 1); p != NULL; p = next_suffix(p, 1)) {
		enum map_answer answer = try_key(s, dots ? p : p + 1, key, (size_t)(p - key));

		if (answer != MAP_NOT_FOUND)
			return answer;
	}
	return MAP_NOT_FOUND;
}

static enum map_answer try_defaults(struct search *s, const char *whole)
{
	struct buf *folded = &s->relation->scratch;

	for (size_t i = 0; i < s->question->default_count; i++) {
		enum map_answer answer;

		buf_clear(folded);
		fold_into(folded, s->question->defaults[i], s->from->options.fold);
		answer = try_key(s, buf_str(folded), whole, strlen(whole));
		if (answer != MAP_NOT_FOUND)
			return answer;
	}
	return MAP_NOT_FOUND;
}

/* What follows when nothing fits: the default keys; a driver that was given none tries ".". */
static enum map_answer try_rest(struct search *s, const char *whole)
{
	if (s->question->keys == QUESTION_KEY)
		return s->question->default_count > 0 ? MAP_NOT_FOUND : try_key(s, ".", whole, strlen(whole));
	if (s->question->default_count == 0)
		return try_key(s, ".", whole, strlen(whole));
	return try_defaults(s, whole);
}

static enum map_answer pathalias(struct search *s, const char *key)
{
	enum map_answer answer = try_whole(s, key);

	if (answer == MAP_NOT_FOUND && key[0] != '.') {
		struct buf *dotted = &s->relation->scratch;

		buf_clear(dotted);
		buf_addc(dotted, '.');
		buf_adds(dotted, key);
		answer = try_key(s, buf_str(dotted), "", 0);
	}
	if (answer == MAP_NOT_FOUND)
		answer = try_suffixes(s, key, true);
	return answer == MAP_NOT_FOUND ? try_rest(s, key) : answer;
}

static enum map_answer pathalias_at(struct search *s, const char *key)
{
	const char *at = strchr(key, '@');
	enum map_answer answer;

	if (at == NULL)
		return pathalias(s, key);
	answer = try_whole(s, key);
	if (answer != MAP_NOT_FOUND)
		return answer;
	if (at[1] == '\0')
		return try_whole(s, s->from->options.fold == FOLD_LOWER ? "@local@" : "@LOCAL@");
	return pathalias(s, at + 1);
}

static bool ipv4(const char *key, uint32_t *address)
{
	unsigned a, b, c, d;
	int end = 0;

	if (key[0] == '[')
		key++;
	if (!isdigit((unsigned char)key[0]) || sscanf(key, "%3u.%3u.%3u.%3u%n", &a, &b, &c, &d, &end) != 4)
		return false;
	if ((key[end] != '\0' && strcmp(key + end, "]") != 0) || a > 255 || b > 255 || c > 255 || d > 255)
		return false;
	*address = (uint32_t)a << 24 | (uint32_t)b << 16 | (uint32_t)c << 8 | (uint32_t)d;
	return true;
}

static enum map_answer longestmatch(struct search *s, const char *key)
{
	enum map_answer answer;
	uint32_t address;

	if (!ipv4(key, &address)) {
		answer = try_whole(s, key);
		if (answer == MAP_NOT_FOUND)
			answer = try_suffixes(s, key, true);
		return answer == MAP_NOT_FOUND ? try_rest(s, key) : answer;
	}
	/* from the address itself to the whole net, "1.2.3.4/32" to "0.0.0.0/0" */
	for (int prefix = 32; prefix >= 0; prefix--) {
		uint32_t n = prefix == 0 ? 0 : address & (0xffffffffu << (32 - prefix));
		char network[32];

		snprintf(network, sizeof network, "%u.%u.%u.%u/%d", n >> 24, n >> 16 & 255, n >> 8 & 255, n & 255, prefix);
		answer = try_whole(s, network);
		if (answer != MAP_NOT_FOUND)
			return answer;
	}
	return MAP_NOT_FOUND;
}

static enum map_answer try_keys(struct search *s)
{
	enum map_answer answer = MAP_NOT_FOUND;

	if (s->question->keys == QUESTION_DEFAULTS)
		return try_defaults(s, s->key);
	switch (s->from->options.driver) {
	case DRIVER_PATHALIAS:
		return pathalias(s, s->key);
	case DRIVER_PATHALIAS_AT:
		return pathalias_at(s, s->key);
	case DRIVER_LONGESTMATCH:
		return longestmatch(s, s->key);
	case DRIVER_PATHALIAS_NODOT:
		answer = try_suffixes(s, s->key, false);
		break;
	case DRIVER_NONE:
		answer = try_whole(s, s->key);
		break;
	}
	if (answer == MAP_NOT_FOUND && s->question->keys == QUESTION_ALL)
		answer = try_defaults(s, s->key);
	return answer;
}

/* ---- one map ---- */

/* Options -b and -n (maps.md section 3.6). */
static enum map_answer key_instead(struct search *s, enum map_answer answer)
{
	const struct lookup_options *o = &s->from->options;
	struct hit *hit = s->hit;
	bool key = false;

	switch (answer) {
	case MAP_FOUND:
		key = o->key_for_value || (o->key_if_absent && hit->value.len == 0);
		break;
	case MAP_NOT_FOUND:
		key = o->key_if_absent;
		break;
	case MAP_COULD_NOT_TELL:
		break;
	}
	if (!key)
		return answer;
	buf_clear(&hit->value);
	buf_adds(&hit->value, s->key);
	if (answer == MAP_NOT_FOUND) {
		buf_adds(&hit->key, s->key);
		buf_adds(&hit->part, s->key);
	}
	return MAP_FOUND;
}

static void keep_answer(struct search *s, enum map_answer answer)
{
	const struct lookup_options *o = &s->from->options;
	int64_t now = clock_ms();
	int64_t seconds = o->cache_seconds;

	switch (answer) {
	case MAP_COULD_NOT_TELL:
		return;
	case MAP_NOT_FOUND:
		if (!o->cache_absent)
			return;
		if (seconds == 0 || seconds > ABSENT_SECONDS)
			seconds = ABSENT_SECONDS;
		cache_add(s->from->cache, &s->relation->cache_key, NULL, NULL, now + seconds * 1000);
		return;
	case MAP_FOUND:
		cache_add(s->from->cache, &s->relation->cache_key, &s->hit->value, &s->hit->part,
		          seconds == 0 ? CLOCK_NEVER : now + seconds * 1000);
		return;
	}
}

static bool answer_from_cache(struct search *s, enum map_answer *answer)
{
	struct buf *key = &s->relation->cache_key;
	bool found;

	/* everything that the answer depends on: the keys asked for, default keys included */
	buf_clear(key);
	buf_addc(key, (char)('0' + (int)s->question->keys));
	buf_adds(key, s->key);
	for (size_t i = 0; i < s->question->default_count; i++) {
		buf_addc(key, '\0');
		buf_adds(key, s->question->defaults[i]);
	}
	if (!cache_find(s->from->cache, key, clock_ms(), &found, &s->hit->value, &s->hit->part))
		return false;
	*answer = found ? MAP_FOUND : MAP_NOT_FOUND;
	s->hit->cached = true;
	if (found)
		buf_adds(&s->hit->key, s->key);
	if (s->watch != NULL)
		s->watch(s->context, s->from, s->key, *answer, found ? buf_str(&s->hit->value) : NULL, true);
	return true;
}

static enum map_answer ask(struct search *s)
{
	enum map_answer answer;

	if (s->from->options.refresh && map_refresh(s->from->map) && s->from->cache != NULL)
		cache_clear(s->from->cache);
	if (s->from->cache != NULL && answer_from_cache(s, &answer))
		return answer;
	answer = key_instead(s, try_keys(s));
	if (s->from->cache != NULL)
		keep_answer(s, answer);
	return answer;
}

enum map_answer relation_find(struct relation *relation, const struct question *question, struct hit *hit,
                              relation_watch *watch, void *context)
{
	struct search s = { .relation = relation, .question = question, .hit = hit, .watch = watch, .context = context };

	if (question->key[0] == '\0')
		return MAP_NOT_FOUND;
	for (size_t i = 0; i < relation->count; i++) {
		enum map_answer answer;

		s.from = &relation->maps[i];
		buf_clear(&hit->value);
		buf_clear(&hit->key);
		buf_clear(&hit->part);
		hit->from = s.from;
		hit->cached = false;
		buf_clear(&relation->folded);
		fold_into(&relation->folded, question->key, s.from->options.fold);
		s.key = buf_str(&relation->folded);
		answer = ask(&s);
		if (answer == MAP_COULD_NOT_TELL) {
			buf_clear(&hit->value);
			buf_adds(&hit->value, map_error(s.from->map));
		}
		if (answer != MAP_NOT_FOUND)
			return answer;
	}
	return MAP_NOT_FOUND;
}
