#include "db/live/livemap.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sysexits.h>
#include <unistd.h>

#include "db/build/build.h"
#include "db/build/text.h"
#include "db/live/cdb/journal.h"
#include "db/live/livemap_private.h"
#include "db/store/kept.h"
#include "lib/alloc.h"
#include "lib/file.h"
#include "lib/text.h"

/* ZMailer cuts keys at this length before it looks them up (maps.md section 10). */
#define LONGEST_KEY 8191

/* ---- open and close ---------------------------------------------------------------------------- */

struct livemap *livemap_new(const struct livemap_settings *s, int *status, struct buf *why)
{
	const struct live_operations *mode = live_mode(s->type, s->config);
	const struct map_operations *type = map_type(s->type);
	struct livemap *u;
	struct map *map;

	if (mode == NULL || type == NULL) {
		buf_addf(why, "%s: maps of type \"%s\" cannot be changed; expected btree, bhash or lmdb", s->base, s->type);
		*status = EX_UNAVAILABLE;
		return NULL;
	}
	/* knows suffixes and looks at the config; opens nothing */
	map = map_open(s->type, s->base, s->config, status, why);
	if (map == NULL)
		return NULL;
	u = xcalloc(1, sizeof *u);
	u->path = xstrdup(map->path);
	map_close(&map);
	u->type = xstrdup(type->type);
	u->config = s->config != NULL ? xstrdup(s->config) : NULL;
	u->folding = s->folding;
	u->service = SERVICE(((struct live){ .operations = mode, .type = u->type, .path = u->path, .config = u->config,
	                                     .wait = s->wait != 0 ? s->wait : LIVEMAP_WAIT }));
	return u;
}

/* A map that is not there is trouble, unless it may be made: no lock file is made beside it. */
static int check_presence(struct livemap *u, bool create, struct buf *why)
{
	char *journal;
	int error;

	u->is_missing = access(u->path, F_OK) < 0;
	if (!u->is_missing)
		return EX_OK;
	error = errno;
	journal = journal_path(u->path);
	/* a recovery was killed after it had put a damaged map aside */
	if (error == ENOENT && !file_is_missing(journal)) {
		live_fail_healable(&u->service.live, EX_TEMPFAIL, why, "%s; its journal %s is there", strerror(error), journal);
		free(journal);
		return EX_TEMPFAIL;
	}
	free(journal);
	if (error == ENOENT && create)
		return EX_OK;
	buf_addf(why, "%s: %s", u->path, strerror(error));
	if (error == ENOENT) {
		buf_adds(why, "; make it by \"");
		kept_add_maker(u->path, "dbupdate ... replace", why);
		buf_adds(why, "\"");
	}
	return error == ENOENT || error == ENOTDIR ? EX_NOINPUT : EX_NOPERM;
}

struct livemap *livemap_open(const struct livemap_settings *settings, int *status, struct buf *why)
{
	struct livemap *u = livemap_new(settings, status, why);

	if (u == NULL)
		return NULL;
	*status = check_presence(u, settings->create, why);
	if (*status == EX_OK)
		*status = build_check_target(u->path, why);
	if (*status == EX_OK && !u->is_missing) {
		*status = service_enter(&u->service, why);
		/* it was deleted while we waited for the lock */
		if (*status == EX_NOINPUT && settings->create) {
			buf_clear(why);
			*status = check_presence(u, true, why);
		}
	}
	if (*status != EX_OK)
		livemap_close(&u);
	else if (!u->is_missing)
		service_leave(&u->service);
	return u;
}

void livemap_close(struct livemap **livemap)
{
	struct livemap *u = *livemap;

	*livemap = NULL;
	if (u == NULL)
		return;
	service_end(&u->service);
	changes_free(&u->pending);
	buf_free(&u->key);
	free(u->type);
	free(u->path);
	free(u->config);
	free(u);
}

const char *livemap_path(const struct livemap *u)
{
	return u->path;
}

bool livemap_is_missing(const struct livemap *u)
{
	return u->is_missing;
}

/* ---- a batch --------------------------------------------------------------------------------------- */

const char *livemap_key_fault(const struct livemap *u, const char *key, size_t n)
{
	size_t longest = map_type(u->type)->store->longest_key;

	if (n == 0)
		return "the key is empty";
	if (text_has_controls(key, n))
		return "a control byte in the key";
	if (n > LONGEST_KEY || (longest != 0 && n + 1 > longest))
		return "the key is too long";
	return NULL;
}

