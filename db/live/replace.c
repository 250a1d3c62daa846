#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>
#include <unistd.h>

#include "db/build/build.h"
#include "db/live/livemap_private.h"
#include "db/store/store.h"
#include "lib/alloc.h"

/* ---- replacing ------------------------------------------------------------------------------------------- */

/* The records of the map are compared as they come, in the order of the store, sorted or not: the map is nowhere in memory. */
struct comparison {
	const struct records *wanted;
	unsigned char *seen;         /* a bit for each of them: the map has the key */
	size_t next;                 /* where the next key of a sorted store will be */
	struct changes *out;
	struct livemap_counts *counts;
};

static const struct record *find_wanted(struct comparison *c, const struct change *there)
{
	size_t from = 0, to = c->wanted->count, i = c->next;

	while (from < to) {
		const struct record *r;
		int order;

		if (i < from || i >= to)
			i = from + (to - from) / 2;
		r = &c->wanted->list[i];
		order = change_compare(there->key, there->key_length, r->key, r->key_length);
		if (order == 0) {
			c->next = i + 1;
			c->seen[i / 8] |= (unsigned char)(1u << i % 8);
			return r;
		}
		if (order < 0)
			to = i;
		else
			from = i + 1;
		i = to;
	}
	return NULL;
}

static bool compare_record(void *context, const struct change *there)
{
	struct comparison *c = context;
	const struct record *r;

	if (record_is_note(there->key, there->key_length))
		return true;
	c->counts->before++;
	r = find_wanted(c, there);
	if (r == NULL) {
		changes_remove(c->out, there->key, there->key_length);
		c->counts->removed++;
	} else if (r->value != NULL && (there->value_length != r->value_length ||
	                                memcmp(there->value, r->value, r->value_length) != 0)) {
		changes_put(c->out, r->key, r->key_length, r->value, r->value_length);
		c->counts->changed++;
	}
	return true;
}

/* What differs goes to `out`. */
static int compare(struct livemap *u, const struct records *wanted, struct changes *out, struct livemap_counts *counts,
                   struct buf *why)
{
	struct comparison c = { .wanted = wanted, .seen = xcalloc(wanted->count / 8 + 1, 1), .out = out, .counts = counts };
	int status = livemap_each_record(u, compare_record, &c, why);

	for (size_t i = 0; status == EX_OK && i < wanted->count; i++) {
		const struct record *r = &wanted->list[i];

		if ((c.seen[i / 8] >> i % 8 & 1) != 0)
			continue;
		if (r->value != NULL)
			changes_put(out, r->key, r->key_length, r->value, r->value_length);
		else
			changes_put(out, r->key, r->key_length, UNCLEAR_VALUE, sizeof UNCLEAR_VALUE - 1);
		counts->added++;
	}
	free(c.seen);
	changes_settle(out);
	return status;
}

bool livemap_is_mass_removal(uint64_t removed, uint64_t before, uint64_t left)
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

/* All in one batch, or in an environment in many, the notes with the last. */
static int apply_all(struct livemap *u, const struct changes *differences, const struct changes *notes,
                     const struct live_file *file, struct buf *why)
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
			status = livemap_apply(u, &batch, file, why);
	} while (status == EX_OK && i < differences->count);
	changes_free(&batch);
	return status;
}

bool livemap_guard_removal(void *context, struct livemap *u, const struct livemap_counts *counts)
{
	(void)context;
	(void)u;
	return !livemap_is_mass_removal(counts->removed, counts->before, counts->before + counts->added - counts->removed);
}

int livemap_replace(struct livemap *u, const struct records *wanted, const struct stamp *stamp, livemap_guard *guard,
                    void *context,
                   struct livemap_counts *counts, struct buf *why)
{
	struct changes differences = { 0 };
	struct livemap_sign compared;
	int status;

	*counts = (struct livemap_counts){ 0 };
	if (stamp != NULL) {
		struct buf text = { 0 };

		/*
		 * without a seal: a map that is changed in place is not what it was made for, and a new generation gets its own
		 */
		stamp_add(&text, stamp);
		text.data[0] = '-';
		changes_put(&u->pending, stamp_key, STAMP_KEY_LENGTH - 1, text.data, text.len);
		buf_free(&text);
	}
	changes_settle(&u->pending);
	status = service_enter(&u->service, why);
	if (status != EX_OK)
		return status;
	compared = livemap_sign_of(u);
	status = compare(u, wanted, &differences, counts, why);
	if (status == EX_OK && guard != NULL && !guard(context, u, counts))
		status = live_fail(&u->service.live, EX_TEMPFAIL, why,
		                   "%" PRIu64 " of %" PRIu64 " records would be removed; nothing was changed",
		                   counts->removed, counts->before);
	if (status == EX_OK)
		status = apply_all(u, &differences, &u->pending, &compared.changed, why);
	changes_free(&differences);
	service_leave(&u->service);
	if (status == EX_OK)
		livemap_forget(u);
	return status;
}

/* ---- making ----------------------------------------------------------------------------------------------- */

static int create(const struct livemap *u, const struct records *wanted, const struct stamp *stamp, struct buf *why)
{
	struct build build = { .type = u->type, .target = u->path, .uid = (uid_t)-1, .gid = (gid_t)-1 };

	if (access(u->path, F_OK) == 0)
		return live_fail(&u->service.live, EX_CANTCREAT, why, "is there already");
	if (errno != ENOENT)
		return live_fail(&u->service.live, EX_CANTCREAT, why, "%s", strerror(errno));
	if (stamp != NULL)
		build.stamp = *stamp;
	else
		build.stamp = (struct stamp){ .source = (char *)(uintptr_t)"-", .folding = '-', .syntax = '-' };
	return build_map(&build, wanted, why);
}

int livemap_make(struct livemap *u, struct buf *why)
{
	struct records records = { 0 };
	int status;

	for (size_t i = 0; i < u->pending.count; i++) {
		const struct change *c = &u->pending.list[i];

		if (c->value != NULL && !record_is_note(c->key, c->key_length))
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

int livemap_create(const struct livemap_settings *settings, const struct records *wanted, const struct stamp *stamp,
                  struct buf *why)
{
	int status = EX_OK;
	struct livemap *u = livemap_new(settings, &status, why);

	if (u == NULL)
		return status;
	/* before there is a lock file, which would be in the way of a user who may make the map */
	status = build_check_target(u->path, why);
	if (status == EX_OK)
		status = service_fence(&u->service, why);
	if (status == EX_OK)
		status = create(u, wanted, stamp, why);
	livemap_close(&u);
	return status;
}
