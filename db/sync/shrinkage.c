#include "db/sync/shrinkage.h"

#include <stdlib.h>
#include <string.h>

#include "db/live/update.h"
#include "lib/alloc.h"
#include "lib/parse.h"

#define PERIOD 600

void shrinkage_add(struct shrinkage *s, int64_t now, size_t keys, size_t removed)
{
	/* a clock that was put back must not make the time longer */
	if (s->since > now)
		s->since = now;
	if (s->since == 0 || now - s->since > PERIOD)
		*s = (struct shrinkage){ .since = now, .keys = keys };
	s->gone += removed;
}

bool shrinkage_is_too_much(const struct shrinkage *s, size_t left)
{
	return update_is_mass_removal(s->gone, s->keys, left);
}

void shrinkage_encode(struct buf *note, const struct shrinkage *s)
{
	buf_addu(note, (uint64_t)s->since);
	buf_addc(note, ' ');
	buf_addu(note, s->keys);
	buf_addc(note, ' ');
	buf_addu(note, s->gone);
}

bool shrinkage_decode(const char *note, size_t n, struct shrinkage *s)
{
	char *text = xstrndup(note, n), *rest = text;
	uint64_t numbers[3];
	bool ok = strlen(text) == n;

	*s = (struct shrinkage){ 0 };
	for (size_t i = 0; ok && i < 3; i++) {
		const char *word = strsep(&rest, " ");

		ok = word != NULL && parse_number(word, i == 0 ? INT64_MAX : SIZE_MAX, &numbers[i]);
	}
	ok = ok && rest == NULL;
	if (ok)
		*s = (struct shrinkage){ (int64_t)numbers[0], (size_t)numbers[1], (size_t)numbers[2] };
	free(text);
	return ok;
}