const char *livemap_value_fault(const char *value, size_t n)
{
	if (memchr(value, '\0', n) != NULL)
		return "a NUL in the value";
	if (n > UINT32_MAX / 2)
		return "the value is too long";
	return NULL;
}

static const char *fold(struct livemap *u, const char *key, size_t n)
{
	buf_clear(&u->key);
	buf_add(&u->key, key, n);
	text_fold(u->key.data, n, u->folding);
	return u->key.data;
}

void livemap_put(struct livemap *u, const char *key, size_t key_length, const char *value, size_t value_length)
{
	changes_put(&u->pending, fold(u, key, key_length), key_length, value, value_length);
}

void livemap_remove(struct livemap *u, const char *key, size_t key_length)
{
	changes_remove(&u->pending, fold(u, key, key_length), key_length);
}

/* The key of a note; its NUL in front counts. */
static void note_key(struct buf *key, const char *name)
{
	buf_clear(key);
	buf_add(key, NOTE_KEY_START, sizeof NOTE_KEY_START - 1);
	buf_adds(key, name);
}

void livemap_note(struct livemap *u, const char *name, const char *bytes, size_t n)
{
	note_key(&u->key, name);
	if (bytes != NULL)
		changes_put(&u->pending, u->key.data, u->key.len, bytes, n);
	else
		changes_remove(&u->pending, u->key.data, u->key.len);
}

size_t livemap_batch(const struct livemap *u)
{
	return u->service.live.operations->batch;
}

int livemap_apply(struct livemap *u, const struct changes *changes, const struct live_file *file, struct buf *why)
{
	struct buf bytes = { 0 };
	int status;

	changes_encode(changes, &bytes);
	buf_add(&bytes, (const char *)file, sizeof *file);
	status = service_ask(&u->service, ASK_APPLY, bytes.data, bytes.len, why);
	buf_free(&bytes);
	return status;
}

/* In an environment the file of the map is written when the cache is, and the journal by each change. */
struct livemap_sign livemap_sign_of(const struct livemap *u)
{
	char *journal = u->config != NULL ? journal_path(u->path) : NULL;
	struct livemap_sign sign = { 0 };
	struct stat st;

	/* a link to the same file is another one (build_check_target()) */
	if (lstat(u->path, &st) == 0)
		sign.map = st.st_ino;
	if (lstat(journal != NULL ? journal : u->path, &st) == 0)
		sign.changed = live_file_of(&st);
	free(journal);
	return sign;
}

/*
 * Of what the worker has written, whatever stands there by now.  Without that what differs is by another program, but for a
 * journal, which a batch that failed may be in; it is still that of the same map: one that was deleted meanwhile must not be
 * taken for what we have left.
 */
static struct livemap_sign sign_after_apply(const struct livemap *u)
{
	const struct live_file *written = &u->service.written;

	if (written->inode != 0)
		return (struct livemap_sign){ written->inode, *written };
	return u->config != NULL ? (struct livemap_sign){ u->sign.map, livemap_sign_of(u).changed } : u->sign;
}

int livemap_watch(struct livemap *u, struct buf *why)
{
	int status = EX_OK;

	u->is_watched = true;
	if (u->is_missing)
		return EX_OK;
	/* what a worker does to a map that it opens for the first time is no change */
	status = service_enter(&u->service, why);
	if (status != EX_OK)
		return status;
	u->sign = livemap_sign_of(u);
	service_leave(&u->service);
	return EX_OK;
}

bool livemap_is_changed(const struct livemap *u)
{
	const struct livemap_sign sign = livemap_sign_of(u);

	return u->is_watched && (sign.map != u->sign.map || !live_file_is_same(&sign.changed, &u->sign.changed));
}

int livemap_commit(struct livemap *u, struct buf *why)
{
	int status = EX_OK;

	if (u->pending.count == 0)
		return EX_OK;
	changes_settle(&u->pending);
	if (u->is_missing)
		status = livemap_make(u, why);
	if (status == EX_OK)
		status = service_enter(&u->service, why);
	if (status != EX_OK)
		return status;
	if (livemap_is_changed(u)) {
		status = live_fail(&u->service.live, EX_TEMPFAIL, why, "was changed by another program");
	} else {
		status = livemap_apply(u, &u->pending, &u->sign.changed, why);
		if (u->is_watched)
			u->sign = sign_after_apply(u);
	}
	service_leave(&u->service);
	if (status == EX_OK)
		livemap_forget(u);
	return status;
}

void livemap_forget(struct livemap *u)
{
	changes_clear(&u->pending);
}

/* ---- reading ------------------------------------------------------------------------------------------ */

