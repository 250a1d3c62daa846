#include "db/sync/shrinkage.h"

#include <stdlib.h>
#include <string.h>

#include "db/live/livemap.h"
#include "lib/alloc.h"
#include "lib/clock.h"
#include "lib/parse.h"

/* The note of a map that may have no key. */
#define EMPTY "empty"

int64_t shrinkage_now(void)
{
	static struct moment start;

	if (start.wall == 0)
		start = clock_now();
	return start.wall + (clock_ms() - start.ms) / 1000;
}

void shrinkage_add(struct shrinkage *s, int64_t now, size_t keys, size_t removed)
{
	const int64_t ahead = s->count > 0 ? s->list[s->count - 1].since - now : 0;
	size_t old = 0;

	/*
	 * a clock that was put back makes the time no longer: what was between two removals stays, and the last of them was now
	 * at the latest
	 */
	for (size_t i = 0; ahead > 0 && i < s->count; i++)
		s->list[i].since -= ahead;
	while (old < s->count && now - s->list[old].since > SHRINKAGE_PERIOD)
		old++;
	memmove(s->list, s->list + old, (s->count - old) * sizeof s->list[0]);
	s->count -= old;
	if (removed == 0)
		return;
	if (s->count > 0 && (now / SHRINKAGE_STEP == s->list[s->count - 1].since / SHRINKAGE_STEP ||
	                     s->count == SHRINKAGE_STEPS)) {
		s->list[s->count - 1].since = now;
		s->list[s->count - 1].gone += removed;
	} else {
		s->list[s->count++] = (struct removal){ .since = now, .keys = keys, .gone = removed };
	}
}

size_t shrinkage_gone(const struct shrinkage *s)
{
	size_t gone = 0;

	for (size_t i = 0; i < s->count; i++)
		gone += s->list[i].gone;
	return gone;
}

bool shrinkage_is_too_much(const struct shrinkage *s, size_t left)
{
	return s->count > 0 && livemap_is_mass_removal(shrinkage_gone(s), s->list[0].keys, left);
}

enum shrinkage_verdict shrinkage_judge(struct shrinkage *s, const struct shrinking *change)
{
	const bool no_keys = change->keys == 0 && change->left == 0;

	shrinkage_add(s, change->now, change->keys, change->removed);
	/* what is allowed is not held against what follows */
	if (change->may_shrink) {
		*s = (struct shrinkage){ .may_be_empty = change->left == 0 };
		return SHRINKAGE_FINE;
	}
	if (no_keys)
		return s->may_be_empty ? SHRINKAGE_FINE : SHRINKAGE_NO_KEYS;
	s->may_be_empty = false;
	return change->removed > 0 && shrinkage_is_too_much(s, change->left) ? SHRINKAGE_TOO_MUCH : SHRINKAGE_FINE;
}

void shrinkage_explain(const struct shrinkage *s, const struct shrinking *change, struct buf *why)
{
	const size_t before = shrinkage_gone(s) - change->removed;

	buf_addf(why, "%zu of %zu keys would be removed", change->removed, change->keys);
	if (before > 0)
		buf_addf(why, ", after %zu of %zu in the last ten minutes", before, s->list[0].keys);
	buf_adds(why, "; nothing was changed");
}

void shrinkage_encode(struct buf *note, const struct shrinkage *s)
{
	if (s->may_be_empty)
		buf_adds(note, EMPTY);
	for (size_t i = 0; i < s->count; i++)
		buf_addf(note, "%s%lld %zu %zu", i > 0 ? "\n" : "", (long long)s->list[i].since, s->list[i].keys,
		         s->list[i].gone);
}

static bool take_line(char *line, struct removal *r)
{
	uint64_t numbers[3];

	for (size_t i = 0; i < 3; i++) {
		const char *word = strsep(&line, " ");

		if (word == NULL || !parse_number(word, i == 0 ? INT64_MAX : SIZE_MAX, &numbers[i]))
			return false;
	}
	*r = (struct removal){ (int64_t)numbers[0], (size_t)numbers[1], (size_t)numbers[2] };
	return line == NULL;
}

bool shrinkage_decode(const char *note, size_t n, struct shrinkage *s)
{
	char *text = xstrndup(note, n), *rest = text;
	bool ok = strlen(text) == n;

	*s = (struct shrinkage){ .may_be_empty = ok && strcmp(text, EMPTY) == 0 };
	if (s->may_be_empty)
		rest = NULL;
	while (ok && rest != NULL && s->count < SHRINKAGE_STEPS)
		ok = take_line(strsep(&rest, "\n"), &s->list[s->count++]);
	ok = ok && rest == NULL;
	if (!ok)
		*s = (struct shrinkage){ 0 };
	free(text);
	return ok;
}
