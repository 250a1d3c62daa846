#include "db/route/unasked.h"

#include <string.h>

#include "db/route/route.h"
#include "lib/text.h"

/* Names longer than this are like none of ours. */
#define LONGEST 32

/* So many letters added, left out or changed make another name of one that is at least three times as long. */
#define MOST_SLIPS 3

/* Relations that ZMailer's router asks and this one does not, and what that means. */
static const struct {
	const char *name;
	const char *note;
} foreign[] = {
	{ "mboxmap", "its users are looked up as ordinary local names here" },
	{ "iproutesdb", "the protocol iproutes is not supported here" },
	{ "fullnamemap", "ZMailer does not use it either" },
	{ "newsgroup", "ZMailer does not use it either" },
};

#define FOREIGN (sizeof foreign / sizeof foreign[0])

/* The relation for a number from 0 on; NULL behind the last one. */
static const char *known_relation(size_t i)
{
	if (i < ROUTE_RELATIONS)
		return route_relation_name((enum route_relation)i);
	return i - ROUTE_RELATIONS < FOREIGN ? foreign[i - ROUTE_RELATIONS].name : NULL;
}

/* How many letters have to be added, removed or changed to make `b` of `a` (Levenshtein), without regard to case. */
static size_t slips_between(const char *a, const char *b)
{
	size_t row[LONGEST + 1], n = strlen(b);

	for (size_t j = 0; j <= n; j++)
		row[j] = j;
	for (size_t i = 0; a[i] != '\0'; i++) {
		size_t corner = row[0];

		row[0] = i + 1;
		for (size_t j = 0; j < n; j++) {
			size_t changed = corner + (ascii_lower(a[i]) != ascii_lower(b[j]));
			size_t removed = row[j + 1] + 1, added = row[j] + 1;

			corner = row[j + 1];
			row[j + 1] = changed < removed ? changed : removed;
			if (added < row[j + 1])
				row[j + 1] = added;
		}
	}
	return row[n];
}

/* The relation whose name is nearest; NULL if none is near.  The file of thishost is called localnames everywhere. */
static const char *nearest(const char *name)
{
	const char *found = NULL, *known;
	size_t least = MOST_SLIPS + 1;

	if (strlen(name) > LONGEST)
		return NULL;
	if (ascii_equal(name, "localnames"))
		return "thishost";
	for (size_t i = 0; (known = known_relation(i)) != NULL; i++) {
		size_t slips = slips_between(name, known);

		if (slips < least && slips * 3 <= strlen(known)) {
			least = slips;
			found = known;
		}
	}
	return found;
}

static bool is_known(const char *name)
{
	const char *known;

	for (size_t i = 0; (known = known_relation(i)) != NULL; i++)
		if (strcmp(name, known) == 0)
			return true;
	return false;
}

/* Makes the warning about a relation that is never asked.  False without one; `is_slip` as in unasked_report. */
static bool describe(const struct dbases_map *m, struct buf *text, bool *is_slip)
{
	const char *near, *known;

	if (m->kind == DBASES_NONE || is_known(m->relation))
		return false;
	near = nearest(m->relation);
	*is_slip = near != NULL;
	buf_clear(text);
	buf_addf(text, "routing never asks a relation \"%s\"; ", m->relation);
	if (near != NULL) {
		buf_addf(text, "is %s meant?", near);
		return true;
	}
	buf_adds(text, "it asks ");
	for (size_t k = 0; k < ROUTE_RELATIONS && (known = known_relation(k)) != NULL; k++)
		buf_addf(text, "%s%s", k == 0 ? "" : k == ROUTE_RELATIONS - 1 ? " and " : ", ", known);
	return true;
}

void unasked_warn(const struct dbases *dbases, unasked_report *report, void *context)
{
	struct buf text = { 0 };
	bool is_slip;

	for (size_t i = 0; i < dbases->count; i++) {
		const struct dbases_map *m = &dbases->maps[i];

		if (describe(m, &text, &is_slip))
			report(context, &(struct fault){ dbases->path, m->line, 1, true, buf_str(&text) }, is_slip);
	}
	buf_free(&text);
}

void unasked_warn_of_slip(const struct dbases *dbases, const struct dbases_map *map, fault_report *report, void *context)
{
	struct buf text = { 0 };
	bool is_slip;

	if (describe(map, &text, &is_slip) && is_slip)
		report(context, &(struct fault){ dbases->path, map->line, 1, true, buf_str(&text) });
	buf_free(&text);
}

static void note_slip(void *notes, const struct fault *fault)
{
	fault_add(notes, fault);
	buf_addc(notes, '\n');
}

void unasked_note(const struct dbases *dbases, struct buf *notes)
{
	for (size_t i = 0; i < dbases->count; i++) {
		const struct dbases_map *m = &dbases->maps[i];

		unasked_warn_of_slip(dbases, m, note_slip, notes);
		for (size_t j = 0; j < FOREIGN; j++)
			if (m->kind != DBASES_NONE && strcmp(m->relation, foreign[j].name) == 0)
				buf_addf(notes, "%s:%zu: relation %s is not asked: %s\n", dbases->path, m->line, m->relation,
				         foreign[j].note);
	}
}