static enum map_answer find(struct livemap *u, const char *key, size_t n, struct buf *value, struct buf *why)
{
	const struct buf *answer = &u->service.answer;
	int status;

	if (u->is_missing)
		return MAP_NOT_FOUND;
	status = service_enter(&u->service, why);
	if (status != EX_OK)
		return MAP_COULD_NOT_TELL;
	status = service_ask(&u->service, ASK_FIND, key, n, why);
	service_leave(&u->service);
	if (status != EX_OK || answer->len == 0)
		return MAP_COULD_NOT_TELL;
	if (answer->data[0] == '-')
		return MAP_NOT_FOUND;
	buf_add(value, answer->data + 1, answer->len - 1);
	return MAP_FOUND;
}

enum map_answer livemap_find(struct livemap *u, const char *key, size_t n, struct buf *value, struct buf *why)
{
	return find(u, fold(u, key, n), n, value, why);
}

enum map_answer livemap_read_note(struct livemap *u, const char *name, struct buf *bytes, struct buf *why)
{
	note_key(&u->key, name);
	return find(u, u->key.data, u->key.len, bytes, why);
}

/* Calls `each` for the records of one piece; *last becomes the key of the last of them. */
static int each_of(struct livemap *u, const struct buf *piece, livemap_each *each, void *context, bool *more, struct buf *last,
                   struct buf *why)
{
	const char *p = piece->data, *end = piece->data + piece->len;
	struct change r = { 0 };

	while (*more && p < end) {
		if (!change_decode(&p, end, &r))
			return live_fail(&u->service.live, EX_SOFTWARE, why, "a record arrived damaged");
		*more = each(context, &r);
	}
	buf_clear(last);
	buf_addc(last, '>');
	buf_add(last, r.key, r.key_length);
	return EX_OK;
}

int livemap_each_record(struct livemap *u, livemap_each *each, void *context, struct buf *why)
{
	struct buf place = { 0 };
	bool more = true;
	int status = EX_OK;

	while (more && status == EX_OK) {
		status = service_ask(&u->service, ASK_WALK, buf_str(&place), place.len, why);
		if (status != EX_OK || u->service.answer.len == 0)
			break;
		status = each_of(u, &u->service.answer, each, context, &more, &place, why);
	}
	buf_free(&place);
	return status;
}

struct walker {
	record_each *each;
	livemap_all *all;        /* in its place: notes, too */
	void *context;
	struct buf start;        /* of the keys of notes */
};

static bool each_record(void *context, const struct change *r)
{
	const struct walker *w = context;

	return record_is_note(r->key, r->key_length) || w->each(w->context, r->key, r->key_length, r->value, r->value_length);
}

static bool each_note(void *context, const struct change *r)
{
	const struct walker *w = context;
	const size_t prefix = sizeof NOTE_KEY_START - 1;

	if (r->key_length < w->start.len || memcmp(r->key, w->start.data, w->start.len) != 0)
		return true;
	return w->each(w->context, r->key + prefix, r->key_length - prefix, r->value, r->value_length);
}

static bool each_of_all(void *context, const struct change *r)
{
	const struct walker *w = context;
	const size_t prefix = sizeof NOTE_KEY_START - 1;

	if (!record_is_note(r->key, r->key_length))
		return w->all(w->context, false, r->key, r->key_length, r->value, r->value_length);
	if (r->key_length < prefix || memcmp(r->key, NOTE_KEY_START, prefix) != 0)
		return true;
	return w->all(w->context, true, r->key + prefix, r->key_length - prefix, r->value, r->value_length);
}

static int walk(struct livemap *u, livemap_each *each, struct walker *w, struct buf *why)
{
	int status;

	if (u->is_missing)
		return EX_OK;
	status = service_enter(&u->service, why);
	if (status != EX_OK)
		return status;
	status = livemap_each_record(u, each, w, why);
	service_leave(&u->service);
	return status;
}

int livemap_walk(struct livemap *u, record_each *each, void *context, struct buf *why)
{
	struct walker w = { .each = each, .context = context };

	return walk(u, each_record, &w, why);
}

int livemap_walk_all(struct livemap *u, livemap_all *each, void *context, struct buf *why)
{
	struct walker w = { .all = each, .context = context };

	return walk(u, each_of_all, &w, why);
}

int livemap_walk_notes(struct livemap *u, const char *start, record_each *each, void *context, struct buf *why)
{
	struct walker w = { .each = each, .context = context };
	int status;

	note_key(&w.start, start);
	status = walk(u, each_note, &w, why);
	buf_free(&w.start);
	return status;
}

