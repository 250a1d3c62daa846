#include <inttypes.h>
#include <string.h>
#include <sysexits.h>
#include <unistd.h>

#include "db/build/build.h"
#include "db/live/update_private.h"

/* ---- replacing ------------------------------------------------------------------------------------------- */

static bool gather(void *context, const struct change *r)
{
	if (!map_is_note(r->key, r->key_length))
		changes_put(context, r->key, r->key_length, r->value, r->value_length);
	return true;
}

static bool same_value(const struct change *a, const struct record *b)
{
	return a->value_length == b->value_length && memcmp(a->value, b->value, a->value_length) == 0;
}

/* Both lists are sorted; the differences go to `out`. */
static void compare(const struct changes *there, const struct records *wanted, struct changes *out,
                    struct update_counts *counts)
{
	size_t i = 0, j = 0;

	*counts = (struct update_counts){ .before = there->count };
	while (i < there->count || j < wanted->count) {
		const struct change *old = i < there->count ? &there->list[i] : NULL;
		const struct record *new = j < wanted->count ? &wanted->list[j] : NULL;
		int order = old == NULL ? 1 : new == NULL ? -1
		          : change_compare(old->key, old->key_length, new->key, new->key_length);

		if (order < 0) {
			changes_remove(out, old->key, old->key_length);
			counts->removed++;
		} else if (order > 0 || !same_value(old, new)) {
			changes_put(out, new->key, new->key_length, new->value, new->value_length);
			if (order > 0)
				counts->added++;
			else
				counts->changed++;
		}
		i += order <= 0;
		j += order >= 0;
	}
}

bool update_is_mass_removal(uint64_t removed, uint64_t before, uint64_t left)
{
	return removed > 0 && (left == 0 || (removed > 50 && removed > before / 5));
}

static void add_copy(struct changes *to, const struct change *c)
{
	if (c->value != NULL)
		changes_put(to, c->key, c->key_length, c->value, c->value_length);
	else
		changes_remove(to, c->key, c->key_length);
}

/* Without a seal: a map that is changed in place is not what it was made for, and a new generation gets its own in the end. */
static void add_stamp(struct changes *to, const struct stamp *stamp)
{
	struct buf text = { 0 };

	stamp_add(&text, stamp);
	text.data[0] = '-';
	changes_put(to, stamp_key, STAMP_KEY_LENGTH - 1, text.data, text.len);
	buf_free(&text);
}

/* All in one batch, or in an environment in many, the notes with the last. */
static int apply_all(struct update *u, const struct changes *differences, const struct changes *notes, struct buf *why)
{
	struct changes batch = { 0 };
	size_t most = u->service.live.operations == &live_environment ? u->service.live.operations->batch : SIZE_MAX;
	int status = EX_OK;
	size_t i = 0;

	do {
		for (changes_clear(&batch); i < differences->count && batch.count < most; i++)
			add_copy(&batch, &differences->list[i]);
		for (size_t n = 0; i == differences->count && n < notes->count; n++)
			add_copy(&batch, &notes->list[n]);
		changes_settle(&batch);
		if (batch.count > 0)
			status = update_apply(u, &batch, why);
	} while (status == EX_OK && i < differences->count);
	changes_free(&batch);
	return status;
}

static int replace(struct update *u, const struct records *wanted, bool guard, struct update_counts *counts,
                   struct buf *why)
{
	struct changes there = { 0 }, differences = { 0 };
	int status = update_each_record(u, gather, &there, why);

	if (status == EX_OK) {
		changes_settle(&there);
		compare(&there, wanted, &differences, counts);
		if (guard && update_is_mass_removal(counts->removed, counts->before, wanted->count))
			status = live_fail(&u->service.live, EX_TEMPFAIL, why, "%" PRIu64 " of %" PRIu64 " records would go; nothing was changed",
			                   counts->removed, counts->before);
	}
	changes_free(&there);
	if (status == EX_OK)
		status = apply_all(u, &differences, &u->pending, why);
	changes_free(&differences);
	return status;
}

int update_replace(struct update *u, const struct records *wanted, const struct stamp *stamp, bool guard,
                   struct update_counts *counts, struct buf *why)
{
	int status;

	*counts = (struct update_counts){ 0 };
	if (stamp != NULL)
		add_stamp(&u->pending, stamp);
	changes_settle(&u->pending);
	status = service_enter(&u->service, why);
	if (status != EX_OK)
		return status;
	status = replace(u, wanted, guard, counts, why);
	service_leave(&u->service);
	if (status == EX_OK)
		update_forget(u);
	return status;
}

/* ---- making ----------------------------------------------------------------------------------------------- */

static int create(const struct update *u, const struct records *wanted, const struct stamp *stamp, struct buf *why)
{
	struct build build = { .type = u->type, .target = u->path, .uid = (uid_t)-1, .gid = (gid_t)-1 };

	if (access(u->path, F_OK) == 0)
		return live_fail(&u->service.live, EX_CANTCREAT, why, "is there already");
	if (stamp != NULL)
		build.stamp = *stamp;
	else
		build.stamp = (struct stamp){ .source = (char *)(uintptr_t)"-", .folding = '-', .syntax = '-' };
	return build_map(&build, wanted, why);
}

int update_make(struct update *u, struct buf *why)
{
	struct records records = { 0 };
	int status;

	for (size_t i = 0; i < u->pending.count; i++) {
		const struct change *c = &u->pending.list[i];

		if (c->value != NULL && !map_is_note(c->key, c->key_length))
			records_add(&records, &(struct record){ .key = c->key, .value = c->value, .key_length = c->key_length,
			                                        .value_length = c->value_length });
	}
	status = service_fence(&u->service, why);
	if (status == EX_OK) {
		status = create(u, &records, NULL, why);
		service_leave(&u->service);
	}
	u->is_missing = status != EX_OK;
	records_free(&records);
	return status;
}

int update_create(const struct update_settings *settings, const struct records *wanted, const struct stamp *stamp,
                  struct buf *why)
{
	int status = EX_OK;
	struct update *u = update_new(settings, &status, why);

	if (u == NULL)
		return status;
	status = service_fence(&u->service, why);
	if (status == EX_OK)
		status = create(u, wanted, stamp, why);
	update_close(&u);
	return status;
}
